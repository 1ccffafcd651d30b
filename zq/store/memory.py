"""A store in memory: the twin of the LMDB store for tests and simulation. It keeps nothing over the end of the process.

Each table is a dict and a sorted list of its keys. A transaction writes in place and notes what it replaced; `abort`
puts that back.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from math import inf

from zq.core.storage import STORE_FULL, Damage, StoreInfo, marks_of
from zq.errors import StoreCorruptError, StoreError, StoreFullError

UNLIMITED = 1 << 62
"""Bytes: the room of a store without a limit."""

Undo = tuple[str, bytes, bytes | None]


class MemoryTransaction:
    """See `zq.core.storage.Transaction`."""

    __slots__ = ("_is_open", "_store", "_undo")

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._undo: list[Undo] = []
        self._is_open = True

    @property
    def is_full(self) -> bool:
        return self._store.is_full

    @property
    def why_full(self) -> str:
        return self._store.why_full

    @property
    def is_short(self) -> bool:
        return self._store.used_bytes > self._store.marks.short

    @property
    def is_spent(self) -> bool:
        return self._store.used_bytes > self._store.marks.spent

    @property
    def way_out_bytes(self) -> float:
        return self._store.room - self._store.marks.spent

    @property
    def room_bytes(self) -> float:
        return self._store.room_bytes

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._store.values[table].get(key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        store = self._store
        if not 1 <= len(key) <= 511:
            raise StoreError(f"expected a key of 1 to 511 bytes, got {len(key)}")
        old = store.values[table].get(key)
        added = len(value) + (len(key) if old is None else -len(old))
        if added > 0 and store.used_bytes + added > store.room:
            raise StoreFullError(f"the store has no room for {added} bytes more")
        self._undo.append((table, key, old))
        store.written_bytes += len(key) + len(value)
        store.set(table, key, value)

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in items:
            self.put(table, key, value)

    def delete(self, table: str, key: bytes) -> bool:
        old = self._store.values[table].get(key)
        if old is None:
            return False
        self._undo.append((table, key, old))
        self._store.set(table, key, None)
        return True

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        return [self.delete(table, key) for key in keys]

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        keys, values = self._store.keys[table], self._store.values[table]
        at = bisect_left(keys, start)
        while at < len(keys) and (stop is None or keys[at] < stop):
            yield keys[at], values[keys[at]]
            at += 1

    def commit(self) -> None:
        self._end()

    def abort(self) -> None:
        for table, key, old in reversed(self._undo):
            self._store.set(table, key, old)
        self._end()

    def _end(self) -> None:
        if not self._is_open:
            raise StoreError("the transaction has ended")
        self._is_open = False
        self._undo = []
        self._store.is_busy = False


class MemoryStore:
    """See `zq.core.storage.Store`.

    Args:
        tables: names of the tables.
        capacity_bytes: room for keys and values; None has no limit.
    """

    def __init__(self, tables: tuple[str, ...], capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.written_bytes = 0  # in all
        self.is_busy = False
        self.damages: list[Damage] = []
        self.values: dict[str, dict[bytes, bytes]] = {table: {} for table in tables}
        self.keys: dict[str, list[bytes]] = {table: [] for table in tables}

    @property
    def capacity_bytes(self) -> int | None:
        return self._capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, count: int | None) -> None:
        self._capacity_bytes = count
        self.room = count or UNLIMITED
        self.marks = marks_of(self.room)

    def begin(self) -> MemoryTransaction:
        if self.is_busy:
            raise StoreError("another transaction is open")
        self.is_busy = True
        return MemoryTransaction(self)

    @property
    def room_bytes(self) -> float:
        return self.room - self.used_bytes

    @property
    def is_full(self) -> bool:
        return self.used_bytes > self.marks.full

    @property
    def why_full(self) -> str:
        return STORE_FULL

    def notice_room(self) -> None:
        """Does nothing: it always knows."""

    def takes(self, count: float) -> bool:  # noqa: ARG002
        """Returns True: what was put has its room."""
        return True

    def check_place(self) -> None:
        """Does nothing: its place is this object."""

    def mend(self, error: StoreCorruptError) -> None:
        """Raises the error: memory does not rot."""
        raise error

    def info(self) -> StoreInfo:
        is_full = self.is_full
        return StoreInfo(
            self.used_bytes, self.room, None, is_full, "store" if is_full else "", self.why_full if is_full else ""
        )

    def rest(self, now: float) -> None:
        """Does nothing: every commit is the last word."""

    rest_at = inf

    def close(self) -> None:
        """Does nothing: what is in memory stays for a machine that is started again over this store."""

    def set(self, table: str, key: bytes, value: bytes | None) -> None:
        """Writes or removes, outside of any transaction's memory."""
        values, keys = self.values[table], self.keys[table]
        old = values.get(key)
        if old is not None:
            self.used_bytes -= len(old) + len(key)
        if value is not None:
            self.used_bytes += len(value) + len(key)
            values[key] = value
            if old is None:
                if not keys or key > keys[-1]:
                    keys.append(key)
                else:
                    insort(keys, key)
        elif old is not None:
            del values[key]
            del keys[bisect_left(keys, key)]
