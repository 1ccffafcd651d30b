"""What a worker has reported, and has no answer to yet: settles and releases, each of which goes out in its turn.

Results may be large, and a worker may have many of them at once, when tasks end together or a connection is back. What
has been sent and not been answered waits in the coordinator, which ends whoever piles up too much there; so only a
window of bytes is under way, and what is beyond it waits here, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from zq.sessions.hand import Hand, end_of_failure
from zq.wire.limits import MESSAGE_BATCHES_MAX
from zq.wire.messages import Done, Failed, Release, Settle, Settled
from zq.wire.options import header_bytes
from zq.wire.steering import NextTry

REPORTED_BYTES_MAX = 8 << 20
"""Results and forwards under way: two full settles, so that one is read while the other is written to disk, and an
eighth of what the coordinator lets a connection pile up.
"""


WORKER_SETTLE_BYTES_MAX = 4 << 20
"""Results and forwards in one settle, at most one completion above it: a quarter of a frame."""

WORKER_FORWARDS_MAX = MESSAGE_BATCHES_MAX // 2
"""Batches and groups that completions forward and open, after which a settle goes out: work for the coordinator that
nobody else notices, and one completion more is still far from what a settle may have.
"""

FAILURES_MAX = 200
"""Failures in one settle: their texts, too, have to fit a frame."""


def parts_of(done: list[Done], failed: list[Failed]) -> Iterable[tuple[tuple[Done, ...], tuple[Failed, ...], int]]:
    """Returns ends of tasks as settles have room for them, each with the bytes of its results, forwards and texts."""
    if len(done) == 1 and not failed and not done[0].forwards and not done[0].groups:
        return (((done[0],), (), len(done[0].blob)),)
    return _parts_of(done, failed)


def _parts_of(done: list[Done], failed: list[Failed]) -> Iterator[tuple[tuple[Done, ...], tuple[Failed, ...], int]]:
    part: list[Done] = []
    size = batches = 0
    for one in done:
        part.append(one)
        size += len(one.blob)
        if one.forwards or one.groups:
            size += sum(len(batch.blob) + header_bytes(batch.options) for batch in one.forwards)
            size += sum(header_bytes(group.options) for group in one.groups)
            batches += len(one.forwards) + len(one.groups)
        if len(part) == MESSAGE_BATCHES_MAX or size >= WORKER_SETTLE_BYTES_MAX or batches >= WORKER_FORWARDS_MAX:
            yield tuple(part), (), size
            part, size, batches = [], 0, 0
    while part or failed:
        some, failed = tuple(failed[:FAILURES_MAX]), failed[FAILURES_MAX:]
        yield tuple(part), some, size + sum(len(one.error) for one in some)
        part, size = [], 0


class Verdict(NamedTuple):
    """What became of a failure that was reported."""

    failed: Failed
    next_try: NextTry | None  # None: it was told before, or the coordinator is older than that
    is_stale: bool  # the task was not this worker's any more


def verdicts_on(failures: Iterable[Failed], settled: Settled) -> Iterator[Verdict]:
    """Yields what became of failures, by the answer to their report."""
    next_tries = {(one.token, one.index): one for one in settled.next_tries}
    for failed in failures:
        token, index = failed.token, failed.index
        is_stale = any(span.token == token and span.lo <= index < span.hi for span in settled.stale)
        yield Verdict(failed, next_tries.get((token, index)), is_stale)


@dataclass(slots=True, eq=False)
class Unsettled:
    """A settle or release without an answer yet."""

    message: Settle | Release
    size: int  # bytes of its results and forwards
    beat: float = inf  # the last heartbeat before it was sent; inf: it was not


class ReportWindow:
    """The reports of one worker, by number. Invariant: what waits has not been sent on this connection, and is younger
    than all that has.
    """

    def __init__(self) -> None:
        self._unsettled: dict[int, Unsettled] = {}
        self._waiting: deque[Unsettled] = deque()
        self._bytes = 0  # under way

    def __bool__(self) -> bool:
        return bool(self._unsettled)

    def __iter__(self) -> Iterator[Settle | Release]:
        """Yields all that has no answer, in order."""
        return (unsettled.message for unsettled in self._unsettled.values())

    def spans(self, hands: Mapping[int, Hand]) -> Iterator[tuple[int, int, int]]:
        """Yields token, lo and hi of what was reported or given back, and has no answer yet."""
        for message in self:
            if isinstance(message, Release):
                yield from message.spans
            else:
                yield from ((one.token, one.lo, one.hi) for one in message.done)
                yield from ((one.token, one.index, end_of_failure(one, hands)) for one in message.failed)

    def add(self, message: Settle | Release, size: int) -> None:
        """Keeps a report, with that many bytes of results and forwards, until it is answered."""
        unsettled = self._unsettled[message.number] = Unsettled(message, size)
        self._waiting.append(unsettled)

    def take_due(self, beat: int) -> list[Settle | Release]:
        """Returns what is to be sent now, after that heartbeat; at least one report if nothing is under way."""
        due: list[Settle | Release] = []
        waiting = self._waiting
        while waiting:
            first = waiting[0]
            if first.size and self._bytes and self._bytes + first.size > REPORTED_BYTES_MAX:
                break
            waiting.popleft()
            first.beat = beat
            self._bytes += first.size
            due.append(first.message)
        return due

    def take_lost(self, before: int, beat: int) -> list[Settle | Release]:
        """Returns what was sent before a heartbeat that is answered, and is not: it is sent again, after the heartbeat
        `beat`.
        """
        lost = [unsettled for unsettled in self._unsettled.values() if unsettled.beat < before]
        for unsettled in lost:
            unsettled.beat = beat
        return [unsettled.message for unsettled in lost]

    def start_again(self) -> None:
        """Has everything wait again: what was sent is not known to have arrived."""
        self._bytes = 0
        self._waiting = deque(self._unsettled.values())
        for unsettled in self._waiting:
            unsettled.beat = inf

    def answered(self, number: int) -> Settle | Release | None:
        """Forgets a report, and returns it; None when it was answered before."""
        unsettled = self._unsettled.pop(number, None)
        if unsettled is None:
            return None
        if unsettled.beat < inf:
            self._bytes -= unsettled.size
        else:
            self._waiting.remove(unsettled)
        return unsettled.message
