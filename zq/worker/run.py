"""One run of a worker, from start to stop: what stands between its session, its runners and whoever waits for it.

Three kinds of threads. The link's thread talks to the coordinator and beats on time, whatever handlers do. Runners
(threads, event loops, or threads with a child process each) take chunks from the bench and run them, and say themselves
what has ended, in a turn of the link (`zq.sockets.shared_link`): each turn takes reports and looks at the runners. The
caller of `Worker.run` waits, and decides when to drain.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf

from zq.errors import ClosedError, RunnerBrokenError
from zq.processes.copies import watch
from zq.sockets.led_link import LedLink
from zq.task import Task
from zq.wire.messages import Progress, Span
from zq.worker.bench import CHUNK_SECONDS, Bench
from zq.worker.child_start import Source
from zq.worker.child_thread import VISIBLE_AFTER
from zq.worker.crew import ChildrenWatch, RunSettings, WorkerCrew, count_slots
from zq.worker.failure_log import FailureLog
from zq.worker.harvest import Report
from zq.worker.helm import Helm, in_a_line
from zq.worker.overdue import Overdue, RunningNow
from zq.worker.run_end import RunEnd, StopSignals, WaitingWords
from zq.worker.run_session import RUNNING_LOOK_INTERVAL, RunSession
from zq.worker.strays import Strays
from zq.worker.thread_runner import ProgressPace, RunnerThread

log = logging.getLogger(__name__)

HANDLERS_PATIENCE = 30.0
"""Seconds that a worker which ends lets its handlers finish."""

BURST_IDLE = 0.5
"""Seconds without a task after which a worker in burst mode ends."""

SETTLE_PATIENCE = 10.0
"""Seconds that a draining worker waits for the answer to its last reports."""

HASTE = 0.2
"""Seconds that a worker that is to end at once waits for each of its runners: a killed child's last report is worth as
much.
"""

JOIN_PATIENCE = 3.0
"""Seconds that a worker waits for each of its runners, when nothing runs there any more."""

CHUNK_PATIENCE = 10 * CHUNK_SECONDS
"""Seconds after which what has not started of a chunk goes back on the bench: it was cut for a tenth of it."""


class WorkerRun:
    """One run of a worker, from start to stop."""

    def __init__(self, settings: RunSettings, spec: str | None) -> None:
        """Makes a run that is not started.

        Args:
            spec: where child processes find the handlers; None: they run in this process.
        """
        slots = count_slots(settings)
        places = slots.plain + slots.coroutines
        self.bench = Bench(places, slots.coroutine_queues, slots.coroutines)
        self._watch_at = 0.0  # when those who run tasks are looked at again, if there is a turn
        self.pulse = settings.pulse
        self.session = RunSession(self, settings, places)
        name = f"zq-{settings.name}"
        self._link = LedLink(settings.address, self.session, name, settings.namespace, settings.key, led=self.session)
        self._is_woken = False
        self._sleep = threading.Lock()  # not an event: a signal may find the lock of that held by this thread
        self._sleep.acquire()
        self.failure: RunnerBrokenError | None = None
        self.on_failure: Callable[[], None] = _nothing  # called in a turn of the link
        self._is_awaited = False  # whether somebody waits who will raise the failure
        self._end = RunEnd()
        self._signals: StopSignals | None = None
        self._is_copy = False
        self._progress_pace = ProgressPace()
        self.failures = FailureLog(settings.name)
        self.on_connected: Callable[[], None] | None = None  # called in a turn of the link, once; None: the log says so
        self._is_connected = False  # whether it has been let in
        self._crew = WorkerCrew(self, settings, slots, spec)
        self.bench.rouse = self._link.rouse
        self._children: ChildrenWatch | None = self._crew.children
        self.runners: list[RunnerThread] = self._crew.runners
        self._helm = Helm(self.session, self.bench, self._crew, self._stop_from_afar)
        self._strays = Strays(self.session, self.bench, self.runners)
        self._overdue = Overdue(self.session, self.bench, self.runners)
        if spec is not None:
            self.session.credit = 0  # until children are ready

    def start(self) -> None:
        watch(self)
        self._link.start()
        self._crew.start()

    def drop(self) -> bool:
        """Ends it soon, as a stop without patience, and without waiting: nobody knows its worker any more. For
        finalizers, in whatever thread they run; nothing of a run keeps its worker alive.

        Returns:
            False when it is stopping or has ended, or this process was forked from the one that it is in.
        """
        if self._end.is_begun or self._link.is_over or not self._link.is_here:
            return False
        threading.Thread(target=self.stop, args=(0.0,), name=f"{threading.current_thread().name}-stop").start()
        return True

    def running(self) -> RunningNow:
        """Tells the session what runs now."""
        return self._overdue.running()

    # In a turn of the link.

    def look(self, now: float) -> None:
        """Takes what the runners have reported, and what was taken away; now and then looks at how they do."""
        session = self.session
        session.say()
        self.failures.settle(session.take_verdicts())
        self.failures.look(now)
        if self._children is not None:
            self._look_at_children(self._children, now)
        self._helm.look(lambda: self.credit)
        revoked = session.take_revoked()
        if revoked:
            self._overdue.take_away(revoked)
        if session.failure is not None:
            self.wake()
        if now >= self._watch_at or self._end.is_begun or self.bench.is_draining or self.failure is not None:
            self._watch(now)

    def _watch(self, now: float) -> None:
        """Takes away what has run too long or would not start soon, and sees who has ended."""
        session, bench = self.session, self.bench
        running = self.running()
        session.settle([report for runner in self.runners for report in runner.ended_before(now)])
        if session.hands or bench.rests_until < inf:
            self._give_back_what_waits(now, running)
        self._overdue.look(now, running, self.credit)
        if self.failure is not None:
            self._give_back_rest()
        elif not self._end.is_begun:
            self._look_for_broken()
        if session.hands or bench.rests_until < inf:
            self.session.busy_at = now
        if session.hands:
            self.session.next_look_at = now + (2 * VISIBLE_AFTER if self._end.is_begun else RUNNING_LOOK_INTERVAL)
            self._overdue.forget(now)
        else:
            self.session.next_look_at = bench.rests_until
            if self._overdue.forget(now):
                self.session.next_look_at = min(self.session.next_look_at, now + RUNNING_LOOK_INTERVAL)
        self._watch_at = min(self.session.next_look_at, now + RUNNING_LOOK_INTERVAL)

    def _give_back_what_waits(self, now: float, running: RunningNow) -> None:
        """Gives back what has not started and would not soon, for whoever is idle: tasks have turned slow, have expired
        here, or the worker stops.
        """
        bench = self.bench
        after = 0.0 if self._end.is_begun or bench.is_draining else CHUNK_PATIENCE
        for runner in self.runners:
            for chunk in reversed(runner.fetch_back(now, after)):
                bench.put_back(chunk)
        leaving = bench.take_leaving()
        is_told = False
        if not self._end.is_begun:
            stuck = [runner.stuck(now) for runner in self.runners]
            coroutines = stuck.pop() if self._crew.has_loop else 0
            leaving += bench.shed(now, sum(stuck), coroutines, len(running))
            is_told = bench.rest_is_over(now)
            if now >= self._strays.next_at:
                leaving += self._take_strays(now)
        if leaving or is_told:
            self.session.release(leaving, self.credit)

    def _take_strays(self, now: float) -> list[Span]:
        strays = self._strays.look(now)
        self.bench.revoke(strays)  # should they turn up after all
        return strays

    @property
    def credit(self) -> int:
        """How many tasks to hold."""
        is_able = self._children is None or self._children.is_able
        return self.bench.credit if is_able and not self._end.is_begun and not self.bench.is_draining else 0

    def _look_at_children(self, children: ChildrenWatch, now: float) -> None:
        """Takes tasks when there are children to run them; gives all back while there are none, and ends the worker
        when there will be none.
        """
        was_able = children.is_able
        children.look(now)
        if children.is_able:
            if not was_able:
                self.session.busy_at = now
                self.session.offer(self.credit)
            return
        left = self.bench.clear()
        if left or was_able:
            self.session.release(left, 0)
        if self.failure is None and not self._end.is_begun and (why := children.why_over()):
            self._fail(f"the child processes of worker {self.session.name} cannot work: {why}")

    def _look_for_broken(self) -> None:
        """Ends the worker when a runner has ended by itself: the coordinator would take the worker for healthy, and the
        task for running, for ever. What ran there has failed, and all else goes back.
        """
        runner = self._crew.broken()
        if runner is None:
            return
        fault = runner.fault or "it ended before its time"
        reason = f"the thread that ran it ended by a fault that is not the handler's: {fault}"
        self._overdue.fail_all_of(runner, reason)
        self._fail(f"a thread that runs handlers ended by a fault that is not a handler's: {fault}")

    def _fail(self, why: str) -> None:
        """Ends the run, or what is left of it: whoever waits for it raises the error."""
        self.failure = RunnerBrokenError(why)
        if not self._is_awaited:
            log.error("worker %s takes no more tasks: %s", self.session.name, why)
        self.wake()
        self.on_failure()
        self._stop_in_background(HANDLERS_PATIENCE)

    def _give_back_rest(self) -> None:
        """Gives back what a broken runner had taken and not started, once nobody else can report it."""
        if (
            self.session.is_reported
            and self.session.hands
            and not any(runner.thread.is_alive() for runner in self.runners)
        ):
            self.session.release(self.session.open_spans(), 0)

    # Any thread.

    def report(self, report: Report) -> None:
        """Takes a report of a runner, whose thread sends it, unless another one is about to."""
        self.session.report(report)
        if not self._is_copy:
            self._link.nudge()

    def lead(self) -> bool:
        """Waits for tasks where they come, in the thread of the one runner, if there is one alone, in this process."""
        if self.bench.is_alone and not self._is_copy:
            return self._link.lead()
        self.leave()
        return False

    def leave(self) -> None:
        """Leaves it to the link's thread to wait, if this one has."""
        self._link.leave()

    def note_progress(self, task: Task, fraction: float) -> None:
        """Passes progress on, not too often."""
        if self._progress_pace.is_due(task):
            self.pass_progress(Progress(task.token, task.index, fraction))

    def pass_progress(self, message: Progress) -> None:
        self._call(lambda: self.session.progress(*message))

    def is_cancelled(self, task: Task) -> bool:
        return task.index in self.bench.revoked.get(task.token, ())

    def note_child(self, source: Source | None = None) -> None:
        """Looks at whether children are ready, which has changed."""
        if self._children is not None:
            self._children.note(source)
            self._helm.note_change()
            self._call(_nothing)

    def note_welcome(self) -> None:
        """The coordinator has let the worker in."""
        if not self._is_connected:
            self._is_connected = True
            if self.on_connected is None:
                log.info("worker %s is connected to %s", self.session.name, self._link.address)
            else:
                self.on_connected()

    def _stop_from_afar(self) -> None:
        """Ends the run as the first signal does; in a turn of the link, which must not wait for it."""
        if self._is_awaited:
            self.wake()
        else:
            self._stop_in_background(HANDLERS_PATIENCE)

    def wake(self) -> None:
        self._is_woken = True
        with suppress(RuntimeError):  # it was woken before
            self._sleep.release()

    # The thread that waits.

    def wait(self, *, burst: bool) -> None:
        """Waits until somebody asks to stop, the session fails or, in burst mode, until nothing comes any more."""
        self._is_awaited = True
        while not self._is_woken:
            if not self._sleep.acquire(timeout=0.1) and burst and self._is_idle():
                return

    def _is_idle(self) -> bool:
        session = self.session
        is_able = self._children is None or self._children.is_able
        return (
            is_able
            and session.is_welcome
            and not session.hands
            and time.monotonic() - self.session.busy_at > BURST_IDLE
        )

    def take_signals(self) -> StopSignals:
        """Lets SIGTERM and SIGINT drain the worker, until what is returned is told to restore them."""
        self._signals = StopSignals(self._ask_to_stop, self._make_haste)
        return self._signals

    def _ask_to_stop(self) -> bool:
        is_first = not self._is_woken
        self.wake()
        return is_first

    def _make_haste(self) -> None:
        self._end.is_hasty = True

    @property
    def is_over(self) -> bool:
        """Whether it has stopped, and nothing of it is left but handlers in threads that did not end."""
        return self._end.is_over

    def become_copy(self) -> None:
        """In a copy of this process: what a handler has forked ends by signals as anywhere else, and says nothing."""
        self._is_copy = True
        if self._signals is not None:
            self._signals.restore()

    def stop(self, timeout: float) -> None:
        """Gives back at once what has not started, waits for what runs and for the coordinator's answer, says goodbye.

        Any thread may stop it, also when another one does: each waits for the end, and the shortest timeout counts. A
        thread that runs handlers cannot wait for itself: it returns at once, and the run ends after the handler; so
        does a signal handler that interrupts the thread that ends it.
        """
        if threading.current_thread() in [runner.thread for runner in self.runners]:
            self._stop_in_background(timeout)
        elif self._begin_to_stop(timeout):
            self._drain()
        else:
            self._end.wait()

    def _stop_in_background(self, timeout: float) -> None:
        """Stops for a thread that cannot wait for the end."""
        if self._begin_to_stop(timeout):
            threading.Thread(target=self._drain, name="zq-stop", daemon=True).start()

    def _begin_to_stop(self, timeout: float) -> bool:
        """Takes no more from now on; returns whether nobody else has begun that."""
        is_first = self._end.begin(timeout)
        if is_first:
            self.pulse.stopping()
            left = self.bench.close()
            self._helm.note_change(is_ending=True)
            self._call(lambda: self._give_back(left))
            self.wake()
        return is_first

    def _drain(self) -> None:
        self._end.take_over()
        try:
            self._wait_for_handlers()
            self._say_goodbye()
        finally:
            self.failures.end()  # the link has ended
            self._end.is_over = True

    def _wait_for_handlers(self) -> None:
        end = self._end
        words = WaitingWords(self.session, can_signal=self._signals is not None)
        while self._is_at_work() and end.seconds_left > 0 and not self._link.is_over:
            words.look(self.running(), end.seconds_left)
            time.sleep(0.01)
        if end.is_hasty and self._is_at_work():
            log.warning("worker %s ends at once: what runs is ended or left behind, and goes back", self.session.name)
        for runner in self.runners:
            left = end.seconds_left
            if left <= 0:
                runner.kill()
            runner.thread.join(HASTE if end.is_hasty else max(0.0, min(left, JOIN_PATIENCE)))

    def _is_at_work(self) -> bool:
        return any(runner.thread.is_alive() and any(runner.in_hand()) for runner in self.runners)

    def _say_goodbye(self) -> None:
        patience = 0.0 if self._end.is_hasty else min(SETTLE_PATIENCE, max(self._end.timeout, 0.5))
        settle_at = time.monotonic() + patience
        while not self.session.is_reported and time.monotonic() < settle_at and self.session.failure is None:
            time.sleep(0.005)
        self._call(partial(self.session.goodbye, None if self.failure is None else in_a_line(str(self.failure))))
        self._link.close()

    def _give_back(self, spans: list[Span]) -> None:
        """Releases what was not started, and takes no more; without a connection and tasks there is nobody to tell."""
        if spans or self.session.is_welcome:
            self.session.release(spans, 0)
        else:
            self.session.finish([], [], 0)

    def _call(self, function: Callable[[], None]) -> None:
        """Has something done in the next turn of the link."""
        if self._is_copy:
            return
        try:
            self._link.call(function)
        except ClosedError:
            pass  # it has failed, or the worker was ended in haste: the coordinator gives the tasks to another


def _nothing() -> None:
    """Wakes the link's thread, which then looks for itself."""
