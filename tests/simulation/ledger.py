"""What the clients and workers of the simulation saw, against which the coordinator is checked; it shares no code with
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class Violation(AssertionError):
    """The coordinator broke a promise."""


@dataclass
class Entry:
    """One task, as those outside know it."""

    id: str
    order: str  # what the customer wanted; an order that is stored under two ids is made twice
    is_accepted: bool = False
    is_refused: bool = False
    is_cancelled: bool = False  # whoever cancelled it was told so
    tokens: list[int] = field(default_factory=list)  # in the order in which they were granted
    completed_by: set[int] = field(default_factory=set)  # tokens whose completion was confirmed
    confirmed_failures: set[int] = field(default_factory=set)
    outcome: str | None = None
    duplicate_of: str | None = None
    wants_notice: bool = False  # a queue is to be told if it dies
    policy: str | None = None  # of a group; its callback is the task


class Ledger:
    """Entries by task id."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.has_replays = False  # dead letters may come back
        self.notices: dict[str, str] = {}  # by the id of what died, the id of the notice
        # By queue and key: the ordered tasks that are not known to have ended, as they were accepted.
        self.lines: dict[tuple[str, str], list[str]] = {}
        self.joined: dict[str, bytes] = {}  # by group: the results that somebody was told or handed
        self.moved: set[str] = set()  # members in whose place something was forwarded, if that was accepted
        self.forgotten: set[str] = set()  # what has ended, and not as done, when there was no room to keep that
        self.hurt: set[str] = set()  # of which something was damaged on the disk
        self.unnoticed: set[str] = set()  # whose notice was
        self.untraced: set[str] = set()  # whose lease was, which knows what is yet to be told of its start
        self.stored: dict[str, None] = {}  # batches that have been accepted: the next receipt only repeats the first

    def is_hurt(self, id: str) -> bool:
        """Whether nobody may know any more what has become of a task, or of its batch."""
        return id in self.hurt or id.partition("#")[0] in self.hurt

    def attempt(self, id: str, order: str) -> None:
        self.entries.setdefault(id, Entry(id, order))

    def accept(self, id: str) -> None:
        entry = self.entries[id]
        if entry.is_refused:
            raise Violation(f"{id} was refused for good and then accepted")
        entry.is_accepted = True

    def refuse(self, id: str) -> None:
        entry = self.entries[id]
        if entry.is_accepted:
            raise Violation(f"{id} was accepted and then refused")
        entry.is_refused = True

    def line_up(self, queue: str, key: str, ids: list[str]) -> None:
        """Ordered tasks were stored, behind all others of their key."""
        line = self.lines.setdefault((queue, key), [])
        line += [id for id in ids if id not in line]

    def start_in_order(self, queue: str, key: str, ids: list[str], has_ended: Callable[[str], bool]) -> None:
        """A run of ordered tasks was leased: all before each of them must have ended, or be before it in the run."""
        line = self.lines.get((queue, key), [])
        while line and line[0] not in ids and has_ended(line[0]):
            del line[0]
        for at, id in enumerate(ids):
            before = line[: line.index(id)] if id in line else []
            if any(one not in ids[:at] and not has_ended(one) for one in before):
                raise Violation(f"{id} of key {key} was leased before {before} had ended")

    def join(self, id: str, payload: bytes) -> None:
        """The results of a group left the coordinator."""
        if self.joined.setdefault(id, payload) != payload:
            raise Violation(f"group {id} has given two results: {self.joined[id]!r} and {payload!r}")

    def note_duplicate(self, id: str, original: str) -> None:
        """A customer was told that its task was not stored, because another one has its unique key."""
        if original not in self.entries:
            raise Violation(f"{id} is a duplicate of {original}, which was never submitted")
        entry = self.entries[id]
        if entry.duplicate_of not in (None, original):
            raise Violation(f"{id} is a duplicate of {entry.duplicate_of}, and then of {original}")
        entry.duplicate_of = original
        self.refuse(id)

    def grant(self, id: str, token: int) -> None:
        """A lease left the coordinator."""
        entry = self.entries.get(id)
        if entry is None and "-beat@" in id:
            entry = self.entries[id] = Entry(id, id)  # a schedule stored it
        if entry is None:
            raise Violation(f"{id} was assigned and never submitted")
        if entry.is_refused:
            raise Violation(f"{id} was assigned after a refusal")
        if entry.tokens and token == entry.tokens[-1]:
            return  # the same lease told again
        if entry.tokens and token < entry.tokens[-1]:
            raise Violation(f"{id} was assigned under token {token} after {entry.tokens[-1]}")
        if entry.is_cancelled and not self.has_replays:
            raise Violation(f"{id} was assigned after its cancel was answered")
        entry.tokens.append(token)

    def note_cancelled(self, ids: list[str]) -> None:
        """Somebody was told that these tasks, as far as they had not ended, have been cancelled."""
        for id in ids:
            self.entries[id].is_cancelled = True

    def notice(self, id: str, of: str) -> None:
        """A notice left the coordinator."""
        if self.notices.setdefault(of, id) != id:
            raise Violation(f"{of} died once and left two notices, {self.notices[of]} and {id}")
        self.attempt(id, f"notice of {of}")

    def complete(self, id: str, token: int) -> None:
        """A worker was told that its completion is on disk."""
        entry = self.entries[id]
        if token != entry.tokens[-1]:
            raise Violation(f"{id} was completed under token {token}, which is not its last of {entry.tokens}")
        entry.completed_by.add(token)
        if len(entry.completed_by) > 1:
            raise Violation(f"{id} was completed twice, under tokens {sorted(entry.completed_by)}")

    def end(self, id: str, outcome: str) -> None:
        """A client was told how a task ended."""
        entry = self.entries[id]
        if outcome == "unknown" and not entry.is_accepted:
            return
        if outcome == "unknown" and id in self.forgotten:
            entry.outcome = entry.outcome or "forgotten"
            return
        if self.is_hurt(id) and outcome == "dead":  # which it is told to be, whatever it was before
            entry.outcome = outcome
            return
        if self.has_replays and "dead" in (entry.outcome, outcome):
            entry.outcome = outcome if entry.outcome in (None, "dead") else entry.outcome
            return
        if entry.outcome is not None and entry.outcome != outcome:
            raise Violation(f"{id} ended as {entry.outcome} and then as {outcome}")
        if entry.completed_by and outcome != "done":
            raise Violation(f"{id} was completed and ended as {outcome}")
        entry.outcome = outcome

    def check_drained(self) -> None:
        """At the end, when everything is healed and drained: every promise is kept."""
        made: dict[str, str] = {}
        for entry in self.entries.values():
            if entry.is_accepted and entry.outcome is None:
                raise Violation(f"{entry.id} was accepted and has no outcome")
            if entry.is_accepted and entry.outcome == "unknown":
                raise Violation(f"{entry.id} was accepted and is lost")
            if (
                entry.wants_notice
                and entry.is_accepted
                and entry.id not in self.forgotten
                and entry.id not in self.unnoticed
                and not self.is_hurt(entry.id)
                and (entry.outcome in ("dead", "expired")) != (entry.id in self.notices)
            ):
                raise Violation(f"{entry.id} ended as {entry.outcome}, its notice is {self.notices.get(entry.id)}")
            if entry.outcome == "done" or entry.completed_by:
                if entry.order in made:
                    raise Violation(f"order {entry.order} was made twice, as {made[entry.order]} and {entry.id}")
                made[entry.order] = entry.id
