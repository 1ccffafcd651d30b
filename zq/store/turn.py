"""A transaction of a store with a journal: one turn, whose changes go to the tables and are noted for its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from zq.core.storage import Transaction
from zq.store.records import Change

ROW_BYTES_LARGE = 4096
"""Of a row that is worth a look whether its turn has become too large for a record."""


class TurnKeeper(Protocol):
    """What makes a turn durable, or leaves nothing of it: the store."""

    def is_large(self, begun_bytes: int) -> bool: ...

    def commit_turn(self, changes: list[Change], rows: int, begun_bytes: int, *, is_full: bool) -> None: ...

    def abort_turn(self, *, wrote: bool) -> None: ...


NOTHING: Change = ("", b"", None)
"""Instead of what was noted."""


class JournaledTransaction:
    """A turn. See `zq.core.storage.Transaction`."""

    __slots__ = ("_begun_bytes", "_keeper", "_noted", "_rows", "_tx")

    def __init__(self, keeper: TurnKeeper, tx: Transaction, begun_bytes: int) -> None:
        self._keeper = keeper
        self._tx = tx
        self._begun_bytes = begun_bytes
        self._noted: list[Change] = []
        self._rows = 0  # beside one for each note

    @property
    def is_full(self) -> bool:
        return self._tx.is_full

    @property
    def why_full(self) -> str:
        return self._tx.why_full

    @property
    def is_short(self) -> bool:
        return self._tx.is_short

    @property
    def is_spent(self) -> bool:
        return self._tx.is_spent

    @property
    def way_out_bytes(self) -> float:
        return self._tx.way_out_bytes

    @property
    def room_bytes(self) -> float:
        return self._tx.room_bytes

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tx.get(table, key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._noted.append((table, key, value))  # first: should it fail, there may be something to undo
        self._tx.put(table, key, value)
        if len(value) > ROW_BYTES_LARGE:
            self._drop_notes()

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        rows = list(items)
        if len(rows) == 1:  # as in most small turns: one costs less than many
            self.put(table, *rows[0])
            return
        self._noted.append((table, rows))
        self._rows += len(rows)
        self._tx.put_many(table, rows)
        self._drop_notes()

    def delete(self, table: str, key: bytes) -> bool:
        self._noted.append((table, key, None))
        return self._tx.delete(table, key)

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        self._noted += [(table, key, None) for key in keys]
        return self._tx.delete_many(table, keys)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self._tx.scan(table, start, stop)

    def _drop_notes(self) -> None:
        """Forgets what was noted of a turn that is too large for a record, all but that there was something: it would
        hold the rows in memory until the end.
        """
        if self._keeper.is_large(self._begun_bytes):
            self._rows += len(self._noted) - 1
            self._noted = [NOTHING]

    def commit(self) -> None:
        noted = self._noted
        self._keeper.commit_turn(noted, len(noted) + self._rows, self._begun_bytes, is_full=self._tx.is_full)

    def abort(self) -> None:
        self._keeper.abort_turn(wrote=bool(self._noted))
