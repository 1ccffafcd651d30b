"""What is known of tasks that have ended: their outcomes, put together from the batch, its results and the index."""

from __future__ import annotations

from collections.abc import Iterator

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import bits, mask_of, run_mask, runs, span_of
from zq.core.state.books import Books
from zq.core.state.places import End
from zq.core.state.step import Step
from zq.task import task_id
from zq.wire.batch import slice_tasks
from zq.wire.messages import Ended


def ended_spans(books: Books, step: Step, id: str, lo: int, hi: int) -> tuple[list[Ended], int]:
    """Returns how tasks of a batch have ended so far, and the mask (bit i is index i) of those that have not.

    Args:
        id: of the batch as it was submitted.
        lo: first index that is asked for.
        hi: index behind the last.
    """
    known = places.find(step, id)
    if known is None:
        return [_unknown(lo, hi)], 0
    asked = run_mask(lo, hi)
    size = places.size_of(step, known)
    if hi > size:
        found, missing = ended_spans(books, step, id, lo, size) if lo < size else ([], 0)
        return [*found, _unknown(max(lo, size), hi)], missing
    final = _final(step, known, asked)
    if final is not None:
        return final, 0
    if isinstance(known, End):
        ended, split = asked, mask_of(known.split)
        found = _done_spans(step, known.key, asked & ~split, known.has_results)
    else:
        batch = places.read(books, step, known)
        if batch is None:
            return [], asked
        ended, split = batch.ended & asked, batch.split
        found = _done_spans(step, batch.key, ended & ~split, batch.has_results)
    own, missing = _split_spans(step, id, split & asked)
    return found + own, (asked & ~ended) | missing


def _unknown(lo: int, hi: int) -> Ended:
    return Ended(lo, hi, "unknown", "the coordinator has no such task, or no longer", b"", b"")


def _final(step: Step, known: places.Known, asked: int) -> list[Ended] | None:
    """Returns how tasks have ended that have the end of their record, which is not "done"; else None."""
    end = places.end_of(step, known)
    return None if end is None else [Ended(lo, hi, *end, b"", b"") for lo, hi in runs(asked)]


def _done_spans(step: Step, key: bytes, mask: int, has_results: bool) -> list[Ended]:
    """Returns the tasks of a mask as done, with the results that are stored under a task key."""
    found = []
    if has_results and mask:
        for first, end, ends, blob in results_in(step, key, *span_of(mask)):
            covered = run_mask(first, end)
            for lo, hi in runs(mask & covered):
                is_whole = (lo, hi) == (first, end)
                found.append(
                    Ended(
                        lo,
                        hi,
                        "done",
                        "",
                        *((ends, blob) if is_whole else slice_tasks(ends, blob, lo - first, hi - first)),
                    )
                )
            mask &= ~covered
    found += [Ended(lo, hi, "done", "", b"", b"") for lo, hi in runs(mask)]
    return found


def _split_spans(step: Step, id: str, mask: int) -> tuple[list[Ended], int]:
    """Looks up tasks that were split off, one by one."""
    found: list[Ended] = []
    missing = 0
    for index in bits(mask):
        known = places.find(step, task_id(id, 0, index))
        final = _final(step, known, 1 << index)
        if known is None:
            found.append(_unknown(index, index + 1))
        elif final is not None:
            found += final
        elif isinstance(known, End):
            found += _done_spans(step, known.key, 1 << index, known.has_results)
        else:
            missing |= 1 << index
    return found, missing


# Results, as they are stored.


def results_in(step: Step, key: bytes, lo: int, hi: int) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Yields lo, hi, ends and payloads of each run of results under a task key in which any of the tasks lo <= index <
    hi is; few others are read.
    """
    start = tables.result_key(key, _start_of_run(step, key, lo))
    for row_key, value in step.tx.scan(tables.RESULTS, start, tables.result_key(key, hi)):
        end, ends, blob = tables.unpack(value)
        yield int.from_bytes(row_key[-2:], "big"), end, ends, blob


def _start_of_run(step: Step, key: bytes, index: int) -> int:
    """Returns where the run of results begins in which a task is; the task itself, if it has no result."""
    low, high, at = 0, index + 1, index  # it begins at low <= start < high; looked for from `at` on
    while index and low < high:
        row = next(step.tx.scan(tables.RESULTS, tables.result_key(key, at), tables.result_key(key, high)), None)
        if row is None:
            high, at = at, max(low, 2 * at - index - 1)
        elif tables.unpack(row[1])[0] > index:
            return int.from_bytes(row[0][-2:], "big")
        else:
            low = int.from_bytes(row[0][-2:], "big") + 1
            at = (low + high) >> 1
    return index
