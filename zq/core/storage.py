"""What the core asks of a store: ordered tables of bytes, changed by one transaction at a time.

`zq.store` has the implementations: LMDB, and a memory twin for tests and simulation.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

FULL_FRACTION = 0.8
"""Of the room of a store: above it nothing new is admitted (`Transaction.is_full`), the rest is for completions."""


class Transaction(Protocol):
    """All changes of one step; they happen together at `commit`, or not at all.

    Keys are 1 to 511 bytes and ordered bytewise; one that cannot be is not there. Reads see the transaction's own
    writes. Every call raises `zq.StoreCorruptError` when a value fails its checksum.
    """

    @property
    def is_full(self) -> bool:
        """True when nothing new should be admitted, while completions still find room."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Stores the value, replacing what was there. Raises `zq.StoreFullError` when not even the reserve has room."""

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None: ...

    def delete(self, table: str, key: bytes) -> bool:
        """Returns whether the key was there."""

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yields (key, value) with start <= key < stop in order; the table must not be written before the iterator is
        done with.
        """

    def commit(self) -> None:
        """Makes all changes durable, in one; returns when they are. Raises `zq.StoreFullError` or `zq.StoreError`."""

    def abort(self) -> None: ...


class StoreInfo(NamedTuple):
    """Room in a store, in bytes; `free_bytes` is the disk's and None in memory."""

    used_bytes: int
    map_bytes: int
    free_bytes: int | None
    is_full: bool


class Store(Protocol):
    """A set of tables; one thread uses it for its whole life."""

    def begin(self) -> Transaction:
        """Starts the one transaction that may be open."""

    def info(self) -> StoreInfo: ...

    def close(self) -> None: ...
