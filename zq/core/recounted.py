"""What a recount drops, rebuilds and puts right: each row is counted where it is written, by table, and said in words.

The counts of all recounts of a directory are a row of the table `damaged`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

from zq.core import tables
from zq.core.storage import Transaction

STRAYS: Final = {
    tables.PROGRESS: "says which tasks of a batch have ended, and the batch is not there",
    tables.RESULTS: "is a result, and its task is not there",
    tables.EXPIRY: "says when a task expires that is not there",
    tables.UNIQUE: "keeps a unique key for a task that is not there",
    tables.LINES: "keeps the turn of an ordered key for a batch that is not there",
    tables.LEASES: "is a lease of a task that is not there",
    tables.MEMBERS: "is of a member of a group that is not there",
    tables.ROSTER: "names a member of a group that is not there",
    tables.SCHEDULES: "says when a schedule is due, and that is not so",
}
"""By table: what a row is that is dropped."""

_OWN: Final = (tables.META, tables.DAMAGED)
"""Tables that a recount writes in any case."""


class RowChanges(NamedTuple):
    """How many rows of a table were changed.

    Attributes:
        dropped: that are not there any more.
        rebuilt: that were not there.
        righted: that say something else now.
    """

    dropped: int = 0
    rebuilt: int = 0
    righted: int = 0

    def plus(self, other: RowChanges) -> RowChanges:
        return RowChanges(*(one + more for one, more in zip(self, other, strict=True)))


class CountedWrites:
    """The transaction of a recount, which knows what it has changed."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._before: dict[tuple[str, bytes], bytes | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tx.get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self._tx.scan(table, start, stop)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._note(table, key)
        self._tx.put(table, key, value)

    def delete(self, table: str, key: bytes) -> bool:
        self._note(table, key)
        return self._tx.delete(table, key)

    def _note(self, table: str, key: bytes) -> None:
        if table not in _OWN and (table, key) not in self._before:
            self._before[table, key] = self._tx.get(table, key)

    def changes(self) -> dict[str, RowChanges]:
        """Returns what is another than it was, by table."""
        found: dict[str, RowChanges] = {}
        for (table, key), before in self._before.items():
            after = self._tx.get(table, key)
            if before != after:
                one = RowChanges(after is None, before is None, before is not None and after is not None)
                found[table] = found.get(table, RowChanges()).plus(one)
        return found


def notes_of(changes: dict[str, RowChanges]) -> Iterator[str]:
    """Yields what was changed, in words."""
    for table, (dropped, rebuilt, righted) in sorted(changes.items()):
        if dropped:
            why = f", each of which {STRAYS[table]}" if table in STRAYS else ""
            yield f"table {table}: rows dropped: {dropped}{why}"
        if rebuilt:
            yield f"table {table}: rows rebuilt from others: {rebuilt}"
        if righted:
            yield f"table {table}: rows put right by others: {righted}"


def total_of(changes: dict[str, RowChanges]) -> RowChanges:
    """Returns what was changed of all tables."""
    return RowChanges(*(sum(counts) for counts in zip(*changes.values(), strict=True)))


class RowGetter(Protocol):
    """A transaction, or rows that are only read."""

    def get(self, table: str, key: bytes) -> bytes | None: ...


def all_changes(rows: RowGetter) -> dict[str, RowChanges]:
    """Returns what all recounts of a directory have changed, by table."""
    row = rows.get(tables.DAMAGED, tables.RECOUNTED_KEY)
    return {} if row is None else {table: RowChanges(*counts) for table, counts in tables.unpack(row).items()}


def add_changes(tx: Transaction, changes: dict[str, RowChanges]) -> RowChanges:
    """Adds to what all recounts have changed; returns how many rows that are by now."""
    total = all_changes(tx)
    for table, counts in changes.items():
        total[table] = total.get(table, RowChanges()).plus(counts)
    tx.put(tables.DAMAGED, tables.RECOUNTED_KEY, tables.pack(total))
    return total_of(total)
