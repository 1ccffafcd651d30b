"""What runs now, and what has run longer than its timeout and is not counted any more, or is taken away."""

from __future__ import annotations

from collections.abc import Sequence

from zq.sessions.worker import WorkerSession
from zq.wire.messages import Failed, Span
from zq.worker.bench import Bench
from zq.worker.thread_runner import RunnerThread

RunningNow = list[tuple[int, int, float]]
"""Token, index and start (monotonic seconds) of tasks."""


FORGET_INTERVAL = 0.25
"""Seconds between two looks for what can be forgotten: a task is nowhere for less, on its way between threads."""


class Overdue:
    """Watches the runners of a worker; all but `running` is for turns of the link."""

    def __init__(self, session: WorkerSession, bench: Bench, runners: Sequence[RunnerThread]) -> None:
        self._session = session
        self._bench = bench
        self._runners = runners
        self._found: set[tuple[int, int]] = set()  # failed here, though a thread may still be at it
        self._stopped: set[tuple[int, int]] = set()  # that were cancelled, and told so
        self._gone: set[int] = set()  # tokens of these, and of what was revoked, that were nowhere at the last look
        self._forget_at = 0.0  # when to look again (monotonic)

    def running(self) -> RunningNow:
        """Returns what runs now; any thread may ask."""
        found = self._found
        return [
            one
            for runner in self._runners
            if runner.thread.is_alive()
            for one in runner.running()
            if one[:2] not in found
        ]

    def look(self, now: float, running: RunningNow, credit: int) -> None:
        """Fails tasks that have run longer than their timeout; children are killed, coroutines cancelled, threads left
        to themselves. Those that run though they were cancelled are stopped, too.

        Args:
            now: monotonic seconds.
            running: as of `running`.
            credit: of the worker, told with what fails.
        """
        for token, index, since in running:
            if index in self._bench.revoked.get(token, ()):
                self._stop_once(token, index)
                continue
            hand = self._session.hands.get(token)
            timeout = None if hand is None else hand.assignment.options.timeout
            if timeout is None or now - since < timeout or hand is None:
                continue
            self._found.add((token, index))
            reason = f"ran longer than its timeout of {timeout:g} s"
            if any(runner.stop_task(token, index, reason) for runner in self._runners):
                continue
            self._session.finish([], [Failed(token, hand.assignment.id, index, reason, None, False)], credit)
            is_ordered = hand.assignment.options.ordered  # then what stands behind it has gone, too
            self._bench.revoke([Span(token, index, hand.assignment.hi if is_ordered else index + 1)])

    def take_away(self, spans: list[Span]) -> None:
        """Has nothing start of what is no longer this worker's, and stops what has."""
        self._bench.revoke(spans)
        for token, lo, hi in spans:
            for runner in self._runners:
                for running_token, index, _ in runner.running():
                    if running_token == token and lo <= index < hi:
                        self._stop_once(token, index)

    def fail_all_of(self, runner: RunnerThread, reason: str) -> None:
        """Fails what runs in a runner that has ended."""
        hands = self._session.hands
        failed = [
            Failed(token, hands[token].assignment.id, index, reason, None, False)
            for token, index, _ in runner.running()
            if token in hands
        ]
        if failed:
            self._session.finish([], failed, 0)

    def _stop_once(self, token: int, index: int) -> None:
        """Stops a task that was cancelled: when it is, or when it begins in a child process that had it by then."""
        if (token, index) not in self._stopped:  # a coroutine may be at its last words, and each time would end those
            self._stopped.add((token, index))
            any(runner.stop_task(token, index, None) for runner in self._runners)

    def forget(self, now: float) -> bool:
        """Forgets what was found and taken away of leases of which nothing can come to run any more: they were nowhere
        at this look and the one before. Returns whether there are others.
        """
        if not (self._bench.revoked or self._found or self._stopped):
            return False
        if now < self._forget_at:
            return True
        self._forget_at = now + FORGET_INTERVAL
        known = self._bench.revoked.keys() | {token for token, _ in self._found | self._stopped}
        kept = set(self._session.hands)
        kept.update(chunk.assignment.token for runner in self._runners for chunk in runner.in_hand())
        kept.update(chunk.assignment.token for chunk in self._bench.chunks())
        kept.update(token for runner in self._runners for token, _, _ in runner.running())
        gone, before = known - kept, self._gone
        over = gone & before
        self._gone = gone - over
        self._bench.forget_revoked(known - over)
        self._found = {one for one in self._found if one[0] not in over}
        self._stopped = {one for one in self._stopped if one[0] not in over}
        return len(known) > len(over)
