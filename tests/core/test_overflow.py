"""What happens when a queue is full, and ageing (docs/semantics.md, Limits and Order)."""

from typing import Any

from tests.core.desk import CLIENT, WALL, Desk, assigned, done
from zq.core.tasks.admission import OVERFLOW_MAX, OVERFLOW_REASON
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Cancel, Options, Submit

W = b"worker-1"


def submit_bytes(desk: Desk, id: str, *sizes: int, **options: Any) -> Any:
    """Submits a batch of payloads of so many bytes each, two of which are their header."""
    desk.number += 1
    payloads = [encode_payload(bytes(size - 2)) for size in sizes]
    (receipt,) = desk.say(CLIENT, Submit(desk.number, (Batch(id, "q", Options(**options), *pack_payloads(payloads)),)))
    return receipt


def size_of(desk: Desk) -> int:
    size: int = desk.query("queue", queue="q")["bytes"]
    return size


def test_queue_that_is_full_by_bytes_is_busy() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_bytes=100)
    submit_bytes(desk, "a", 40, 40)

    (refused,) = submit_bytes(desk, "b", 21).refused
    assert refused.reason == "queue q is full: 80 of 100 bytes, and the batch has 21"
    assert (refused.code, refused.retry_after) == ("busy", 1.0)
    assert submit_bytes(desk, "c", 20).accepted


def test_bytes_of_a_batch_are_free_when_its_last_task_has_ended() -> None:
    desk = Desk()
    submit_bytes(desk, "a", 40, 40)
    submit_bytes(desk, "late", 10, delay=9.0)
    submit_bytes(desk, "k1", 10, key="k", ordered=True)
    submit_bytes(desk, "k2", 10, key="k", ordered=True)
    assert size_of(desk) == 110
    one = next(one for one in assigned(desk.hello(W, "w", 2)) if one.id == "a")

    desk.settle(W, done(one, 0, 1), credit=0)
    assert size_of(desk) == 110
    desk.settle(W, done(one, 1, 2), credit=0)
    assert size_of(desk) == 30
    for id in ("k2", "late", "k1"):
        desk.say(CLIENT, Cancel(1, id))
    desk.restart()
    assert size_of(desk) == 0


def test_oldest_waiting_tasks_become_dead_letters_where_the_queue_says_so() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=5, overflow="dead-oldest")
    desk.submit("old", 3, priority=9)
    desk.submit("new", 2, priority=0)
    assert len(assigned(desk.hello(W, "w", 1))) == 1

    assert desk.submit("newest", 2).accepted

    dead = [(row["id"], row["reason"]) for row in desk.query("tasks", queue="q", state="dead")["rows"]]
    assert dead == [("old#1", OVERFLOW_REASON), ("old#2", OVERFLOW_REASON)]
    assert desk.task("old#0")["state"] == "leased"
    assert desk.query("queue", queue="q")["waiting"] == 4


def test_oldest_goes_until_the_bytes_fit() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_bytes=100, overflow="dead-oldest")
    submit_bytes(desk, "a", 30, 30)
    submit_bytes(desk, "b", 30)

    assert submit_bytes(desk, "c", 60).accepted

    assert [row["id"] for row in desk.query("tasks", state="dead")["rows"]] == ["a#0", "a#1"]
    assert size_of(desk) == 90


def test_oldest_of_a_key_goes_first_and_the_next_takes_its_turn() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=3, overflow="dead-oldest")
    for id in "abc":
        desk.submit(id, key="k", ordered=True)

    assert desk.submit("d", 2, key="k", ordered=True).accepted

    assert sorted(row["id"] for row in desk.query("tasks", state="dead")["rows"]) == ["a", "b"]
    (one,) = assigned(desk.hello(W, "w", 1))
    assert one.id == "c"


def test_batch_for_which_no_room_can_be_made_is_refused_and_costs_nobody() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=3, overflow="dead-oldest")
    desk.submit("a", 3)
    desk.hello(W, "w", 2)

    assert desk.submit("b", 2).refused
    assert desk.submit("c", 4).refused
    assert desk.query("tasks", state="dead")["rows"] == []
    assert desk.submit("d", 1).accepted


def test_one_step_makes_a_bounded_number_of_dead_letters() -> None:
    desk = Desk()
    most = 3 * OVERFLOW_MAX // 2
    desk.command("set-queue", queue="q", max_tasks=most, overflow="dead-oldest")
    for number in range(most // 500):
        desk.submit(f"old-{number}", 500)
    ends, blob = pack_payloads([encode_payload(i) for i in range(600)])
    batches = tuple(Batch(f"new-{number}", "q", Options(), ends, blob) for number in range(2))

    (receipt,) = desk.say(CLIENT, Submit(99_000, batches))

    assert [one.id for one in receipt.accepted] == ["new-0"]
    assert [(one.id, one.code) for one in receipt.refused] == [("new-1", "busy")]


# Ageing.


def test_waiting_counts_as_priority_where_the_queue_says_so() -> None:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    desk.command("set-queue", queue="q", ageing=10.0)
    desk.submit("low", priority=0)
    desk.wall = WALL + 49.0
    desk.submit("urgent", priority=5)
    desk.wall = WALL + 51.0
    desk.submit("late", priority=5)

    order = [assigned(desk.hello(W, "w", 1))[0].id]
    for _ in range(2):
        (lease,) = desk.leases
        (one,) = assigned(desk.settle(W, done(lease_of(lease)), credit=1))
        order.append(one.id)

    # low has waited for 5.1 steps, late for none; urgent for 0.2 on top of its 5.
    assert order == ["urgent", "low", "late"]


def lease_of(lease: Any) -> Any:
    from zq.core.state.leases import assignment_of

    return assignment_of(lease, WALL)


def test_delay_is_no_waiting() -> None:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    desk.command("set-queue", queue="q", ageing=1.0)
    desk.submit("delayed", priority=0, delay=100.0)
    desk.wall += 100.0
    desk.now += 100.0
    desk.submit("high", priority=5)

    assert [one.id for one in assigned(desk.hello(W, "w", 1))] == ["high"]


def test_low_priority_is_not_starved_under_endless_high_load() -> None:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    desk.command("set-queue", queue="q", ageing=1.0)
    desk.submit("low", priority=0)
    desk.hello(W, "w", 0)
    served = 0
    while not any(lease.batch.id == "low" for lease in desk.leases):
        assert served < 20, "the low one waits for ever"
        desk.submit(f"high-{served}", priority=9)
        desk.wall += 1.0
        desk.now += 1.0
        desk.settle(W, *[done(lease_of(lease)) for lease in desk.leases], credit=1)
        served += 1

    assert served >= 8
