"""The client over a real socket, against a coordinator that does what the test says."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.client import Client
from zq.client.insight import TaskEvent
from zq.errors import (
    BusyError,
    ClosedError,
    InvalidTaskError,
    PayloadTooLargeError,
    RemoteProtocolError,
    TaskCancelledError,
    TaskExpiredError,
    TaskFailedError,
    TaskUnknownError,
    TimedOutError,
    UnreachableError,
)
from zq.wire.batch import decode_payload, encode_payload, iterate_payloads, pack_payloads
from zq.wire.messages import (
    Accepted,
    Answer,
    Cancel,
    Command,
    Ended,
    Error,
    FromCoordinator,
    Outcome,
    Ping,
    Query,
    Receipt,
    Refused,
    Submit,
    ToCoordinator,
    Wait,
    Withdraw,
)

Spawn = Callable[..., Spawned]


def payloads_of(submit: Submit) -> list[Any]:
    return [decode_payload(data) for one in submit.batches for data in iterate_payloads(one.ends, one.blob)]


# Submitting.


def test_a_submit_returns_a_receipt(coordinator: FakeCoordinator, client: Client) -> None:
    receipt = client.submit("orders", {"pizza": b"margherita"}, priority=7, key="k", headers={"a": "b"})
    [stored] = coordinator.stored.values()
    assert (receipt.id, receipt.position, receipt.eta) == (stored.id, 1, None)
    assert (stored.queue, stored.options.priority, stored.options.key) == ("orders", 7, "k")
    assert stored.options.headers == {"a": "b"}
    assert decode_payload(stored.blob) == {"pizza": b"margherita"}


def test_a_submit_with_an_id_keeps_it(coordinator: FakeCoordinator, client: Client) -> None:
    assert client.submit("orders", 1, id="order-7").id == "order-7"
    assert list(coordinator.stored) == ["order-7"]


def test_submits_of_many_threads_travel_together(coordinator: FakeCoordinator, client: Client) -> None:
    client.ping()
    coordinator.is_deaf = True
    first = [Spawned(client.submit, "orders", "first")]
    coordinator.wait_for(Submit)
    second = [Spawned(client.submit, "orders", "second")]
    coordinator.wait_for(Submit, 2)
    gathered = [Spawned(client.submit, "orders", place) for place in range(30)]
    wait_until(lambda: client._calls.session.submits._tasks == 30)
    coordinator.is_deaf = False
    # The deaf coordinator took the first two; a pong shows that they were lost, and they come again before the others.
    receipts = [one.join() for one in first + second + gathered]
    assert len({receipt.id for receipt in receipts}) == 32
    batches = {id: len(batch.ends) // 4 for id, batch in coordinator.stored.items()}
    assert sorted(batches.values()) == [1, 1, 30]


def test_submit_many_cuts_batches_and_makes_receipts_lazily(coordinator: FakeCoordinator, client: Client) -> None:
    receipts = client.submit_many("orders", ({"n": n} for n in range(2500)), priority=9)
    assert len(receipts) == 2500
    assert [len(one.ends) // 4 for one in coordinator.stored.values()] == [1000, 1000, 500]
    ids = list(coordinator.stored)
    assert receipts[0].id == f"{ids[0]}#0"
    assert receipts[1999].id == f"{ids[1]}#999"
    assert receipts[-1].id == f"{ids[2]}#499"
    assert [one.id for one in receipts[999:1001]] == [f"{ids[0]}#999", f"{ids[1]}#0"]
    assert [one.id for one in receipts] == [receipts[place].id for place in range(2500)]
    assert [one.position for one in receipts[:3]] == [1, 2, 3]
    with pytest.raises(IndexError, match="2500"):
        receipts[2500]
    stored = [payload for one in coordinator.of_kind(Submit) for payload in payloads_of(one)]
    assert stored == [{"n": n} for n in range(2500)]


def test_submit_many_takes_a_batch_size_and_cuts_at_a_mebibyte(coordinator: FakeCoordinator, client: Client) -> None:
    client.submit_many("orders", range(10), batch_size=4)
    assert [len(one.ends) // 4 for one in coordinator.stored.values()] == [4, 4, 2]
    coordinator.stored.clear()
    client.submit_many("orders", [bytes(400_000)] * 5)
    assert [len(one.ends) // 4 for one in coordinator.stored.values()] == [2, 2, 1]


def test_submit_many_of_nothing_is_an_empty_sequence(client: Client) -> None:
    receipts = client.submit_many("orders", [])
    assert len(receipts) == 0
    assert list(receipts) == []


def test_submit_many_reads_no_further_than_its_window(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.is_deaf = True
    read = 0

    def payloads() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield bytes(1_000_000)

    call = Spawned(client.submit_many, "orders", payloads())
    coordinator.wait_for(Submit)
    wait_until(lambda: read >= 17)
    assert read < 25
    coordinator.is_deaf = False
    assert len(call.join()) == 100


def refuse_some(code: str) -> Callable[[ToCoordinator], list[FromCoordinator] | None]:
    """Refuses each batch with an odd first payload."""

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        if not isinstance(message, Submit):
            return None
        accepted, refused = [], []
        for one in message.batches:
            if decode_payload(next(iterate_payloads(one.ends, one.blob))) % 2:
                refused.append(Refused(one.id, code, 1.5 if code == "busy" else None, "no room"))
            else:
                accepted.append(Accepted(one.id, 1, None))
        return [Receipt(message.request, tuple(accepted), tuple(refused))]

    return handle


def test_a_busy_submit_raises(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = refuse_some("busy")
    with pytest.raises(BusyError, match="no room") as caught:
        client.submit("orders", 1)
    assert caught.value.retry_after == 1.5


def test_submit_many_says_what_was_refused_and_has_receipts_of_the_rest(
    coordinator: FakeCoordinator, client: Client
) -> None:
    coordinator.handler = refuse_some("busy")
    with pytest.raises(BusyError, match="no room") as caught:
        client.submit_many("orders", [0, 10, 1, 10, 2, 10, 3], batch_size=2)
    assert caught.value.refused == (2, 3, 6)
    assert len(caught.value.accepted) == 4
    coordinator.handler = refuse_some("invalid")
    with pytest.raises(InvalidTaskError, match="no room") as caught_invalid:
        client.submit_many("orders", [0, 1], batch_size=1)
    assert caught_invalid.value.refused == (1,)
    assert len(caught_invalid.value.accepted) == 1


def test_a_payload_that_cannot_be_sent_raises_before_anything_is_sent(
    coordinator: FakeCoordinator, client: Client
) -> None:
    with pytest.raises(TypeError, match="payload"):
        client.submit("orders", object())
    with pytest.raises(PayloadTooLargeError, match="1048576"):
        client.submit("orders", bytes(1 << 20))
    client.ping()
    assert coordinator.of_kind(Submit) == []


def test_submit_many_settles_what_came_before_a_payload_that_cannot_be_sent(
    coordinator: FakeCoordinator, client: Client
) -> None:
    with pytest.raises(TypeError, match="payload") as caught:
        client.submit_many("orders", [1, 2, 3, 4, object()], batch_size=2)
    assert caught.value.__notes__ == ["zq: of the first 2 payloads, 2 were accepted before this"]
    assert len(coordinator.stored) == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"priority": 10}, ValueError, "priority"),
        ({"priority": "high"}, TypeError, "priority"),
        ({"nonsense": 1}, TypeError, "nonsense"),
        ({"id": "a#b"}, ValueError, "#"),
        ({"id": ""}, ValueError, "id"),
        ({"delay": -1.0}, ValueError, "delay"),
        ({"headers": {"a": 1}}, TypeError, "headers"),
    ],
)
def test_a_wrong_option_raises_at_once(
    client: Client, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.submit("orders", 1, **options)


@pytest.mark.parametrize("queue", ["", "a b", "a\n", "x" * 129])
def test_a_queue_that_cannot_be_raises_at_once(client: Client, queue: str) -> None:
    with pytest.raises(ValueError, match="queue"):
        client.submit(queue, 1)
    with pytest.raises(ValueError, match="queue"):
        client.submit_many(queue, [1])


# Outcomes.


def end_with(*ended: Ended) -> Callable[[ToCoordinator], list[FromCoordinator] | None]:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        return [Outcome(message.request, ended, is_last=True)] if isinstance(message, Wait) else None

    return handle


def test_a_receipt_gets_its_result(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = end_with(Ended(0, 1, "done", "", *pack_payloads([encode_payload({"ok": True})])))
    assert client.submit("orders", 1).result(20) == {"ok": True}


def test_results_of_a_batch_take_one_wait(coordinator: FakeCoordinator, client: Client) -> None:
    results = [encode_payload(n * n) if n % 2 else b"" for n in range(1000)]
    coordinator.handler = end_with(
        Ended(0, 600, "done", "", *pack_payloads(results[:600])),
        Ended(600, 1000, "done", "", *pack_payloads(results[600:])),
    )
    receipts = client.submit_many("orders", range(2000))
    assert [one.result(20) for one in receipts] == [n * n if n % 2 else None for n in range(1000)] * 2
    assert [wait[2:] for wait in coordinator.of_kind(Wait)] == [(0, 1000), (0, 1000)]


def test_results_without_any_value_are_none(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = end_with(Ended(0, 3, "done", "", b"", b""))
    assert [one.result(20) for one in client.submit_many("orders", range(3))] == [None, None, None]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ("dead", TaskFailedError),
        ("cancelled", TaskCancelledError),
        ("expired", TaskExpiredError),
        ("unknown", TaskUnknownError),
    ],
)
def test_a_task_that_was_not_done_raises(
    coordinator: FakeCoordinator, client: Client, outcome: str, error: type[Exception]
) -> None:
    coordinator.handler = end_with(Ended(0, 2, outcome, "oven broken", b"", b""))
    receipts = client.submit_many("orders", range(2))
    with pytest.raises(error, match="oven broken") as caught:
        receipts[1].result(20)
    assert vars(caught.value)["id"] == receipts[1].id


def test_a_dead_letter_that_was_brought_back_can_be_asked_again(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = end_with(Ended(0, 1, "dead", "oven broken", b"", b""))
    receipt = client.submit("orders", 1)
    with pytest.raises(TaskFailedError, match="oven broken"):
        receipt.result(20)
    coordinator.handler = end_with(Ended(0, 1, "done", "", b"", b""))
    assert receipt.result(20) is None


def test_a_result_can_be_asked_for_by_id(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = end_with(Ended(3, 5, "done", "", *pack_payloads([b"", encode_payload("four")])))
    assert client.result("batch#4", 20) == "four"
    assert coordinator.of_kind(Wait)[0][1:] == ("batch", 4, 5)
    with pytest.raises(ValueError, match="batch#x"):
        client.result("batch#x")


def test_a_result_that_does_not_come_in_time_raises(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = lambda message: (
        [Outcome(message.request, (), is_last=False)] if isinstance(message, Wait) else None
    )
    receipt = client.submit("orders", 1)
    with pytest.raises(TimedOutError) as caught:
        receipt.result(0.05)
    assert type(caught.value) is TimedOutError
    waiting = Spawned(receipt.result, 20)
    [given_up, wait] = coordinator.wait_for(Wait, 2)
    assert coordinator.wait_for(Withdraw)[0].requests == (given_up.request,)
    coordinator.send(Outcome(wait.request, (Ended(0, 1, "done", "", b"", b""),), is_last=True))
    assert waiting.join() is None


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whatever another test has left in this process, an interrupt is KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_waiting(coordinator: FakeCoordinator, client: Client) -> None:
    receipt = client.submit("orders", 1)

    def interrupt() -> None:
        coordinator.wait_for(Wait)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        receipt.result()
    assert client.ping() > 0


# Questions and commands.


def test_questions_and_commands_are_answered(coordinator: FakeCoordinator, client: Client) -> None:
    values: dict[type[Any], Any] = {Query: {"workers": 3}, Command: True, Cancel: 2}

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        return (
            [Answer(message.request, values[type(message)])] if isinstance(message, Query | Command | Cancel) else None
        )

    coordinator.handler = handle
    assert client.query("tasks", queue="orders", limit=5) == {"workers": 3}
    assert client.command("set-queue", queue="orders", max_tasks=10) is True
    with pytest.raises(ValueError, match="expected max_tasks from 1"):
        client.queues.set("orders", max_tasks=0)
    assert client.dead.bury("a", "burnt") is True  # the fake says so
    assert client.cancel("a#1") == 2
    assert client.submit("orders", 1, id="b").cancel() is True
    assert [message[1:] for message in coordinator.of_kind(Query)] == [("tasks", {"queue": "orders", "limit": 5})]
    set_queue, bury = coordinator.of_kind(Command)
    assert set_queue[1:] == ("set-queue", {"queue": "orders", "max_tasks": 10})
    assert bury[1:] == ("bury", {"id": "a", "reason": "burnt", "mark": bury.arguments["mark"]})
    assert [message.id for message in coordinator.of_kind(Cancel)] == ["a#1", "b"]


def test_a_status_has_what_the_coordinator_knows(coordinator: FakeCoordinator, client: Client) -> None:
    value = {
        "id": "a",
        "queue": "orders",
        "state": "leased",
        "worker": "shop-1",
        "timeline": [{"time": 5.0, "event": "lost", "detail": {"worker": "shop-2"}}],
        "invented": 1,
    }
    coordinator.handler = lambda message: [Answer(message.request, value)] if isinstance(message, Query) else None
    status = client.status("a")
    assert (status.id, status.state, status.worker, status.priority) == ("a", "leased", "shop-1", None)
    assert status.timeline == (TaskEvent(5.0, "lost", {"worker": "shop-2"}),)


def test_a_question_that_the_coordinator_refuses_raises(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.handler = lambda message: (
        [Error(message.request, "invalid", "no such query")] if isinstance(message, Query) else None
    )
    with pytest.raises(RemoteProtocolError, match="no such query"):
        client.query("nonsense")


def test_an_argument_that_cannot_be_sent_raises(client: Client) -> None:
    with pytest.raises(ValueError, match="argument"):
        client.query("tasks", queue={"a": {}})
    with pytest.raises(ValueError, match="id"):
        client.cancel("")


# Ends.


def test_a_coordinator_that_is_not_there_is_unreachable() -> None:
    with Client("tcp://127.0.0.1:1", timeout=0.3) as client:
        with pytest.raises(UnreachableError):
            client.submit("orders", 1)
        with pytest.raises(UnreachableError):
            client.submit_many("orders", range(5000))
        with pytest.raises(UnreachableError):
            client.result("a", timeout=0.1)


def test_a_client_is_made_and_closed_without_a_coordinator() -> None:
    client = Client("tcp://127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(ClosedError):
        client.submit("orders", 1)


def test_closing_ends_all_who_wait(coordinator: FakeCoordinator) -> None:
    coordinator.is_deaf = True
    client = Client(coordinator.address)
    waiting = [
        Spawned(client.submit, "orders", 1),
        Spawned(client.submit_many, "orders", range(2000)),
        Spawned(client.result, "a"),
        Spawned(client.query, "status"),
        Spawned(client.pull, "orders", wait=20.0),
    ]
    wait_until(lambda: len({type(one) for one in coordinator.of_kind(object)} - {Ping}) == 4)
    client.close()
    for one in waiting:
        with pytest.raises(ClosedError):
            one.join()


def test_a_client_of_the_parent_process_says_so_in_a_child(client: Client) -> None:
    client.ping()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # no test code may run here: say what happened, and end
        text = b"nothing was raised"
        try:
            client.submit("orders", 1)
        except ClosedError as error:
            text = str(error).encode()
        finally:
            os.write(writer, text)
            os._exit(0)
    os.waitpid(child, 0)
    assert b"after a fork" in os.read(reader, 1000)
    os.close(reader)
    os.close(writer)
    assert client.ping() > 0


@pytest.mark.parametrize(
    "address", ["", "localhost:7700", "tcp://localhost", "tcp://*:7700", "tcp://a:70000", "inproc://a", "tcp://a b:1"]
)
def test_an_address_that_cannot_be_raises_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZQ_ADDRESS", raising=False)
    with pytest.raises(ValueError, match="address"):
        Client(address)


def test_the_address_may_come_from_the_environment(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_ADDRESS", coordinator.address)
    with Client() as client:
        assert client.address == coordinator.address
        assert client.ping() > 0


def test_timeout_and_name_are_checked() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Client("tcp://127.0.0.1:1", timeout=0)
    with pytest.raises(ValueError, match="name"):
        Client("tcp://127.0.0.1:1", name="a b")
