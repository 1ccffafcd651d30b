"""The numbers that only grow, as they are stored."""

from typing import NamedTuple

from zq.core import tables
from zq.core.storage import Transaction

EPOCH_SHIFT = 40
"""Tokens are epoch << 40 | number: a million million leases in one life of a coordinator; they grow over restarts."""

LATER_EPOCHS = 1 << 16
"""Starts that there may have been since the copy was made from which books are read; of an epoch there are 24 bits."""


class CountersRecord(NamedTuple):
    """What is stored of the numbers that only grow, and of what is kept."""

    epoch: int
    sequence: int
    finish_sequence: int
    queue_number: int
    kept: int
    wall: float = 0.0  # the latest; not there in what was stored before


def write_counters(tx: Transaction, record: tuple[int, int, int, int, int, float]) -> None:
    """Stores the numbers, as of a CountersRecord: once a turn, so a plain tuple."""
    tx.put(tables.META, tables.COUNTERS_KEY, tables.pack(record))


def begin_later(tx: Transaction) -> None:
    """Raises the stored epoch above those of all lives that others may still know of, who have gone on from the same
    books: what they were handed out there is nothing here.
    """
    value = tx.get(tables.META, tables.COUNTERS_KEY)
    if value is not None:
        record = CountersRecord(*tables.unpack(value))
        write_counters(tx, record._replace(epoch=record.epoch + LATER_EPOCHS))
