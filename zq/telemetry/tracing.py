"""Spans and metrics of OpenTelemetry, by its conventions for messaging, as middleware.

The context travels in the headers of tasks, as W3C writes it: `traceparent`, `tracestate`, `baggage`. A span that
processes a task begins a trace of its own, with a link to the span that created the task: a task may wait for days,
be tried again, or be one of a thousand.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from zq.app.middleware import Middleware
from zq.handling.hooks import HandlerOutcome, Submission
from zq.task import TRACE_HEADERS, Task
from zq.telemetry.harmless import Faults, contained, with_context

try:
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
except ImportError as error:
    raise ImportError("zq.telemetry needs the api of OpenTelemetry: pip install 'zqkit[otel]'") from error

SECONDS_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
"""Of histograms, as the conventions have them."""


class _Running(NamedTuple):
    """A span that has begun."""

    span: Span
    started_at: float  # monotonic
    token: Any = None  # by which its context is left


class Tracing(Middleware):
    """Makes spans and metrics of what an app, a worker or a client does; one object may serve all of them.

    Spans: `send QUEUE` around a submit (PRODUCER), `receive QUEUE` for tasks that came (CLIENT), `process QUEUE`
    around a handler (CONSUMER), linked to the span that created the task, and `settle` for reported ends (CLIENT).
    What a handler submits or forwards belongs to its span. Metrics: `messaging.client.operation.duration`,
    `messaging.process.duration`, `messaging.client.sent.messages` and `messaging.client.consumed.messages`.

    What its providers and propagators raise is logged, once a minute, and fails nothing; a context that is more than
    the headers of a task can hold (4,096 characters each) is carried in part.

    Where handlers run in child processes, the providers are set in the module that these import.

    Args:
        is_parent: whether the span that created a task is the parent of those that process it, and not only linked:
            one trace for all, as long as it may take.
        tracer_provider: None is the global one.
        meter_provider: None is the global one.
    """

    def __init__(
        self,
        *,
        is_parent: bool = False,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self.faults = Faults()
        self._is_parent = is_parent
        self._tracer = trace.get_tracer("zq", tracer_provider=tracer_provider)
        meter = metrics.get_meter("zq", meter_provider=meter_provider)
        bounds: Any = {"unit": "s", "explicit_bucket_boundaries_advisory": SECONDS_BOUNDS}
        self._operations = meter.create_histogram("messaging.client.operation.duration", **bounds)
        self._processing = meter.create_histogram("messaging.process.duration", **bounds)
        self._sent = meter.create_counter("messaging.client.sent.messages", unit="{message}")
        self._consumed = meter.create_counter("messaging.client.consumed.messages", unit="{message}")
        self._sends: dict[int, _Running] = {}  # by the submission's identity
        self._runs: dict[int, _Running] = {}  # by the task's

    # Submitting.

    @contained
    def before_submit(self, submission: Submission) -> None:
        """Begins a span, and puts its context into the headers."""
        attributes = _attributes("send", "send", submission.queue)
        span = self._tracer.start_span(f"send {submission.queue}", kind=SpanKind.PRODUCER, attributes=attributes)
        self._sends[id(submission)] = _Running(span, time.monotonic())
        submission.options["headers"] = with_context(_carried(span), submission.options.get("headers") or {})

    @contained
    def after_submit(self, submission: Submission, receipt: Any, error: BaseException | None) -> None:
        """Ends the span, with the id of the task."""
        running = self._sends.pop(id(submission), None)
        if running is None:
            return
        attributes = _attributes("send", "send", submission.queue, error)
        tasks = getattr(receipt, "tasks", None) or (len(receipt) if hasattr(receipt, "__len__") else 1)
        if receipt is not None:
            name = "messaging.message.id" if tasks == 1 else "messaging.batch.message_count"
            value = getattr(receipt, "id", None) if tasks == 1 else tasks
            if value is not None:
                running.span.set_attribute(name, value)
            self._sent.add(tasks, attributes)
        self._operations.record(time.monotonic() - running.started_at, attributes)
        _end(running.span, error)

    # Handling.

    @contained
    def before_task(self, task: Task) -> None:
        """Begins a span, which is the current one while the handler runs."""
        created = propagate.extract(task.headers, context=context.Context())
        origin = trace.get_current_span(created).get_span_context()
        attributes: dict[str, Any] = {
            **_attributes("process", "process", task.queue),
            "messaging.message.id": task.id,
            "zq.task.attempt": task.attempt,
        }
        span = self._tracer.start_span(
            f"process {task.queue}",
            context=created if self._is_parent else context.Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(origin)] if origin.is_valid and not self._is_parent else None,
        )
        token = context.attach(trace.set_span_in_context(span, created))
        self._runs[id(task)] = _Running(span, time.monotonic(), token)

    @contained
    def after_task(self, task: Task, outcome: HandlerOutcome, error: BaseException | None) -> None:
        """Ends the span, and hands its context on to what the task forwards."""
        running = self._runs.pop(id(task), None)
        if running is None:
            return
        try:
            if outcome == "done":
                self._hand_on(task)
        finally:
            context.detach(running.token)
            running.span.set_attribute("zq.task.outcome", outcome)
            self._processing.record(
                time.monotonic() - running.started_at, _attributes("process", "process", task.queue, error)
            )
            _end(running.span, error)

    def _hand_on(self, task: Task) -> None:
        """Makes a span for each batch that is forwarded; callbacks of groups belong to the task's own."""
        inherited = task.headers.get(TRACE_HEADERS[0])
        known: dict[str, tuple[Any, dict[str, str]]] = {}  # by queue: the last options, and what they carry
        for at, (queue, options, payload) in enumerate(task.forwards or ()):
            headers = options.headers or {}
            if headers.get(TRACE_HEADERS[0]) not in (None, inherited):
                continue  # the handler has said what it belongs to
            alike = options._replace(group=None)
            if queue not in known or known[queue][0] != alike:
                attributes = _attributes("send", "send", queue)
                with self._tracer.start_as_current_span(f"send {queue}", kind=SpanKind.PRODUCER, attributes=attributes):
                    known[queue] = alike, _carried(trace.get_current_span())
            self._sent.add(1, _attributes("send", "send", queue))
            assert task.forwards is not None
            task.forwards[at] = queue, options._replace(headers=with_context(known[queue][1], _own(headers))), payload
        if task.forwards is not None and task.groups:
            own = _carried(trace.get_current_span())
            task.groups[:] = [
                group._replace(
                    options=group.options._replace(headers=with_context(own, _own(group.options.headers or {})))
                )
                for group in task.groups
            ]

    # What the connection does.

    @contained
    def after_receive(self, queue: str, tasks: int, seconds: float) -> None:
        """Makes a span of tasks that came."""
        self._note("receive", queue, tasks, seconds, None)
        self._consumed.add(tasks, _attributes("receive", "receive", queue))

    @contained
    def after_settle(self, queue: str, tasks: int, seconds: float, error: BaseException | None) -> None:
        """Makes a span of ends that were reported."""
        self._note("settle", queue, tasks, seconds, error)

    def _note(self, operation: str, queue: str, tasks: int, seconds: float, error: BaseException | None) -> None:
        attributes = _attributes(operation, operation, queue, error)
        span = self._tracer.start_span(
            f"{operation} {queue}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes={**attributes, "messaging.batch.message_count": tasks},
            start_time=time.time_ns() - int(seconds * 1e9),
        )
        self._operations.record(seconds, attributes)
        _end(span, error)


def _attributes(name: str, kind: str, queue: str, error: BaseException | None = None) -> dict[str, str]:
    found = {"messaging.system": "zeromq", "messaging.operation.name": name, "messaging.operation.type": kind}
    if queue:
        found["messaging.destination.name"] = queue
    if error is not None:
        found["error.type"] = type(error).__qualname__
    return found


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns headers without those of a context."""
    return {name: text for name, text in headers.items() if name not in TRACE_HEADERS}


def _carried(span: Span) -> dict[str, str]:
    """Returns what a propagator says of to which span something belongs."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context=trace.set_span_in_context(span))
    return headers


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", type(error).__qualname__)
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))
    span.end()
