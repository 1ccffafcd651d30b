"""Who waits for how tasks end. Waits live in memory only: a client whose connection or coordinator went asks again, and
what it gives up or what dies with its connection is forgotten at once.

What has ended already is told at once, but no more than a portion: the rest follows in the next turns, a portion at a
time, in the order in which it was asked for at a connection, and only to those who have read what came before.

Invariants: `entries` and the `waits` of the guests have the same waits; those of them with a `rest` go on.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from zq.core.state.batch import run_mask
from zq.core.state.deadlines import Deadline
from zq.core.state.holder import Guests, Peer
from zq.core.unhurried import Unhurried
from zq.wire.messages import Ended, FromCoordinator, Outcome

OUTCOME_BYTES_MAX = 4 << 20
"""Results and reasons in one outcome message, at most one task above it: a quarter of a frame."""


TOLD_MAX = 2000
"""Waits that one turn answers, of however many: the others are answered in the next ones."""

TOLD_SPANS = 50
"""Spans in an answer that count as one wait more."""

TOLD_BYTES = 4096
"""Bytes in an answer that count as one wait more."""

LONG_ANSWERS_MAX = 2
"""Of long answers, that one turn tells."""

LISTENERS_MAX = 100
"""Connections with long answers that one turn looks at."""

UNREAD_PAUSE = 0.01
"""Seconds until it is looked again whether those with long answers have read what they were told."""


class Found(NamedTuple):
    """A portion of what is known of the tasks that a wait is for."""

    spans: list[Ended]  # that have ended
    missing: int  # mask of the others
    rest: int  # of these, the ones that were not looked at


@dataclass(slots=True, eq=False)
class WaitEntry:
    """One wait of one client, for the tasks in `missing` (bit i is index i) of a batch."""

    peer: Peer
    request: int
    missing: int
    rest: int = 0  # tasks that were not looked at; those that are missing no more have ended since, and were told


class News:
    """What is to be told to those who wait for one batch, and who of them has not heard it yet."""

    __slots__ = ("_ended", "_mask", "_parts", "_reported", "_to", "cost", "id")

    def __init__(self, id: str, entries: Iterable[WaitEntry], ended: list[Ended], reported: dict[int, float]) -> None:
        self.id = id
        self._to = iter(list(entries))
        self._ended = ended
        self._reported = reported
        self._mask = 0
        for one in ended:
            self._mask |= run_mask(one.lo, one.hi)
        self._parts = _cut(ended)
        size = sum(len(one.blob) + 4 * len(one.reason) for one in ended)
        self.cost = 1 + (len(ended) + len(reported)) // TOLD_SPANS + size // TOLD_BYTES

    def next_entry(self) -> WaitEntry | None:
        """Returns one who has not heard it, or None."""
        return next(self._to, None)

    def messages_for(self, entry: WaitEntry) -> list[Outcome]:
        """Returns what one who waits is told, and notes that it is known there."""
        heard = entry.missing & self._mask
        entry.missing &= ~self._mask
        if self._reported:
            progress = tuple((index, one) for index, one in self._reported.items() if entry.missing >> index & 1)
            return [Outcome(entry.request, (), is_last=False, progress=progress)] if progress else []
        if not heard:
            return []
        if heard == self._mask:
            parts = self._parts
        else:
            parts = _cut([one for one in self._ended if heard & run_mask(one.lo, one.hi)])
        return _outcomes(entry.request, parts, is_last=not entry.missing)


class Waits:
    """The waits by batch id; what has ended in the current step is collected, and leaves in few messages, at most so
    many in a turn.
    """

    def __init__(self, guests: Guests, later: Deadline) -> None:
        self.entries: dict[str, dict[tuple[Peer, int], WaitEntry]] = {}
        self._guests = guests
        self.unhurried = Unhurried(later.bring_forward)  # what is to be said to these, and others, a little later
        self._ended: dict[str, list[Ended]] = {}  # by batch, in this turn
        self._progress: dict[str, dict[int, float]] = {}  # the same; of several reports the last counts
        self._news: deque[News] = deque()  # that somebody has not heard yet, in the order in which it came
        self._going: dict[Peer, dict[int, str]] = {}  # waits that go on, their batches by request; whose turn it is
        self.reads_slowly: Callable[[Peer], bool] = lambda _: False  # what the shell knows

    def add(self, id: str, entry: WaitEntry, now: float) -> None:
        """Adds a wait, in place of an earlier one of the same request."""
        self.forget(entry.peer, entry.request)
        guest = self._guests.welcome(entry.peer, now)
        guest.waits[entry.request] = id
        guest.account.waits += 1
        self.entries.setdefault(id, {})[entry.peer, entry.request] = entry
        if entry.rest:
            self._going.setdefault(entry.peer, {})[entry.request] = id

    def forget(self, peer: Peer, request: int) -> bool:
        """Forgets a wait that was given up; returns whether it was one of the connection."""
        guest = self._guests.get(peer)
        id = None if guest is None else guest.waits.pop(request, None)
        if guest is None or id is None:
            return False
        guest.account.waits -= 1
        self._guests.see_off(guest)
        self.unhurried.forget_wait(peer, request)
        self._stop_going(peer, request)
        entries = self.entries[id]
        del entries[peer, request]
        if not entries:
            del self.entries[id]
            if not self.entries:  # what there was to tell is for nobody
                self._ended.clear()
                self._progress.clear()
                self._news.clear()
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
        if id in self.entries:
            self._ended.setdefault(id, []).append(ended)

    def note_progress(self, id: str, index: int, fraction: float) -> None:
        """Notes how far the handler of a task is, for whoever waits for it; of several reports before they are told the
        last counts.
        """
        if id in self.entries:
            self._progress.setdefault(id, {})[index] = fraction

    @property
    def has_news(self) -> bool:
        """Whether somebody has not heard yet what is known."""
        return bool(self._news or self._progress)

    def take_messages(self) -> list[tuple[Peer, FromCoordinator]]:
        """Returns outcomes that this turn and those before have brought, as many as one turn may send."""
        if not self._ended and not self._progress and not self._news:
            return []
        if not self._news:  # else reports wait, and only the last of them is told
            for id, reported in self._progress.items():
                self._news.append(News(id, self.entries.get(id, {}).values(), [], reported))
            self._progress.clear()
        messages: list[tuple[Peer, FromCoordinator]] = []
        left = TOLD_MAX
        fresh, self._ended = self._ended, {}
        for id, ended in fresh.items():
            entries = self.entries.get(id, {})
            if len(ended) == len(entries) == 1 and left > 0 and not self._news:
                left -= self._tell_one(next(iter(entries.values())), ended[0], messages)
            else:
                self._news.append(News(id, entries.values(), ended, {}))
        while self._news and left > 0:
            news = self._news[0]
            entry = news.next_entry()
            if entry is None:
                self._news.popleft()
            elif self.entries.get(news.id, {}).get((entry.peer, entry.request)) is entry:
                left -= news.cost
                messages += [(entry.peer, message) for message in news.messages_for(entry)]
                if not entry.missing:
                    self.forget(entry.peer, entry.request)
        return messages

    def _tell_one(self, entry: WaitEntry, one: Ended, messages: list[tuple[Peer, FromCoordinator]]) -> int:
        """Tells the only one who waits for a batch the only thing that has ended of it, as is most often so; returns
        the cost, as of `News`.
        """
        mask = run_mask(one.lo, one.hi)
        heard = entry.missing & mask
        entry.missing &= ~mask
        if heard:
            messages.append((entry.peer, Outcome(entry.request, (one,), is_last=not entry.missing)))
        if not entry.missing:
            self.forget(entry.peer, entry.request)
        return 1 + (len(one.blob) + 4 * len(one.reason)) // TOLD_BYTES

    @property
    def has_long_answers(self) -> bool:
        """Whether anybody is still to be told of what has ended before it asked."""
        return bool(self._going)

    def go_on(self, look: Callable[[str, int], Found]) -> list[tuple[Peer, FromCoordinator]]:
        """Returns the next portions of long answers, for one wait of a connection each.

        Args:
            look: finds how tasks of a batch have ended, by its id and their mask.
        """
        messages: list[tuple[Peer, FromCoordinator]] = []
        left = LONG_ANSWERS_MAX
        for peer in list(islice(self._going, LISTENERS_MAX)):
            if not left:
                break
            requests = self._going[peer] = self._going.pop(peer)  # the others are first the next time
            if not self.reads_slowly(peer):
                left -= 1
                request, id = next(iter(requests.items()))
                messages += self._tell_more(self.entries[id][peer, request], id, look)
        return messages

    def _tell_more(self, entry: WaitEntry, id: str, look: Callable[[str, int], Found]) -> list[tuple[Peer, Outcome]]:
        asked = entry.rest & entry.missing
        found = look(id, asked) if asked else Found([], 0, 0)
        entry.missing = (entry.missing & ~asked) | found.missing
        entry.rest = found.rest
        if not entry.missing:
            self.forget(entry.peer, entry.request)
        elif not entry.rest:
            self._stop_going(entry.peer, entry.request)
        if not found.spans:
            return []
        outcomes = _outcomes(entry.request, _cut(found.spans), is_last=not entry.missing)
        return [(entry.peer, outcome) for outcome in outcomes]

    def _stop_going(self, peer: Peer, request: int) -> None:
        requests = self._going.get(peer)
        if requests is not None and requests.pop(request, None) is not None and not requests:
            del self._going[peer]

    def drop_peer(self, peer: Peer) -> None:
        """Forgets the waits of a connection that is gone."""
        self.unhurried.forget_receipts(peer)
        guest = self._guests.get(peer)
        for request in list(guest.waits) if guest is not None else ():
            self.forget(peer, request)


def outcome_messages(
    peer: Peer, request: int, ended: list[Ended], *, is_last: bool
) -> list[tuple[Peer, FromCoordinator]]:
    """Cuts an answer to a wait into messages of bounded size."""
    return [(peer, message) for message in _outcomes(request, _cut(ended), is_last=is_last)]


def _outcomes(request: int, parts: list[tuple[Ended, ...]], *, is_last: bool) -> list[Outcome]:
    last = len(parts) - 1
    return [Outcome(request, part, is_last=is_last and at == last) for at, part in enumerate(parts)]


def _cut(ended: list[Ended]) -> list[tuple[Ended, ...]]:
    """Cuts what has ended into parts for messages of bounded size; there is at least one."""
    parts: list[tuple[Ended, ...]] = []
    part: list[Ended] = []
    size = 0
    for one in ended:
        one_size = len(one.blob) + 4 * len(one.reason)
        if size + one_size > OUTCOME_BYTES_MAX and part:
            parts.append(tuple(part))
            part, size = [], 0
        part.append(one)
        size += one_size
    parts.append(tuple(part))
    return parts
