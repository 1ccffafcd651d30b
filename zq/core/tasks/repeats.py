"""What a message says that was said before: completions and failures that were stored under the same token, word for
word, are no stale ones.

A task that was split off has tokens of its own, and each is of a lease of it alone: of a run of several tasks only the
record of their batch is looked at. So a message costs a look or two for each of its entries, however many tasks they
name; and what these looks bring to light is limited, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import Acceptance, Forwarded, LastFailure, bits, run_mask
from zq.core.state.books import Books
from zq.core.state.step import Step
from zq.core.tasks import outcomes
from zq.task import task_id
from zq.wire.batch import iterate_payloads, slice_tasks
from zq.wire.messages import Done, Failed

FORWARDED_MAX: Final = 16
"""Batches and groups that the trace of a completion names; the rest is as a number."""

SAID_BEFORE_MAX: Final = 10_000
"""Completions that were stored before, and looked at for one message: ten times as many as it has entries. Of what is
behind them it is not found out whether it was stored: it counts as stale, and changes nothing, as it would else.
"""

READ_BYTES: Final = 1024
"""Bytes that count as one of them, where more is read than was sent."""


class SaidBefore(NamedTuple):
    """What was accepted of one record: the completions by token, in order, and where their results are."""

    by_token: dict[int, list[Acceptance]]
    key: bytes
    has_results: bool


class Repeats:
    """What was stored before of that which one message says."""

    __slots__ = ("_books", "_failures", "_left", "_records", "_step", "has_looked")

    def __init__(self, books: Books, step: Step) -> None:
        self._books = books
        self._step = step
        self._left = SAID_BEFORE_MAX
        self.has_looked = False

    def forget(self, id: str) -> None:
        """Notes that something of a batch has ended by this message."""
        self._records.pop(id, None)

    def done_mask(self, done: Done, asked: int) -> int:
        """Returns which tasks of a batch (bit i is index i) were completed under this token before, with the same
        results and forwards.
        """
        if not self.has_looked:
            self._begin()
        repeated = self._mask_in(done.id, done, asked)
        if asked & ~repeated and done.hi - done.lo == 1:
            repeated |= self._mask_in(task_id(done.id, 0, done.lo), done, asked)
        return repeated

    def is_failure(self, failed: Failed) -> bool:
        """Whether this failure was reported before."""
        if not self.has_looked:
            self._begin()
        known = ((failed.token, None), (failed.token, checksum(failed)))
        return any(self._last_failure(id) in known for id in (task_id(failed.id, 0, failed.index), failed.id))

    def _begin(self) -> None:
        """Makes what most messages do not need."""
        self.has_looked = True
        self._records: dict[str, SaidBefore | None] = {}  # by id, as far as they were looked at
        self._failures: dict[str, LastFailure | None] = {}

    def _mask_in(self, id: str, done: Done, asked: int) -> int:
        """As `done_mask`, of the tasks of one record."""
        record = self._record(id)
        entries = None if record is None else record.by_token.get(done.token)
        if record is None or entries is None:
            return 0
        before = self._overlapping(entries, done)
        covered = 0
        for entry in before:
            covered |= run_mask(entry[1], entry[2])
        covered &= asked
        if not covered or [tuple(made) for entry in before for made in entry[7]] != list(forwarded_of(done)):
            return 0
        return self._with_same_results(record, done, covered)

    def _record(self, id: str) -> SaidBefore | None:
        if id in self._records:
            return self._records[id]
        if self._left <= 0:
            return None
        found = _accepted_of(self._books, self._step, places.find(self._step, id))
        record = None
        if found is not None:
            accepted, key, has_results = found
            by_token: dict[int, list[Acceptance]] = {}
            for entry in accepted:
                by_token.setdefault(entry[0], []).append(entry)
            for entries in by_token.values():
                entries.sort(key=_lo)
            self._left -= len(accepted)
            record = SaidBefore(by_token, key, has_results)
        self._records[id] = record
        return record

    def _overlapping(self, entries: list[Acceptance], done: Done) -> list[Acceptance]:
        """Returns those of the entries, which are in order and do not overlap each other, that a completion covers."""
        first = max(0, bisect_right(entries, done.lo, key=_lo) - 1)
        found = []
        for at in range(first, len(entries)):
            entry = entries[at]
            if entry[1] >= done.hi or self._left <= 0:
                break
            self._left -= 1
            if entry[2] > done.lo:
                found.append(entry)
        return found

    def _with_same_results(self, record: SaidBefore, done: Done, covered: int) -> int:
        """Returns for which tasks the results are those that were stored, as far as they may be looked at.

        Args:
            record: that they are in.
            done: what is said now.
            covered: those that were completed before.
        """
        if not record.has_results:
            return covered if not done.blob else self._same_each(done, covered, {})
        same = 0
        left = covered
        for lo, hi, ends, blob in outcomes.results_in(self._step, record.key, done.lo, done.hi):
            self._left -= 1 + max(0, len(blob) - len(done.blob)) // READ_BYTES
            row = run_mask(lo, hi) & left
            left &= ~row
            if not row:
                pass
            elif done.lo <= lo and hi <= done.hi and _slice_of(done, lo, hi) == (ends, blob):
                same |= row
            else:
                same |= self._same_each(done, row, dict(enumerate(iterate_payloads(ends, blob), lo)))
            if self._left <= 0:
                return same | left
        return same | (left if not done.blob else self._same_each(done, left, {}))

    def _same_each(self, done: Done, mask: int, results: dict[int, bytes]) -> int:
        """Compares results one by one, where they are not all the same."""
        if not mask:
            return 0
        self._left -= done.hi - done.lo
        said = dict(enumerate(iterate_payloads(done.ends, done.blob), done.lo))
        return sum(1 << index for index in bits(mask) if results.get(index, b"") == said.get(index, b""))

    def _last_failure(self, id: str) -> LastFailure | None:
        if id not in self._failures:
            if self._left <= 0:
                return None
            batch = places.read(self._books, self._step, places.find(self._step, id))
            self._left -= 0 if batch is None else len(batch.blob) // READ_BYTES
            self._failures[id] = None if batch is None else batch.last_failure
        return self._failures[id]


def _slice_of(done: Done, lo: int, hi: int) -> tuple[bytes, bytes]:
    if not done.ends or (lo == done.lo and hi == done.hi):
        return done.ends, done.blob
    return slice_tasks(done.ends, done.blob, lo - done.lo, hi - done.lo)


def _lo(entry: Acceptance) -> int:
    return entry[1]


def forwarded_of(done: Done) -> Forwarded:
    """Returns what a completion stores, for the trace of its tasks."""
    made = [(group.id, group.queue or "", 0) for group in done.groups]
    made += [(batch.id, batch.queue, batch.tasks) for batch in done.forwards]
    if len(made) > FORWARDED_MAX:
        made[FORWARDED_MAX:] = [("", "", len(made) - FORWARDED_MAX)]
    return tuple(made)


def checksum(failed: Failed) -> int:
    """Returns what tells the report of a failure from another of the same task."""
    return crc32(repr((failed.error, failed.retry_in, failed.is_final)).encode())


def _accepted_of(books: Books, step: Step, known: places.Known) -> tuple[Sequence[Acceptance], bytes, bool] | None:
    """Returns the completions that were accepted of a record, its task key, and whether results are stored under that;
    payloads are not read where they need not be.
    """
    if isinstance(known, places.End):
        return known.accepted, known.key, known.has_results
    if known is None or known.where in (tables.AT_SCHEDULED, tables.AT_DEAD):  # nothing of these was ever done
        return None
    batch = books.batches.get(known.key) or books.unsaved.get(known.key)
    if batch is None and known.where == tables.AT_PENDING:
        value = step.tx.get(tables.PROGRESS, known.key)
        if value is None:
            return None
        _, _, _, has_results, accepted = tables.unpack(value)
        return accepted, known.key, has_results
    batch = batch or places.read(books, step, known)
    return None if batch is None else (batch.accepted, batch.key, batch.has_results)
