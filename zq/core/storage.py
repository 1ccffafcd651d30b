"""What the core asks of a store: ordered tables of bytes, changed by one transaction at a time.

`zq.store` has the implementations: LMDB, and a memory twin for tests and simulation.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from zq.core import tables

FULL_FRACTION = 0.8
"""Of the room of a store: above it nothing new is admitted (`Transaction.is_full`), the rest is for completions."""

WAY_OUT_FRACTION = 0.06
WAY_OUT_BYTES_MIN = 512 << 10
WAY_OUT_FRACTION_MAX = 0.1
"""The last part of the room, for the way out alone: purging, cancelling, deleting, forgetting. So many bytes at least,
since pages that are changed are written anew before the old ones are free; but of a tiny store no more than a tenth.
"""


class Marks(NamedTuple):
    """Bytes in use from which on a store is full, short and spent."""

    full: float
    short: float
    spent: float


STORE_FULL = "the store is full; room comes when tasks have ended and are forgotten, or are purged"
"""Why nothing new is admitted, where it is the store itself."""

STORE_IN_PIECES = (
    "the store is full for so much in one piece; less is accepted, and room comes when tasks are forgotten or purged"
)
"""Why something is not admitted while there is room: a large value lies in pages that follow each other."""


class Filled(Protocol):
    """A store that knows whether it is full, and why."""

    @property
    def is_full(self) -> bool: ...

    @property
    def why_full(self) -> str: ...


def why_unfit(store: Filled) -> str:
    """Returns why a message does not fit, in words for whoever sent it."""
    return STORE_IN_PIECES if store.why_full == STORE_FULL and not store.is_full else store.why_full


def marks_of(capacity: float, reserve: float | None = None) -> Marks:
    """Returns the marks of a store with so much room.

    Args:
        capacity: bytes in all.
        reserve: bytes of it into which nothing new is admitted; None: a fraction of it.
    """
    if reserve is None:
        last = max(WAY_OUT_FRACTION * capacity, min(WAY_OUT_BYTES_MIN, WAY_OUT_FRACTION_MAX * capacity))
        full = FULL_FRACTION * capacity
    else:
        last = max(WAY_OUT_FRACTION / (1 - FULL_FRACTION) * reserve, min(WAY_OUT_BYTES_MIN, reserve / 2))
        full = capacity - reserve
    spent = capacity - last
    return Marks(full, (full + spent) / 2, spent)


class Transaction(Protocol):
    """All changes of one step; they happen together at `commit`, or not at all.

    Keys are 1 to 511 bytes and ordered bytewise; one that cannot be is not there. Reads see the transaction's own
    writes. Every call raises `zq.StoreCorruptError` when a value fails its checksum.
    """

    @property
    def is_full(self) -> bool:
        """True when nothing new should be admitted, while completions still find room."""

    @property
    def why_full(self) -> str:
        """Why it is full, or was at the last look, in words for whoever is refused."""

    @property
    def is_short(self) -> bool:
        """True when half of the room for completions is used, too: nothing more is leased, no history is written."""

    @property
    def is_spent(self) -> bool:
        """True when what is left is for the way out alone: even completions have to wait."""

    @property
    def way_out_bytes(self) -> float:
        """Room of the store that is for the way out."""

    @property
    def room_bytes(self) -> float:
        """About how many bytes can be written before the map is full."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Stores the value, replacing what was there. Raises `zq.StoreFullError` when not even the reserve has room."""

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None: ...

    def delete(self, table: str, key: bytes) -> bool:
        """Returns whether the key was there."""

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        """Deletes rows of keys that can be, and returns of each whether it was there."""

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yields (key, value) with start <= key < stop in order; the table must not be written before the iterator is
        done with.
        """

    def commit(self) -> None:
        """Makes all changes durable, in one; returns when they are. Raises `zq.StoreFullError`, which leaves nothing of
        them, or `zq.StoreError`, after which nobody knows.
        """

    def abort(self) -> None: ...


class StoreInfo(NamedTuple):
    """Room in a store, in bytes.

    Attributes:
        used_bytes: of its tables.
        map_bytes: that it may have at most.
        free_bytes: of the disk; None in memory.
        is_full: whether nothing new is admitted.
        full_by: what there is too little of then: `store`, `disk`, `quota`, or `limit` (of the size of a file).
        why_full: the same in words; both are empty while it is not full.
        held_bytes: that its file has of the disk, or could have; None in memory.
    """

    used_bytes: int
    map_bytes: int
    free_bytes: int | None
    is_full: bool
    full_by: str = ""
    why_full: str = ""
    held_bytes: int | None = None


class Damage(NamedTuple):
    """Something that was found damaged, as the table `damaged` has it.

    Attributes:
        table: its table; empty when it is the file itself.
        key: of the row; of a part of a table, where it begins.
        stop: of a part, the key before which it ends; None where it ends with the table.
        stored: what was stored under the key, its checksum first; nothing of a part.
        why: in words.
        found_time: wall.
        is_part: whether it is a part of a table that could not be read.
        is_mended: whether it was put right, so that nothing is gone.
    """

    table: str
    key: bytes
    stop: bytes | None
    stored: bytes
    why: str
    found_time: float
    is_part: bool = False
    is_mended: bool = False

    def record(self) -> bytes:
        return tables.pack(tuple(self))

    def __str__(self) -> str:
        if not self.is_part:
            return f"the row of key {self.key.hex()} in table {self.table}: {self.why}"
        if not self.table:
            return self.why
        stop = "its end" if self.stop is None else f"key {self.stop.hex()}"
        return f"table {self.table} from key {self.key.hex() or 'its first'} to {stop}: {self.why}"


class Store(Protocol):
    """A set of tables; one thread uses it for its whole life."""

    def begin(self) -> Transaction:
        """Starts the one transaction that may be open."""

    def info(self) -> StoreInfo: ...

    def close(self) -> None: ...
