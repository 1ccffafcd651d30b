"""Spans and metrics, as the SDK of OpenTelemetry exports them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import zq

pytest.importorskip("opentelemetry.sdk", reason="the SDK of OpenTelemetry is missing: pip install opentelemetry-sdk")

from opentelemetry import propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from zq.telemetry import Tracing, ZqInstrumentor

PATIENCE = 60.0


class Watched:
    """A Tracing whose spans and metrics stay in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.providers: dict[str, Any] = {
            "tracer_provider": TracerProvider(),
            "meter_provider": MeterProvider([self.reader]),
        }
        self.providers["tracer_provider"].add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(**self.providers)
        self.tracer = self.providers["tracer_provider"].get_tracer("tests")

    def spans(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [one for part in data.resource_metrics for scope in part.scope_metrics for one in scope.metrics]
        return {one.name: one for one in found}


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "data", bind=f"ipc://{tmp_path}/socket") as found:
        yield found


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(one.context.trace_id, one.context.span_id) for one in span.links]


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def test_a_trace_leads_from_the_submit_over_the_worker_and_a_retry_to_what_was_forwarded(
    coordinator: zq.Coordinator, watched: Watched
) -> None:
    worker = zq.Worker(coordinator.address, middleware=[watched.tracing])

    @worker.task("orders")
    def bake(task: zq.Task) -> str:
        task.forward("delivery", {"box": 1})
        return trace.format_span_id(trace.get_current_span().get_span_context().span_id)

    arrived: list[str] = []
    delivered = threading.Event()

    @worker.task("delivery")
    async def deliver(task: zq.Task) -> None:
        arrived.append(task.headers["traceparent"])
        if task.attempt == 1:
            raise zq.Retry(0.01, "nobody at home")
        delivered.set()

    with zq.Client(coordinator.address, middleware=[watched.tracing]) as client, worker:
        with watched.tracer.start_as_current_span("request") as request:
            receipt = client.submit("orders", {})
        current = receipt.result(PATIENCE)
        assert delivered.wait(PATIENCE)

    (send,), (process,) = watched.spans("send orders"), watched.spans("process orders")
    (handed_on,), deliveries = watched.spans("send delivery"), watched.spans("process delivery")
    assert parent(send) == (request.get_span_context().trace_id, request.get_span_context().span_id)
    assert (links(process), parent(process)) == ([ids(send)], None)
    assert current == trace.format_span_id(ids(process)[1])
    assert parent(handed_on) == ids(process)
    assert [links(one) for one in deliveries] == [[ids(handed_on)]] * 2
    assert len({ids(one)[0] for one in (send, process, *deliveries)}) == 4
    assert [(one.attributes or {})["zq.task.attempt"] for one in deliveries] == [1, 2]
    assert [(one.attributes or {}).get("error.type") for one in deliveries] == ["Retry", None]
    assert (send.attributes or {})["messaging.message.id"] == (process.attributes or {})["messaging.message.id"]
    assert [send.kind, process.kind, handed_on.kind] == [SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.PRODUCER]
    assert len(set(arrived)) == 1, "a task that is tried again has the same headers"

    received, settled = watched.spans("receive orders"), watched.spans("settle")
    assert [one.kind for one in (*received, *settled)] == [SpanKind.CLIENT] * (len(received) + len(settled))
    assert received
    assert sum((one.attributes or {})["messaging.batch.message_count"] for one in settled) == 3  # type: ignore[misc]


def test_metrics_have_the_names_of_the_conventions(coordinator: zq.Coordinator, watched: Watched) -> None:
    with zq.Client(coordinator.address, middleware=[watched.tracing]) as client:
        client.submit_many("orders", range(5))
        for task in client.pull("orders", max_tasks=5, wait=PATIENCE):
            task.done()
    found = watched.metrics()

    assert {"messaging.client.operation.duration", "messaging.client.sent.messages"} <= found.keys()
    (sent,) = found["messaging.client.sent.messages"].data.data_points
    (consumed,) = found["messaging.client.consumed.messages"].data.data_points
    assert (sent.value, consumed.value) == (5, 5)
    assert dict(sent.attributes) == {
        "messaging.system": "zeromq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
    }
    assert len(watched.spans("settle")) == 5


def test_a_program_without_tracing_passes_a_trace_on(coordinator: zq.Coordinator) -> None:
    trace_headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "shop=1", "baggage": "user=7"}
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        task.forward("delivery", {})
        task.forward("letters", {}, headers={"traceparent": "mine"})
        task.group([1], queue="parts", callback="joined")

    @worker.task("parts")
    def part(task: zq.Task) -> dict[str, str]:
        return task.headers

    with zq.Client(coordinator.address) as client, worker:
        client.submit("orders", {}, headers={**trace_headers, "shop": "north"}).result(PATIENCE)
        (delivery,) = client.pull("delivery", wait=PATIENCE)
        (letter,) = client.pull("letters", wait=PATIENCE)
        (joined,) = client.pull("joined", wait=PATIENCE)

    assert delivery.headers == trace_headers
    assert letter.headers == {"traceparent": "mine"}
    assert {name: joined.headers.get(name) for name in trace_headers} == trace_headers
    assert joined.payload == [trace_headers]


def test_as_a_parent_it_is_one_trace(watched: Watched) -> None:
    app = zq.App.memory(middleware=[Tracing(is_parent=True, **watched.providers)])

    @app.task
    def bake(pizza: str) -> str:
        return pizza

    assert bake.submit("funghi").result() == "funghi"

    (send,), (process,) = watched.spans("send bake"), watched.spans("process bake")
    assert parent(process) == ids(send)
    assert links(process) == []


def publish(client: zq.Client) -> None:
    client.topics.bind("news.*", "orders")
    client.publish("news.pizza", {})


SUBMITS: dict[str, Callable[[zq.Client], Any]] = {
    "submit": lambda client: client.submit("orders", {}, id="chosen"),
    "submit_many": lambda client: client.submit_many("orders", [1]),
    "publish": publish,
    "group": lambda client: client.group([1], queue="orders", callback="joined"),
}


@pytest.mark.parametrize("way", SUBMITS)
def test_every_way_to_submit_carries_the_context(coordinator: zq.Coordinator, watched: Watched, way: str) -> None:
    with zq.Client(coordinator.address, middleware=[watched.tracing]) as client:
        SUBMITS[way](client)
        (task,) = client.pull("orders", wait=PATIENCE)
        task.done()
        (send,) = [one for one in watched.exporter.get_finished_spans() if one.name.startswith("send ")]
        assert task.headers["traceparent"].split("-")[1:3] == [f"{ids(send)[0]:032x}", f"{ids(send)[1]:016x}"]
        if way == "group":
            (joined,) = client.pull("joined", wait=PATIENCE)
            assert joined.headers["traceparent"] == task.headers["traceparent"]


def test_coroutines_that_submit_are_told_apart(coordinator: zq.Coordinator, watched: Watched) -> None:
    async def request(client: zq.AsyncClient, name: str) -> None:
        with watched.tracer.start_as_current_span(name):
            await client.submit(name, {})

    async def both() -> None:
        async with zq.AsyncClient(coordinator.address, middleware=[watched.tracing]) as client:
            await asyncio.gather(request(client, "a"), request(client, "b"))

    asyncio.run(both())

    for name in ("a", "b"):
        (outer,), (send,) = watched.spans(name), watched.spans(f"send {name}")
        assert parent(send) == ids(outer)


def test_a_submit_that_fails_has_a_span_that_says_why(watched: Watched, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/nobody"
    with zq.Client(address, timeout=0.1, middleware=[watched.tracing]) as client, pytest.raises(zq.UnreachableError):
        client.submit("orders", {})

    (send,) = watched.spans("send orders")
    assert (send.attributes or {})["error.type"] == "UnreachableError"
    assert not send.status.is_ok


def test_handlers_in_child_processes_have_a_span(coordinator: zq.Coordinator, watched: Watched) -> None:
    from tests.telemetry import kitchen

    kitchen.worker.address = coordinator.address
    with zq.Client(coordinator.address, middleware=[watched.tracing]) as client, kitchen.worker:
        is_valid, traceparent = client.submit("children", {}).result(PATIENCE)

    assert is_valid
    assert traceparent.split("-")[1] == f"{ids(watched.spans('send children')[0])[0]:032x}"


def test_the_instrumentor_reaches_what_is_made_afterwards(coordinator: zq.Coordinator, watched: Watched) -> None:
    instrumentor = ZqInstrumentor()
    instrumentor.instrument(skip_dep_check=True, **watched.providers)
    instrumentor.instrument()
    try:
        worker = zq.Worker(coordinator.address)
        worker.task("orders")(lambda task: None)
        with zq.Client(coordinator.address) as client, worker:
            client.submit("orders", {}).result(PATIENCE)
    finally:
        instrumentor.uninstrument()
    with zq.Client(coordinator.address) as client:
        client.submit("orders", {})

    assert [len(watched.spans(f"{what} orders")) for what in ("send", "process")] == [1, 1]


def test_nothing_of_opentelemetry_is_imported_unasked() -> None:
    program = (
        "import sys, zq, zq.cli.app\n"
        "zq.Client, zq.AsyncClient, zq.Worker, zq.App, zq.Executor\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class Broken:
    """A propagator, a sampler and a processor of spans that raise wherever they are asked."""

    fields: set[str] = set()

    def fail(self, *arguments: Any, **options: Any) -> Any:
        raise OSError("the collector is on fire")

    inject = extract = should_sample = on_start = on_end = fail

    def shutdown(self) -> None: ...


class Odd(Broken):
    """A propagator that carries what no task can."""

    def inject(self, carrier: dict[Any, Any], context: Any = None, setter: Any = None) -> None:
        carrier.update({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "number": 5, 7: "name", "n" * 999: "long"})
        carrier.update({"zq-topic": "mine", "one": "x" * 5000, "empty": "", "baggage": ",".join(["k=vvvv"] * 700)})

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        return context


def broken_tracing(part: str, monkeypatch: pytest.MonkeyPatch) -> Tracing:
    broken: Any = Broken()
    provider = TracerProvider(sampler=broken) if part == "sampler" else TracerProvider()
    if part == "processor":
        provider.add_span_processor(broken)
    if part in ("propagator", "odd headers"):
        monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", broken if part == "propagator" else Odd())
    return Tracing(tracer_provider=provider)


@pytest.mark.parametrize("part", ["propagator", "sampler", "processor", "odd headers"])
def test_tools_that_fail_fail_no_task_and_are_told_once_in_a_while(
    part: str, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = broken_tracing(part, monkeypatch)
    worker = zq.Worker(coordinator.address, middleware=[tracing])

    @worker.task("orders")
    def bake(task: zq.Task) -> dict[str, str]:
        task.forward("boxes", {}, headers={"shop": "north"})
        return task.headers

    with zq.Client(coordinator.address, middleware=[tracing]) as client, worker:
        for _ in range(3):
            headers = client.submit("orders", {}, max_attempts=1, headers={"shop": "north"}).result(PATIENCE)
        (box,) = client.pull("boxes", wait=PATIENCE)
        box.done()

    faults = [one.getMessage() for one in caplog.records if one.name.startswith("zq.")]
    if part == "odd headers":
        assert headers.keys() == box.headers.keys() == {"shop", "traceparent", "baggage"}
        assert headers["baggage"] == ",".join(["k=vvvv"] * 585), "members that there is room for, each of them whole"
        assert faults == []
    else:
        assert headers == {"shop": "north"}
        assert len(faults) == 1
        assert faults[0].startswith("tracing failed in before_submit (1 times since the last word);")
        assert "the collector is on fire" in faults[0]


def test_context_gives_way_to_the_headers_of_the_task(coordinator: zq.Coordinator, watched: Watched) -> None:
    full = {f"name-{number}": "text" for number in range(32)}
    with zq.Client(coordinator.address, middleware=[watched.tracing]) as client:
        client.submit("orders", {}, headers=full)
        (task,) = client.pull("orders", wait=PATIENCE)
        task.done()

    assert task.headers == full


def test_tools_find_the_instrumentor_by_its_entry_point() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="zq")

    assert found.load() is ZqInstrumentor
