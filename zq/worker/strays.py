"""Tasks that are in hand and nowhere in the worker: the net under everything else that a worker does.

No task should ever be found here. If one is, a thread of the worker died with it, or the worker has a fault; the task
goes back uncharged, and the log says so. The coordinator would take it back as well, much later (protocol 3.3).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from math import inf

from zq.sessions.hand import Hand
from zq.sessions.worker import WorkerSession
from zq.wire.messages import Span
from zq.worker.bench import Bench
from zq.worker.child_thread import falling_runs
from zq.worker.thread_runner import RunnerThread

log = logging.getLogger(__name__)

STRAYS_LOOK_INTERVAL = 2.0
"""Seconds between two looks. A task must have been nowhere in two of them: on its way from one thread to another it is
in neither for a moment.
"""


class Strays:
    """Looks for tasks that a session has in hand and nobody works on; used in turns of the link only.

    Attributes:
        next_at: when to look again (monotonic seconds).
    """

    def __init__(self, session: WorkerSession, bench: Bench, runners: Sequence[RunnerThread]) -> None:
        self.next_at = -inf
        self._session = session
        self._bench = bench
        self._runners = runners
        self._known: set[int] = set()  # tokens that were in hand at the last look
        self._missing: dict[int, int] = {}  # by token, what was nowhere at the last look

    def look(self, now: float) -> list[Span]:
        """Returns tasks that were nowhere now and at the look before; they are to be given back. Reports of runners
        have been taken before.
        """
        self.next_at = now + STRAYS_LOOK_INTERVAL
        hands = self._session.hands
        old, self._known = self._known & hands.keys(), set(hands)
        before, self._missing = self._missing, {}
        if not old:
            return []
        missing = {token: hands[token].open for token in old}
        for token, lo, hi in self._places():
            if token in missing:
                missing[token] &= ~hands[token].mask(lo, hi)
        self._missing = {token: mask for token, mask in missing.items() if mask}
        lost = {token: mask & before[token] for token, mask in self._missing.items() if token in before}
        spans = [Span(token, lo, hi) for token, mask in lost.items() for lo, hi in _runs_of(hands[token], mask)]
        if spans:
            count = sum(span.hi - span.lo for span in spans)
            log.error("%d tasks were in hand and nowhere in this worker, which is a fault of it; they go back", count)
        return spans

    def _places(self) -> Iterable[tuple[int, int, int]]:
        """Yields where tasks are: token, lo, hi."""
        for runner in self._runners:
            if runner.thread.is_alive():
                for chunk in runner.in_hand():
                    yield chunk.assignment.token, chunk.lo, chunk.hi
        for chunk in self._bench.chunks():
            yield chunk.assignment.token, chunk.lo, chunk.hi
        yield from self._session.unsettled_spans()


def _runs_of(hand: Hand, mask: int) -> Iterable[tuple[int, int]]:
    first = hand.assignment.lo
    return reversed(falling_runs(first + bit for bit in range(mask.bit_length()) if mask >> bit & 1))
