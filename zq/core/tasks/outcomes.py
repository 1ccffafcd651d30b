"""What is known of tasks that have ended: their outcomes, put together from the batch, its results and the index."""

from __future__ import annotations

from zq.core import tables
from zq.core.state.batch import mask_of, runs
from zq.core.state.books import Books, Step
from zq.core.tasks.endings import DEAD, PARKED, PENDING, TABLE_OF, End, Place, find, read_at
from zq.errors import StoreCorruptError
from zq.task import task_id
from zq.wire.messages import Ended


def ended_spans(books: Books, step: Step, id: str, lo: int, hi: int) -> tuple[list[Ended], int]:
    """Returns how tasks of a batch have ended so far, and the mask (bit i is index i) of those that have not.

    Args:
        id: of the batch as it was submitted.
        lo: first index that is asked for.
        hi: index behind the last.
    """
    record = find(step, id)
    if record is None:
        return [_unknown(lo, hi)], 0
    asked = ((1 << (hi - lo)) - 1) << lo
    size = size_of(step, record)
    if hi > size:
        found, missing = ended_spans(books, step, id, lo, size) if lo < size else ([], 0)
        return [*found, _unknown(max(lo, size), hi)], missing
    if isinstance(record, End):
        return _ended_of(step, id, record, asked)
    if record.where == DEAD:
        return [_dead_span(step, record.key, lo)], 0
    batch = read_at(books, step, record) if record.where in (PENDING, PARKED) else None
    if batch is None:
        return [], asked
    ended = batch.ended & asked
    found = _done_spans(step, batch.key, ended & ~batch.split, batch.has_results)
    own, missing = _split_spans(step, id, batch.split & asked)
    return found + own, (asked & ~ended) | missing


def _unknown(lo: int, hi: int) -> Ended:
    return Ended(lo, hi, "unknown", "the coordinator has no such task, or no longer", b"", b"")


def size_of(step: Step, place: Place | End) -> int:
    """Returns how many tasks the batch of an index record was submitted with."""
    if isinstance(place, End):
        return place.size
    table = TABLE_OF[place.where]
    value = step.tx.get(table, place.key)
    if value is None:
        raise StoreCorruptError(f"the index names key {place.key.hex()} of table {table}, which is not there")
    record = tables.unpack(value)
    if place.where == DEAD:
        record = tables.unpack(record[0])
    elif place.where == PARKED:
        record = tables.unpack(record[1])
    return int(record[1])


def _ended_of(step: Step, id: str, record: End, asked: int) -> tuple[list[Ended], int]:
    if record.outcome != "done":
        return [Ended(lo, hi, record.outcome, record.reason, b"", b"") for lo, hi in runs(asked)], 0
    split = mask_of(record.split)
    found = _done_spans(step, record.key, asked & ~split, record.has_results)
    own, missing = _split_spans(step, id, split & asked)
    return found + own, missing


def _done_spans(step: Step, key: bytes, mask: int, has_results: bool) -> list[Ended]:
    """Returns the tasks of a mask as done, with the results that are stored under a task key."""
    found = []
    if has_results:
        for row_key, value in step.tx.scan(tables.RESULTS, key, key + b"\xff\xff\xff"):
            lo = int.from_bytes(row_key[-2:], "big")
            hi, ends, blob = tables.unpack(value)
            covered = ((1 << (hi - lo)) - 1) << lo
            if mask & covered:
                found.append(Ended(lo, hi, "done", "", ends, blob))
                mask &= ~covered
    found += [Ended(lo, hi, "done", "", b"", b"") for lo, hi in runs(mask)]
    return found


def _split_spans(step: Step, id: str, mask: int) -> tuple[list[Ended], int]:
    """Looks up tasks that were split off, one by one."""
    found: list[Ended] = []
    missing = 0
    for lo, hi in runs(mask):
        for index in range(lo, hi):
            record = find(step, task_id(id, 0, index))
            if record is None:
                found.append(_unknown(index, index + 1))
            elif isinstance(record, End):
                found += _single_end(step, record, index)
            elif record.where == DEAD:
                found.append(_dead_span(step, record.key, index))
            else:
                missing |= 1 << index
    return found, missing


def _single_end(step: Step, record: End, index: int) -> list[Ended]:
    if record.outcome == "done":
        return _done_spans(step, record.key, 1 << index, record.has_results)
    return [Ended(index, index + 1, record.outcome, record.reason, b"", b"")]


def _dead_span(step: Step, key: bytes, index: int) -> Ended:
    value = step.tx.get(tables.DEAD, key)
    reason = "" if value is None else tables.unpack(value)[1]
    return Ended(index, index + 1, "dead", reason, b"", b"")
