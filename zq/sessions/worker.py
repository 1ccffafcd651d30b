"""What a worker says to its coordinator: hello, heartbeats, settles, and all again when a connection was lost; pure.

The shell runs the tasks. It takes what arrived (`take_arrivals`), asks what was taken away (`take_revoked`), and
reports ends with `finish` and `release`. The session keeps, for each lease, the tasks that are not settled: exactly
those that hello and heartbeats list.

A settle is kept until `settled` answers it (`zq.sessions.reports`). It is sent again on a new connection after the
welcome, and when a beat shows that a heartbeat sent after it was answered and it was not (messages of one connection
are answered in order).

What the worker says of itself (`tell`) goes out after a welcome and when it changes; `take_steers` has what it is told.

While the name belongs to another worker that is there, the hello is said again now and then: that one may be a process
which was killed a moment ago. When it keeps the name, the session fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from zq.errors import AccessDeniedError, WorkerFencedError
from zq.sessions.hand import Hand, end_of_failure
from zq.sessions.refusals import remote_error
from zq.sessions.reports import ReportWindow, Verdict, parts_of, verdicts_on
from zq.sessions.started import Running, StartedTasks
from zq.wire.limits import CREDIT_MAX, MESSAGE_BATCHES_MAX, TEXT_CHARS_MAX
from zq.wire.messages import (
    Assign,
    Assignment,
    Beat,
    Cancelled,
    Done,
    Error,
    Failed,
    FromCoordinator,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Progress,
    Release,
    Settle,
    Settled,
    Span,
    ToCoordinator,
    Welcome,
)
from zq.wire.steering import About, Steer

WELCOME_PATIENCE = 5.0
"""Seconds to wait for the answer to a hello before connecting anew."""

NAME_RETRY = 0.25
"""Seconds between two hellos while another worker has the name: soon enough after a restart, and no load."""

NAME_PATIENCE = 5.0
"""Seconds beyond what the coordinator says that a name may be taken by another worker that is about to lose it."""

HEARD_PART = 1 / 3
"""Of `gone_after`: silence after which a beat asks for an answer where others do not; there is time for several."""


class WorkerSession:
    """The worker's side of the protocol; driven by one thread (see `zq.sessions.session.Session`)."""

    def __init__(
        self, name: str, incarnation: str, queues: tuple[str, ...], concurrency: int, running: Running
    ) -> None:
        """Makes a session that has not connected yet.

        Args:
            name: of the worker; it belongs to one worker at a time.
            incarnation: what nobody can guess, unlike that of any other process of the name.
            queues: from which it takes tasks.
            concurrency: how many tasks the shell runs at once.
            running: tells what the shell runs now.
        """
        self.name = name
        self.incarnation = incarnation
        self.queues = queues
        self.concurrency = concurrency
        self.credit = concurrency
        self.wants_reconnect = self.is_welcome = False
        self.is_stirred = False  # whether something came, or is to be said, for which `tick` is worth a call
        self.epoch = 0
        self.failure: Exception | None = None
        self.name_is_taken: str | None = None  # why it waits for its name, if it does
        self.counters = {"done": 0, "failed": 0, "stale": 0, "cancelled": 0}
        self.heard_at = 0.0
        self.hands: dict[int, Hand] = {}
        self._told_credit = 0  # by the last hello
        self._hello_at = inf  # when it is said again, because another worker has the name
        self._name_until = inf  # how long it is waited for
        self._name_asked_at = inf  # when it was last refused
        self._running = running
        self._reports = ReportWindow()
        self._arrivals: list[Assignment] = []
        self._revoked: list[Span] = []
        self._verdicts: list[Verdict] = []
        self._steers: list[Steer] = []
        self._about: About | None = None
        self._is_older = False  # whether this coordinator does not know what about is
        self._knows_intervals = self._knows_runs = True  # whether it knows the last fields of that
        self._outbox: list[ToCoordinator] = []
        self._number = 0
        self._beat = 0
        self._answered_beat = 0
        self._beat_at = 0.0
        self._heartbeat_interval = 1.0
        self._gone_after = 15.0
        self._idle_interval = 0.0  # seconds between beats while it has nothing in hand; 0: as always
        self._started = StartedTasks(running)

    # What the link calls.

    def connected(self, now: float) -> None:
        """Says hello on a new connection."""
        self.is_welcome = self._is_older = False
        self._knows_intervals, self._knows_runs, self._idle_interval = True, True, 0.0
        self.heard_at = now
        self._outbox = []
        self._say_hello()

    def receive(self, now: float, message: FromCoordinator) -> None:
        """Handles one message of the coordinator."""
        self.heard_at = now
        match message:
            case Assign(assignments):
                for assignment in assignments:
                    self._take(assignment)
                return
            case Settled():
                self._note_settled(message)
                self.is_stirred |= bool(self._outbox or self._verdicts)
                return
            case Beat(number, epoch, refused, idle_interval):
                self._answered_beat = number
                self.epoch = epoch
                self._idle_interval = idle_interval
                self._revoke_tokens(refused)
                self._outbox += self._reports.take_lost(number, self._beat)
            case Welcome():
                self._note_welcome(now, message)
            case Cancelled(spans):
                for span in spans:
                    self.counters["cancelled"] += self._revoke(span)
            case Steer():
                self._steers.append(message)
            case Error():
                self._note_error(now, message)
        self.is_stirred = True

    def tick(self, now: float) -> None:
        """Sends what is due: a heartbeat, and what has been running for a while."""
        self.is_stirred = False
        if now >= self._hello_at:
            self._say_hello()
        patience = self._gone_after if self.is_welcome else WELCOME_PATIENCE
        if now - self.heard_at >= patience:
            self.wants_reconnect = True
            self.heard_at = now
        if not self.is_welcome:
            return
        if now >= self._beat_at:
            self._outbox.append(self._next_beat(now))
        started = self._started.look(now, self.hands)
        if started is not None:
            self._outbox.append(started)

    def next_at(self) -> float:
        """Returns when `tick` has something to do (monotonic seconds)."""
        if not self.is_welcome:
            return min(self.heard_at + WELCOME_PATIENCE, self._hello_at)
        at = min(self._beat_at, self.heard_at + self._gone_after)
        return self._started.next_at(at) if self.hands else at

    @property
    def is_asking(self) -> bool:
        """Whether it waits for an answer to its hello, a heartbeat or a report."""
        return not self.is_welcome or self._beat != self._answered_beat or bool(self._reports)

    def take_outbox(self) -> list[ToCoordinator]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def drop(self, reply: object) -> None:
        """It has no calls that are answered."""

    def failed(self, error: Exception) -> None:
        """The link has ended; the shell reads `failure`."""
        if self.failure is None:
            self.failure = error

    def refused(self, error: AccessDeniedError) -> None:
        """The coordinator does not let the link in, or no longer: the worker cannot work, nor report."""
        self.failed(error)

    # What the shell calls.

    def take_arrivals(self) -> list[Assignment]:
        """Returns the assignments that came, in the order in which their tasks are to be started."""
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def take_revoked(self) -> list[Span]:
        """Returns what is no longer this worker's: what has not started of it must not, the rest is told that it is
        cancelled.
        """
        revoked, self._revoked = self._revoked, []
        return revoked

    def take_verdicts(self) -> list[Verdict]:
        """Returns what became of failures that were reported."""
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def take_steers(self) -> list[Steer]:
        """Returns what the worker is told to do."""
        steers, self._steers = self._steers, []
        return steers

    def tell(self, about: About) -> None:
        """Says what the worker is, if that has changed."""
        if about != self._about:
            self._about, self.concurrency = about, about.concurrency
            if self.is_welcome:
                self._say_about()

    def finish(self, done: list[Done], failed: list[Failed], credit: int) -> None:
        """Reports ends of tasks, with the credit from now on."""
        self.credit = min(credit, CREDIT_MAX)
        for some, others, size in parts_of(done, failed):
            self._number += 1
            self._send_settling(Settle(self._number, self.credit, some, others), size)

    def release(self, spans: list[Span], credit: int) -> None:
        """Gives back tasks that were not started; no spans only tells the credit."""
        self.credit = min(credit, CREDIT_MAX)
        for start in range(0, max(len(spans), 1), MESSAGE_BATCHES_MAX):
            self._number += 1
            part = tuple(spans[start : start + MESSAGE_BATCHES_MAX])
            self._send_settling(Release(self._number, self.credit, part), 0)

    def offer(self, credit: int) -> None:
        """Says how many tasks may be held from now on; the welcome makes up for it when there is no connection."""
        self.credit = min(credit, CREDIT_MAX)
        if self.is_welcome:
            self.release([], credit)

    def progress(self, token: int, index: int, fraction: float) -> None:
        if self.is_welcome:
            self._outbox.append(Progress(token, index, fraction))

    def goodbye(self, reason: str | None = None) -> None:
        """Leaves; also when the hello has no answer yet: else the coordinator, which has it, would give tasks to nobody
        for a while.

        Args:
            reason: why it cannot work, if so.
        """
        self._outbox.append(Goodbye(self.name, self.incarnation, reason and reason[:TEXT_CHARS_MAX]))

    def open_spans(self) -> list[Span]:
        """Returns all tasks in hand whose end has not been settled."""
        spans: list[Span] = []
        for token, hand in self.hands.items():
            first = hand.assignment.lo
            ends = [first + at for at in range(hand.assignment.tasks) if hand.open >> at & 1]
            spans += [Span(token, index, index + 1) for index in ends]
        return spans

    @property
    def is_settled(self) -> bool:
        """Whether every report has been answered."""
        return not self._reports

    def unsettled_spans(self) -> Iterator[tuple[int, int, int]]:
        """Yields token, lo and hi of what was reported or given back, and has no answer yet."""
        return self._reports.spans(self.hands)

    # Details.

    def _next_beat(self, now: float) -> Heartbeat:
        """Returns the heartbeat that is due; of many idle workers it asks for an answer now and then (protocol 3.6)."""
        is_idle = self._idle_interval > 0.0 and not self.hands and not self._reports
        self._beat_at = now + (self._idle_interval if is_idle else self._heartbeat_interval)
        if is_idle and now < self.heard_at + self._gone_after * HEARD_PART:
            return Heartbeat(0, ())
        self._beat += 1
        return Heartbeat(self._beat, self._held())

    def _held(self) -> tuple[Held, ...]:
        started: dict[int, list[int]] = {}
        for token, index, _ in self._running():
            started.setdefault(token, []).append(index)
        return tuple(Held(token, tuple(started.get(token, ()))) for token in self.hands)

    def _take(self, assignment: Assignment) -> None:
        if assignment.token not in self.hands:
            self.hands[assignment.token] = Hand(assignment)
            self._arrivals.append(assignment)

    def _note_welcome(self, now: float, welcome: Welcome) -> None:
        self.is_welcome = True
        self.name_is_taken = None
        self._hello_at = self._name_until = inf
        self.epoch = welcome.epoch
        self._heartbeat_interval = welcome.heartbeat_interval
        self._gone_after = welcome.gone_after
        self._beat_at = now + welcome.heartbeat_interval
        self._say_about()  # before all reports: the coordinator tells what becomes of failures
        self._answered_beat = self._beat
        self._reports.start_again()
        self._outbox += self._reports.take_due(self._beat)
        if self.credit != self._told_credit:
            self.release([], self.credit)
        self._revoke_tokens(welcome.refused)

    def _say_about(self) -> None:
        about = self._about
        if about is not None and not self._is_older:
            takes_runs = about.takes_runs and self._knows_runs
            self._outbox.append(about._replace(takes_runs=takes_runs, takes_intervals=self._knows_intervals))

    def _say_hello(self) -> None:
        self._hello_at = inf
        self._started.forget()
        self._told_credit = self.credit
        self._outbox.append(
            Hello(self.name, self.incarnation, self.queues, self.credit, self.concurrency, self._held())
        )

    def _note_name_taken(self, now: float, error: Error) -> None:
        """Says hello again soon, until it has been said for long enough."""
        if self.is_welcome:
            return  # an answer to what was said before the welcome
        patience = error.patience or 0.0
        if self.name_is_taken is None or now - self._name_asked_at > max(patience, 2 * NAME_RETRY):
            # The first time, or nobody has answered for so long: a coordinator that was away may have been started anew
            # since, and then gives whoever had the name the time to come back once more.
            self._name_until = now + NAME_PATIENCE + patience
        self.name_is_taken = error.text
        self._name_asked_at = now
        if now < self._name_until:
            self._hello_at = now + NAME_RETRY
        elif self.failure is None:
            self.failure = WorkerFencedError(
                f"another worker has the name {self.name}, and keeps it; give each worker a name of its own"
            )

    def _note_error(self, now: float, error: Error) -> None:
        if error.code == "name-taken":
            self._note_name_taken(now, error)
        elif error.code == "say-hello":
            self.wants_reconnect = True
        elif error.code == "fenced":
            self.failure = WorkerFencedError(f"{error.text}; give each worker a name of its own")
        elif error.code == "unknown-kind" and error.request is None:
            self._is_older = True
        elif error.code == "malformed" and error.request is None and self._knows_runs and self._about:
            self._knows_intervals, self._knows_runs = False, self._knows_intervals  # the last field first
            self._say_about()
        elif error.code == "busy":
            pass  # a hello is said again by another connection, a report with a later beat
        elif self.failure is None:
            self.failure = remote_error(error.code, error.text, error.request)

    def _send_settling(self, message: Settle | Release, size: int) -> None:
        self._reports.add(message, size)
        if self.is_welcome:
            self._outbox += self._reports.take_due(self._beat)

    def _note_settled(self, settled: Settled) -> None:
        message: Any = self._reports.answered(settled.number)
        if message is None:
            return
        if self.is_welcome:
            self._outbox += self._reports.take_due(self._beat)
        self.counters["stale"] += sum(span.hi - span.lo for span in settled.stale)
        if isinstance(message, Release):
            for token, lo, hi in message.spans:
                self._close(token, lo, hi)
            return
        hands = self.hands
        for done in message.done:
            hand = hands.get(done.token)
            if hand is not None:
                self.counters["done"] += done.hi - done.lo
                hand.open &= ~hand.mask(done.lo, done.hi)
                if not hand.open:
                    del hands[done.token]
        for failed in message.failed:
            self.counters["failed"] += 1
            self._close(failed.token, failed.index, end_of_failure(failed, self.hands))
        if message.failed:
            self._verdicts += verdicts_on(message.failed, settled)

    def _close(self, token: int, lo: int, hi: int) -> int:
        """Takes tasks out of hand and returns how many were."""
        hand = self.hands.get(token)
        if hand is None:
            return 0
        mask = hand.mask(lo, hi)
        hand.open &= ~mask
        if not hand.open:
            del self.hands[token]
        return mask.bit_count()

    def _revoke(self, span: Span) -> int:
        count = self._close(span.token, span.lo, span.hi)
        if count:
            self._revoked.append(span)
        return count

    def _revoke_tokens(self, tokens: tuple[int, ...]) -> None:
        for token in tokens:
            hand = self.hands.get(token)
            if hand is not None and not self._is_settling(token):
                self._revoke(Span(token, hand.assignment.lo, hand.assignment.hi))

    def _is_settling(self, token: int) -> bool:
        """Whether a report on a lease is under way: its answer, not this one, says what became of the tasks."""
        return any(one == token for one, _, _ in self.unsettled_spans())
