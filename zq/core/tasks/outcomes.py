"""What is known of tasks that have ended: their outcomes, put together from the batch, its results and the index."""

from __future__ import annotations

from collections.abc import Iterator

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import bits, mask_of, run_mask, runs, span_of
from zq.core.state.books import Books
from zq.core.state.outcome_waits import Found
from zq.core.state.places import End, Known
from zq.core.state.step import Step
from zq.task import task_id
from zq.wire.batch import slice_tasks
from zq.wire.messages import Ended

ANSWER_PORTION_BYTES = 1 << 20
"""Of results and reasons that are read at a time, at most one run of results above it: about a millisecond."""

ANSWER_PORTION_SPANS = 300
"""Spans that are told at a time, and tasks that were split off that are looked up for it."""

NOT_IN_INDEX = ("unknown", "the coordinator has no such task, or no longer")
"""Outcome and reason of what is not in the index."""


def ended_spans(books: Books, step: Step, id: str, asked: int) -> Found:
    """Returns how tasks of a batch have ended so far, a portion of them.

    Args:
        id: of the batch as it was submitted.
        asked: mask of the tasks that are asked for (bit i is index i).
    """
    known = places.find(step, id)
    if known is not None and known.where == tables.AT_PENDING:
        batch = books.batches.get(known.key)
        if batch is not None and not batch.ended and batch.count == batch.size and not asked >> batch.size:
            return Found([], asked, 0)  # as for most who ask right after a submit
    portion = _Portion()
    open_mask = _fill(portion, books, step, id, known, asked)
    missing = asked & ~portion.told
    return Found(portion.spans, missing, missing & ~open_mask)


class _Portion:
    """What is told at a time, of which it has enough when `is_full`."""

    __slots__ = ("_bytes", "_spans_left", "spans", "told")

    def __init__(self) -> None:
        self.spans: list[Ended] = []
        self.told = 0  # mask of the tasks in `spans`
        self._bytes = 0
        self._spans_left = ANSWER_PORTION_SPANS

    @property
    def is_full(self) -> bool:
        return self._bytes >= ANSWER_PORTION_BYTES or self._spans_left <= 0

    def add(self, one: Ended) -> None:
        self.spans.append(one)
        self.told |= run_mask(one.lo, one.hi)
        self._bytes += len(one.blob) + 4 * len(one.reason)
        self._spans_left -= 1

    def add_all(self, mask: int, outcome: str, reason: str) -> None:
        """Adds the tasks of a mask, which ended alike and without results, until it is full."""
        for lo, hi in runs(mask) if mask else ():
            if self.is_full:
                return
            self.add(Ended(lo, hi, outcome, reason, b"", b""))

    def add_done(self, step: Step, key: bytes, mask: int, has_results: bool) -> None:
        """Adds the tasks of a mask as done, with the results that are stored under a task key, until it is full."""
        for first, end, ends, blob in results_in(step, key, *span_of(mask)) if has_results and mask else ():
            for lo, hi in runs(mask & run_mask(first, end)):
                is_whole = (lo, hi) == (first, end)
                results = (ends, blob) if is_whole else slice_tasks(ends, blob, lo - first, hi - first)
                self.add(Ended(lo, hi, "done", "", *results))
            if self.is_full:
                return
            mask &= ~run_mask(first, end)
        self.add_all(mask, "done", "")

    def add_split(self, step: Step, id: str, mask: int) -> int:
        """Looks up tasks that were split off, one by one, until it is full; returns which of them have not ended."""
        open_mask = 0
        for index in bits(mask) if mask else ():
            if self.is_full:
                break
            one, known = 1 << index, places.find(step, task_id(id, 0, index))
            end = _end_of(step, known)
            if known is None or end is not None:
                self.add_all(one, *(end or NOT_IN_INDEX))
            elif isinstance(known, End):
                self.add_done(step, known.key, one, known.has_results)
            else:
                open_mask |= one
                self._spans_left -= 1
        return open_mask


def _fill(portion: _Portion, books: Books, step: Step, id: str, known: Known, asked: int) -> int:
    """Adds what is known of the tasks that are asked for; returns which of those that it came to have not ended."""
    if known is None:
        portion.add_all(asked, *NOT_IN_INDEX)
        return 0
    batch = places.read(books, step, known)
    size = places.size_of(step, known) if batch is None else batch.size
    inside = asked if size == places.SIZE_UNKNOWN else asked & run_mask(0, size)
    end = _end_of(step, known)
    open_mask = 0
    if isinstance(known, End):
        split = mask_of(known.split)
        if end is None:
            portion.add_done(step, known.key, inside & ~split, known.has_results)
        else:
            portion.add_all(inside & ~split, *end)
        open_mask = portion.add_split(step, id, inside & split)
    elif end is not None:
        portion.add_all(inside, *end)
    elif batch is not None:
        portion.add_done(step, batch.key, inside & batch.ended & ~batch.split, batch.has_results)
        open_mask = portion.add_split(step, id, inside & batch.split) | (inside & ~batch.ended)
    portion.add_all(asked & ~inside, *NOT_IN_INDEX)
    return open_mask


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


def _end_of(step: Step, known: Known) -> tuple[str, str] | None:
    """Returns outcome and reason of what has ended otherwise than done; None of the rest."""
    if isinstance(known, End):
        return None if known.outcome == "done" else (known.outcome, known.reason)
    if known is None or known.where != tables.AT_DEAD:
        return None
    value = step.tx.get(tables.DEAD, known.key)
    return "dead", "" if value is None else tables.unpack(value)[1]
