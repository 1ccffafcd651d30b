"""Who waits for how tasks end. Waits live in memory only: a client whose connection or coordinator went asks again, and
what it gives up or what dies with its connection is forgotten at once.

Invariant: `entries` and the `waits` of the guests have the same waits.
"""

from dataclasses import dataclass

from zq.core.state.batch import run_mask
from zq.core.state.holder import Guests, Peer
from zq.wire.messages import Ended, FromCoordinator, Outcome

OUTCOME_BYTES_MAX = 4 << 20
"""Results and reasons in one outcome message, at most one task above it: a quarter of a frame."""


@dataclass(slots=True, eq=False)
class WaitEntry:
    """One wait of one client, for the tasks in `missing` (bit i is index i) of a batch."""

    peer: Peer
    request: int
    missing: int


class Waits:
    """The waits by batch id; what has ended in the current step is collected, and leaves in few messages."""

    def __init__(self, guests: Guests) -> None:
        self.entries: dict[str, dict[tuple[Peer, int], WaitEntry]] = {}
        self._guests = guests
        self._ended: dict[WaitEntry, list[Ended]] = {}
        self._progress: dict[WaitEntry, dict[int, float]] = {}

    def add(self, id: str, entry: WaitEntry, now: float) -> None:
        """Adds a wait, in place of an earlier one of the same request."""
        self.forget(entry.peer, entry.request)
        guest = self._guests.welcome(entry.peer, now)
        guest.waits[entry.request] = id
        guest.account.waits += 1
        self.entries.setdefault(id, {})[entry.peer, entry.request] = entry

    def forget(self, peer: Peer, request: int) -> bool:
        """Forgets a wait that was given up; returns whether it was one of the connection."""
        guest = self._guests.get(peer)
        id = None if guest is None else guest.waits.pop(request, None)
        if guest is None or id is None:
            return False
        guest.account.waits -= 1
        self._guests.see_off(guest)
        entries = self.entries[id]
        del entries[peer, request]
        if not entries:
            del self.entries[id]
        return True

    def forget_oldest(self, peer: Peer) -> int | None:
        """Forgets the oldest wait of a connection; returns its request, or None if there is none."""
        guest = self._guests.get(peer)
        request = None if guest is None else next(iter(guest.waits), None)
        if request is not None:
            self.forget(peer, request)
        return request

    def note(self, id: str, ended: Ended) -> None:
        """Notes that tasks of a batch ended, for whoever waits for them."""
        entries = self.entries.get(id)
        if entries is None:
            return
        mask = run_mask(ended.lo, ended.hi)
        for entry in list(entries.values()):
            if entry.missing & mask:
                entry.missing &= ~mask
                self._ended.setdefault(entry, []).append(ended)
                if not entry.missing:
                    self.forget(entry.peer, entry.request)

    def note_progress(self, id: str, index: int, fraction: float) -> None:
        """Notes how far the handler of a task is, for whoever waits for it; of several reports in a step the last
        counts.
        """
        for entry in self.entries.get(id, {}).values():
            if entry.missing >> index & 1:
                self._progress.setdefault(entry, {})[index] = fraction

    def take_messages(self) -> list[tuple[Peer, FromCoordinator]]:
        """Returns the outcomes that the step has brought."""
        if not self._ended and not self._progress:
            return []
        messages: list[tuple[Peer, FromCoordinator]] = []
        for entry, reported in self._progress.items():
            progress = tuple((index, one) for index, one in reported.items() if entry.missing >> index & 1)
            if progress:
                messages.append((entry.peer, Outcome(entry.request, (), is_last=False, progress=progress)))
        self._progress.clear()
        for entry, ended in self._ended.items():
            messages += outcome_messages(entry.peer, entry.request, ended, is_last=not entry.missing)
        self._ended.clear()
        return messages

    def drop_peer(self, peer: Peer) -> None:
        """Forgets the waits of a connection that is gone."""
        guest = self._guests.get(peer)
        for request in list(guest.waits) if guest is not None else ():
            self.forget(peer, request)


def outcome_messages(
    peer: Peer, request: int, ended: list[Ended], *, is_last: bool
) -> list[tuple[Peer, FromCoordinator]]:
    """Cuts an answer to a wait into messages of bounded size."""
    messages: list[tuple[Peer, FromCoordinator]] = []
    part: list[Ended] = []
    size = 0
    for one in ended:
        one_size = len(one.blob) + 4 * len(one.reason)
        if size + one_size > OUTCOME_BYTES_MAX and part:
            messages.append((peer, Outcome(request, tuple(part), is_last=False)))
            part, size = [], 0
        part.append(one)
        size += one_size
    messages.append((peer, Outcome(request, tuple(part), is_last=is_last)))
    return messages
