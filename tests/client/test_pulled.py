"""Pulling tasks and reporting how they ended."""

import pytest

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.client import Client
from zq.errors import PayloadTooLargeError, StaleLeaseError, TimedOutError, ZqError
from zq.wire.batch import decode_payload, encode_payload, pack_payloads
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Assignment,
    Cancelled,
    Extend,
    FromCoordinator,
    Pull,
    Query,
    Release,
    Settle,
    Settled,
    Span,
    Tasks,
    ToCoordinator,
    Withdraw,
)
from zq.wire.proofs import Proof

TOKEN = 77


def assign(*payloads: bytes) -> Assignment:
    """A lease on the tasks 3, 4, ... of a batch of ten."""
    return Assignment(TOKEN, "b", 10, "orders", DEFAULT_OPTIONS, 2, 3, *pack_payloads(list(payloads)))


def serve(coordinator: FakeCoordinator, *payloads: object, stale: tuple[Span, ...] = (), is_own: bool = True) -> None:
    """Answers pulls with tasks, and what is said of tasks as told."""

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        match message:
            case Pull(request):
                return [Tasks(request, (assign(*map(encode_payload, payloads)),) if payloads else ())]
            case Settle(number):
                return [Settled(number, stale)]
            case Release(number):
                return [Settled(number, stale)]
            case Extend(request):
                return [Answer(request, is_own)]
            case Query(request, "trace"):
                return [Answer(request, [])]
        return None

    coordinator.handler = handle


def test_pulled_tasks_say_what_they_are(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, {"n": 1}, "two")
    first, second = client.pull("orders", max_tasks=5, wait=2.5, lease=10)
    assert (first.id, first.payload, first.queue, first.attempt, first.token) == ("b#3", {"n": 1}, "orders", 2, TOKEN)
    assert (second.id, second.payload) == ("b#4", "two")
    [pull] = coordinator.of_kind(Pull)
    assert pull.max_tasks == 5
    assert pull.wait == pytest.approx(2.5, abs=0.5)
    assert pull.lease == 10


def test_a_pull_may_come_back_empty(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator)
    assert client.pull("orders") == []


def test_a_pull_that_waits_longer_than_the_coordinator_allows_asks_again(
    coordinator: FakeCoordinator, client: Client
) -> None:
    serve(coordinator)
    call = Spawned(client.pull, "orders", wait=120)
    coordinator.wait_for(Pull, 3)
    serve(coordinator, "late")
    assert [task.payload for task in call.join()] == ["late"]
    pulls = coordinator.of_kind(Pull)
    assert {pull.wait for pull in pulls} == {60.0}
    assert len({pull.request for pull in pulls}) == len(pulls)
    assert len({pull.client for pull in pulls}) == 1


def test_forwards_that_cannot_be_sent_are_refused_before_they_are(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one", "two", "three")
    many, large, good = client.pull("orders", max_tasks=3)
    for n in range(1001):
        many.forward("delivery", n, key=str(n))
    for _ in range(9):
        large.forward("delivery", b"x" * 1_000_000)

    with pytest.raises(ValueError, match="expected at most 1000 forwards, got 1001"):
        many.done()
    with pytest.raises(PayloadTooLargeError, match="result and forwards of a task have"):
        large.done()
    good.done()

    assert len(coordinator.of_kind(Settle)) == 1


def test_failure_in_words_that_utf_8_cannot_hold_is_told_all_the_same(
    coordinator: FakeCoordinator, client: Client
) -> None:
    serve(coordinator, "one")
    (task,) = client.pull("orders")
    task.fail("half a \ud83c pizza")

    assert coordinator.of_kind(Settle)[0].failed[0].error == "half a \\ud83c pizza"


def test_done_settles_with_result_and_forwards(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one", "two")
    first, second = client.pull("orders", max_tasks=2)
    first.forward("delivery", {"box": 1}, priority=8)
    first.done({"ok": 1})
    second.done()
    one, two = [message.done[0] for message in coordinator.of_kind(Settle)]
    assert (one.token, one.id, one.lo, one.hi, decode_payload(one.blob)) == (TOKEN, "b", 3, 4, {"ok": 1})
    [forward] = one.forwards
    assert (forward.queue, forward.options.priority, decode_payload(forward.blob)) == ("delivery", 8, {"box": 1})
    assert (two.lo, two.ends, two.blob, two.forwards) == (4, b"", b"", ())


def test_failure_that_has_no_text_is_told_all_the_same(coordinator: FakeCoordinator, client: Client) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    serve(coordinator, "one")
    (task,) = client.pull("orders")
    task.fail(Mute())

    assert coordinator.of_kind(Settle)[0].failed[0].error == "Mute, whose text cannot be made"


def test_fail_settles_with_the_error(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one", "two")
    first, second = client.pull("orders", max_tasks=2)
    first.fail(ValueError("too hot"), retry_in=5)
    second.fail("x" * 20_000 + "end", is_final=True)
    one, two = [message.failed[0] for message in coordinator.of_kind(Settle)]
    assert one[1:] == ("b", 3, "ValueError: too hot", 5, False)
    assert (two.index, two.is_final, len(two.error), two.error[-3:]) == (4, True, 16_384, "end")


def test_release_and_extend(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one")
    [task] = client.pull("orders")
    task.extend(60)
    task.release()
    proof = Proof(TOKEN, bytes.fromhex(task.handle.partition(":")[0].partition(".")[2]))
    assert coordinator.of_kind(Extend)[0][1:] == (TOKEN, 60.0, proof.proof)
    assert coordinator.of_kind(Release)[0][1:] == (None, (Span(TOKEN, 3, 4),), (proof,))
    with pytest.raises(ValueError, match="lease"):
        task.extend(1e9)


@pytest.mark.parametrize("end", ["returned", "done"])
def test_release_whose_answer_was_lost_gave_the_task_back(
    coordinator: FakeCoordinator, client: Client, end: str
) -> None:
    serve(coordinator, "one", stale=(Span(TOKEN, 3, 4),))
    answer = coordinator.handler

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        match message:
            case Release() if sum(isinstance(one, Release) for one in coordinator.received) < 2:
                return []
            case Query(request, "trace"):
                return [Answer(request, [{"event": end, "time": 0.0, "detail": {"token": TOKEN}}])]
        return answer(message)

    [task] = client.pull("orders")
    coordinator.handler = handle
    call = Spawned(task.release)
    coordinator.wait_for(Release)
    coordinator.stop()
    coordinator.start()
    if end == "returned":
        assert call.join() is None
    else:
        with pytest.raises(StaleLeaseError, match="it was done"):
            call.join()


def test_ids_of_groups_that_a_task_opens_cannot_be_guessed(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one")
    [task] = client.pull("orders")
    ids = {task.group([1], queue="q", callback="joined") for _ in range(100)}

    assert len(ids) == 100
    assert {len(id.removeprefix("zq.group.")) for id in ids} == {20}  # 80 bits


def test_a_stale_lease_is_refused(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one", stale=(Span(TOKEN, 0, 10),), is_own=False)
    [task] = client.pull("orders")
    for call, arguments in ((task.done, ()), (task.fail, ("x",)), (task.release, ()), (task.extend, (5,))):
        with pytest.raises(StaleLeaseError, match="task b#3 is no longer held here: the coordinator does not know it"):
            call(*arguments)


def test_a_completion_that_is_said_again_forwards_under_the_same_ids(
    coordinator: FakeCoordinator, client: Client
) -> None:
    serve(coordinator, "one")
    [task] = client.pull("orders")
    task.forward("boxes", "box")
    for result in ("hot", "hot", "cold"):  # the first answer may have been lost
        task.done(result)
    first, again, other = [settle.done[0] for settle in coordinator.of_kind(Settle)]

    assert first == again
    assert first.forwards[0].id != other.forwards[0].id


def test_a_cancelled_task_says_so(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator, "one")
    [task] = client.pull("orders")
    assert not task.cancelled
    coordinator.send(Cancelled((Span(TOKEN, 3, 4),)))
    wait_until(lambda: task.cancelled)
    with pytest.raises(ZqError, match="only workers"):
        task.progress(0.5)


def test_a_result_that_cannot_be_sent_raises_and_the_task_may_still_end(
    coordinator: FakeCoordinator, client: Client
) -> None:
    serve(coordinator, "one")
    [task] = client.pull("orders")
    with pytest.raises(PayloadTooLargeError):
        task.done(bytes(2 << 20))
    task.done()
    assert len(coordinator.of_kind(Settle)) == 1


def test_a_payload_that_is_not_msgpack_becomes_a_dead_letter(coordinator: FakeCoordinator, client: Client) -> None:
    serve(coordinator)
    handle = coordinator.handler
    broken = (assign(b"\xc1", encode_payload("good")),)
    coordinator.handler = lambda message: (
        [Tasks(message.request, broken)] if isinstance(message, Pull) else handle(message)
    )
    [task] = client.pull("orders", max_tasks=2)
    assert (task.id, task.payload) == ("b#4", "good")
    [settle] = coordinator.wait_for(Settle)
    assert (settle.failed[0].index, settle.failed[0].is_final) == (3, True)


def test_pull_that_gave_up_is_forgotten(coordinator: FakeCoordinator) -> None:
    coordinator.is_deaf = True
    with Client(coordinator.address, timeout=0.2) as client:
        with pytest.raises(TimedOutError):
            client.pull("orders")
        assert coordinator.wait_for(Withdraw)[0].requests == (coordinator.of_kind(Pull)[0].request,)
