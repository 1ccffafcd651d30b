"""What the clients and workers of the simulation saw, against which the coordinator is checked; it shares no code with it."""

from __future__ import annotations

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
    is_cancel_asked: bool = False
    tokens: list[int] = field(default_factory=list)  # in the order in which they were granted
    completed_by: set[int] = field(default_factory=set)  # tokens whose completion was confirmed
    confirmed_failures: set[int] = field(default_factory=set)
    outcome: str | None = None


class Ledger:
    """Entries by task id."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

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

    def grant(self, id: str, token: int) -> None:
        """A lease left the coordinator."""
        entry = self.entries.get(id)
        if entry is None:
            raise Violation(f"{id} was assigned and never submitted")
        if entry.is_refused:
            raise Violation(f"{id} was assigned after a refusal")
        if entry.tokens and token == entry.tokens[-1]:
            return  # the same lease told again
        if entry.tokens and token < entry.tokens[-1]:
            raise Violation(f"{id} was assigned under token {token} after {entry.tokens[-1]}")
        entry.tokens.append(token)

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
            if entry.outcome == "done" or entry.completed_by:
                if entry.order in made:
                    raise Violation(f"order {entry.order} was made twice, as {made[entry.order]} and {entry.id}")
                made[entry.order] = entry.id
