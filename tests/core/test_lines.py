"""Order, fairness and stickiness by key (docs/semantics.md, Order and routing)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core import tables
from zq.core.ring import Ring
from zq.core.state.transitions import NEW, PARKED
from zq.core.tasks.assignment import FAIR_TASKS
from zq.submit_options import make_options
from zq.wire.messages import Assignment, Cancel, Heartbeat, Held, Pull, Release, Settle, Settled, Span, Started, Tasks
from zq.wire.options import read_options
from zq.wire.retry import RetryPolicy
from zq.wire.values import Malformed

W, V = b"worker-1", b"worker-2"


def tasks_of(answers: list[Any]) -> list[str]:
    """Returns id and index of each assigned task, in order."""
    return [f"{one.id}/{one.lo + i}" for one in assigned(answers) for i in range(len(one.ends) >> 2)]


def run_all(desk: Desk, peer: bytes, answers: list[Any]) -> list[str]:
    """Completes what comes until nothing comes any more; returns the tasks in their order."""
    order = []
    while found := assigned(answers):
        order += [f"{one.id}/{one.lo + i}" for one in found for i in range(len(one.ends) >> 2)]
        answers = desk.settle(peer, *[done(one) for one in found], credit=None)
    return order


def pull(desk: Desk, most: int = 10, lease: float = 30.0) -> list[Assignment]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", most, 0.0, lease)))


# Ordered.


def test_one_task_of_a_key_runs_at_a_time_in_the_order_of_submission_whatever_the_priority() -> None:
    desk = Desk()
    for id, priority in (("a", 4), ("b", 9), ("c", 0)):
        desk.submit(id, key="k", ordered=True, priority=priority)
    desk.submit("other", priority=0)

    (first, other) = assigned(desk.hello(W, "w", 10))

    assert (first.id, other.id) == ("a", "other")
    assert desk.query("queue", queue="q")["parked"] == 2
    assert run_all(desk, W, desk.settle(W, done(first), credit=10)) == ["b/0", "c/0"]


def test_batch_of_ordered_tasks_runs_one_by_one() -> None:
    desk = Desk()
    desk.submit("a", 3, key="k", ordered=True)
    desk.submit("b", 2, key="k", ordered=True)
    peers = {"v": V, "w": W}
    for name, peer in peers.items():
        desk.hello(peer, name, 10)
    order = []
    while desk.leases:
        (lease,) = desk.leases
        one = only_assignment(lease)
        order.append(f"{one.id}/{one.lo}")
        desk.settle(peers[lease.holder.name], done(one), credit=10)

    assert order == ["a/0", "a/1", "a/2", "b/0", "b/1"]


def only_assignment(lease: Any) -> Assignment:
    batch = lease.batch
    (index,) = [i for i in range(batch.count) if lease.mask >> i & 1]
    ends, blob = batch.slice(index, index + 1)
    return Assignment(lease.token, batch.id, batch.size, "q", batch.options, 1, index, ends, blob)


def test_same_key_in_another_queue_or_without_order_is_not_held_up() -> None:
    desk = Desk()
    desk.submit("a", key="k", ordered=True)
    desk.submit("b", key="k", ordered=True, queue="r")
    desk.submit("c", key="k")

    assert sorted(tasks_of(desk.hello(W, "w", 10, queues=("q", "r")))) == ["a/0", "b/0", "c/0"]


def test_long_backlog_of_one_key_costs_the_others_nothing() -> None:
    desk = Desk()
    for number in range(200):
        desk.submit(f"noisy-{number}", 1000, key="noisy", ordered=True)
    desk.submit("other", key="quiet", ordered=True)
    desk.restart()
    reads = count_reads(desk)

    assert tasks_of(desk.hello(W, "w", 2)) == ["noisy-0/0", "other/0"]
    assert desk.query("queue", queue="q")["waiting"] == 200_000 - 1
    assert len(reads) < 50


def test_one_bad_group_hides_no_other_behind_a_backlog_of_200_000_tasks() -> None:
    desk = Desk()
    desk.submit("noisy", key="noisy", ordered=True)
    park_copies(desk, 200_000)
    desk.submit("other", key="quiet", ordered=True)
    desk.restart()
    reads = count_reads(desk)

    assert tasks_of(desk.hello(W, "w", 2)) == ["noisy/0", "other/0"]
    assert len(reads) < 50


def park_copies(desk: Desk, count: int) -> None:
    """Stores what `count` submits of one more task each would have, without taking their time."""
    desk.submit("copy", key="noisy", ordered=True)
    tx = desk.store.begin()
    ((key, value),) = tx.scan(tables.PARKED)
    record = tables.unpack(value)[1]
    for number in range(count - 2):
        sequence = 1000 + number
        other = tables.task_key(1, 4, sequence)
        tx.put(
            tables.PARKED, tables.parked_key(key[: -tables.POSITION_BYTES], sequence, 0), tables.pack((other, record))
        )
    tx.commit()
    books = desk.machine.books
    books.queues["q"].bring_in(NEW, PARKED, count - 2, 4)
    books.sequence += 1000 + count
    books.is_changed = True
    books.changed[books.queues["q"]] = None
    desk.turn()


def count_reads(desk: Desk) -> list[bytes]:
    """Returns a list that grows by each value that is read from the store."""
    reads: list[bytes] = []

    class Counting(dict[bytes, bytes]):
        def __getitem__(self, key: bytes) -> bytes:
            reads.append(key)
            return super().__getitem__(key)

        def get(self, key: bytes, default: Any = None) -> Any:
            reads.append(key)
            return super().get(key, default)

    for table in desk.store.values:
        desk.store.values[table] = Counting(desk.store.values[table])
    return reads


def test_retry_keeps_the_key() -> None:
    desk = Desk(retry=RetryPolicy.constant(10), suspect_after=100.0, gone_after=100.0)
    desk.submit("a", 2, key="k", ordered=True)
    desk.submit("b", key="k", ordered=True)
    (first,) = assigned(desk.hello(W, "w", 10))

    assert tasks_of(desk.settle(W, failed(first), credit=10)) == []
    assert desk.task("a#0")["state"] == "scheduled"
    later = desk.wait(11.0)

    assert tasks_of([message for _, message in later]) == ["a/0"]
    (again,) = [one for _, message in later for one in assigned([message])]
    assert run_all(desk, W, desk.settle(W, done(again), credit=10)) == ["a/1", "b/0"]


def test_dead_task_frees_its_key_and_waits_behind_when_it_is_brought_back() -> None:
    desk = Desk()
    for id in "abc":
        desk.submit(id, key="k", ordered=True)
    (first,) = assigned(desk.hello(W, "w", 10))

    (second,) = assigned(desk.settle(W, failed(first, is_final=True), credit=10))
    assert second.id == "b"
    desk.command("retry", id="a")

    assert desk.task("a")["state"] == "waiting"
    assert run_all(desk, W, desk.settle(W, done(second), credit=10)) == ["a/0", "c/0"]


def test_cancelled_task_frees_its_key() -> None:
    desk = Desk()
    for id in "abc":
        desk.submit(id, key="k", ordered=True)
    desk.hello(W, "w", 10)

    desk.say(CLIENT, Cancel(1, "b"))
    answers = desk.turn((CLIENT, Cancel(2, "a")))

    assert tasks_of([message for _, message in answers]) == ["c/0"]
    assert desk.query("queue", queue="q")["parked"] == 0


def test_released_task_keeps_its_key() -> None:
    desk = Desk()
    desk.submit("a", 2, key="k", ordered=True)
    (first,) = assigned(desk.hello(W, "w", 1))

    desk.say(W, Release(1, 0, (Span(first.token, 0, 1),)))

    assert tasks_of(desk.hello(V, "v", 1)) == ["a/0"]


def test_dead_workers_key_lock_dies_with_its_lease() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a", key="k", ordered=True)
    desk.submit("b", key="k", ordered=True)
    desk.hello(W, "w", 1)
    desk.wait(3.0)
    assert assigned(desk.hello(V, "v", 1)) == []

    (again,) = [one for _, message in desk.wait(2.0) for one in assigned([message])]

    assert again.id == "a"
    assert tasks_of(desk.settle(V, done(again))) == ["b/0"]


def test_lost_task_that_is_cancelled_or_dead_frees_its_key() -> None:
    for on_lost in ("cancel", "dead"):
        desk = Desk()
        desk.submit("a", 2, key="k", ordered=True, on_lost=on_lost)
        (first,) = pull(desk, lease=5.0)
        assert pull(desk) == []

        desk.wait(5.0)

        assert desk.task("a#0")["state"] == ("cancelled" if on_lost == "cancel" else "dead")
        assert [one.lo for one in pull(desk)] == [1], first


def test_turns_survive_a_restart() -> None:
    desk = Desk(gone_after=5.0)
    for id in "abc":
        desk.submit(id, key="k", ordered=True)
    (first,) = assigned(desk.hello(W, "w", 1))
    desk.restart()
    desk.submit("d", key="k", ordered=True)

    assert assigned(desk.hello(V, "v", 10)) == []
    desk.hello(W, "w", 1, first.token)
    settled = only(desk.say(W, Settle(1, 0, (done(first),), ())), Settled)

    assert not settled.stale
    assert [lease.batch.id for lease in desk.leases] == ["b"]


def test_delayed_ordered_task_holds_nobody_up_before_it_is_due() -> None:
    desk = Desk()
    desk.submit("late", key="k", ordered=True, delay=10.0)
    desk.submit("a", key="k", ordered=True)
    desk.submit("b", key="k", ordered=True)
    (first,) = assigned(desk.hello(W, "w", 1))
    desk.wait(10.0)
    assert first.id == "a"
    assert desk.task("late")["state"] == "waiting"

    assert run_all(desk, W, desk.settle(W, done(first))) == ["late/0", "b/0"]


def test_pull_gets_one_task_of_a_key() -> None:
    desk = Desk()
    desk.submit("a", 3, key="k", ordered=True)
    desk.submit("b", key="l", ordered=True)
    desk.number += 1
    answers = desk.say(CLIENT, Pull(desk.number, "till", "q", 10, 5.0, 30.0))

    assert tasks_of(answers) == ["a/0", "b/0"]
    desk.number += 1
    assert only(desk.say(CLIENT, Pull(desk.number, "till", "q", 10, 0.0, 30.0)), Tasks).assignments == ()


# Fair.


def test_keys_of_a_fair_queue_take_turns() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", fair=True)
    for id in range(4):
        desk.submit(f"noisy-{id}", 100, key="noisy")
    desk.submit("quiet", 20, key="quiet")
    desk.submit("nameless", 5)

    order = run_all(desk, W, desk.hello(W, "w", 1))

    assert len(order) == 425
    names = [one.split("-")[0].split("/")[0] for one in order]
    assert names[:16] == ["noisy"] * 16 or names[:3] == ["noisy", "quiet", "nameless"]
    assert len([one for one in names[:60] if one == "quiet"]) == 20
    assert len([one for one in names[:60] if one == "nameless"]) == 5


@pytest.mark.parametrize("policies", [{"fair": True}, {"key_concurrency": 5}])
@pytest.mark.parametrize("end", ["cancel", "expire", "move"])
def test_key_does_not_wait_for_what_runs_of_a_batch_whose_rest_is_gone(policies: dict[str, Any], end: str) -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", **policies)
    desk.submit("a", 2, key="k", ttl=10.0 if end == "expire" else None)
    desk.hello(W, "w", 1)
    if end == "move":
        desk.command("move", id="m", queue="q", to="r")
    desk.submit("b", key="k")
    if end == "cancel":
        desk.say(CLIENT, Cancel(1, "a#1"))
    if end == "expire":
        desk.now, desk.wall = desk.now + 10.0, desk.wall + 10.0
        desk.turn()

    assert tasks_of(desk.hello(V, "v", 1)) == ["b/0"]


def test_noisy_key_of_small_batches_does_not_starve_a_quiet_one() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", fair=True)
    for id in range(50):
        desk.submit(f"noisy-{id}", key="noisy")
    for id in range(3):
        desk.submit(f"quiet-{id}", key="quiet")

    order = run_all(desk, W, desk.hello(W, "w", 1))

    assert [one.split("-")[0] for one in order[:6]] == ["noisy", "quiet"] * 3
    assert [one for one in order if one.startswith("noisy")] == [f"noisy-{id}/0" for id in range(50)]


def test_fair_queue_still_serves_higher_priorities_first() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", fair=True)
    for id in range(5):
        desk.submit(f"low-{id}", key="a")
    desk.submit("high", key="a", priority=9)

    assert run_all(desk, W, desk.hello(W, "w", 1))[0] == "high/0"


def test_queue_that_is_fair_no_more_serves_what_was_parked() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", fair=True)
    for id in range(5):
        desk.submit(f"a-{id}", 3, key="a")
    desk.command("set-queue", queue="q", fair=False)
    desk.restart()

    assert len(run_all(desk, W, desk.hello(W, "w", 2))) == 15
    row = desk.query("queue", queue="q")
    assert (row["waiting"], row["parked"], row["leased"]) == (0, 0, 0)


def test_ordered_keys_of_a_fair_queue_take_turns_too() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", fair=True)
    desk.submit("a", 5, key="a", ordered=True)
    desk.submit("b", 5, key="b", ordered=True)

    order = run_all(desk, W, desk.hello(W, "w", 1))

    assert order == [f"{key}/{index}" for index in range(5) for key in "ab"]


# Sticky.


def sticky(desk: Desk, shops: int = 3) -> dict[str, bytes]:
    desk.command("set-queue", queue="q", assign="hash")
    peers = {f"shop-{i}": b"peer-%d" % i for i in range(shops)}
    for name, peer in peers.items():
        desk.hello(peer, name, 1)
    return peers


def test_backlog_of_a_busy_shops_key_hides_no_other_key() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", assign="hash")
    names = ["shop-0", "shop-1", "shop-2"]
    ring = Ring(names)
    owned = {name: [key for key in map(str, range(1000)) if next(ring.owners(key)) == name] for name in names}
    for (
        name
    ) in names:  # each holds two, and all but the first have room for one more: nobody is idle, nobody is overloaded
        desk.hello(name.encode(), name, 2 if name == "shop-0" else 3)
    for name in names:
        for number in range(2):
            desk.submit(f"{name}-{number}", key=owned[name][number])
    for number in range(2000):
        desk.submit(f"mine-{number}", key=owned["shop-0"][number % 300])

    for name in names[1:]:
        desk.submit(f"other-{name}", key=owned[name][5])

    held = {lease.batch.id: lease.holder.name for lease in desk.leases}
    assert held == {
        **{f"{name}-{number}": name for name in names for number in range(2)},
        **{f"other-{name}": name for name in names[1:]},
    }
    assert len(desk.machine.books.batches) < 20, "what waits for a shop is not kept in memory"
    assert len(pull(desk, 100)) == 100, "a pull takes what waits for a shop"


def test_ordered_keys_stay_with_their_shop_and_in_order() -> None:
    desk = Desk()
    peers = sticky(desk)
    for number in range(30):
        desk.submit(f"{number:02d}", key=f"k{number % 6}", ordered=True)
    shops: dict[str, set[str]] = {}
    order: dict[str, list[str]] = {}
    while desk.leases:
        for lease in desk.leases:
            key = str(lease.batch.options.key)
            shops.setdefault(key, set()).add(lease.holder.name)
            order.setdefault(key, []).append(lease.batch.id)
            desk.settle(peers[lease.holder.name], done(only_assignment(lease)), credit=1)

    assert sum(map(len, order.values())) == 30
    assert all(ids == sorted(ids) for ids in order.values())
    assert sum(len(names) for names in shops.values()) <= 6 + 3, shops  # a shop that is idle may help


def test_ordered_without_key_is_refused_at_both_ends() -> None:
    with pytest.raises(ValueError, match="expected a key with ordered"):
        make_options(ordered=True)
    with pytest.raises(Malformed, match="expected a key with ordered"):
        read_options({"ordered": True})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(1, 40), st.sampled_from([0, 4])),
        min_size=2,
        max_size=12,
    ),
    st.integers(1, 7),
)
def test_key_waits_for_at_most_one_turn_of_each_other_key(
    submits: list[tuple[str | None, int, int]], credit: int
) -> None:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    desk.command("set-queue", queue="q", fair=True)
    left: dict[tuple[str | None, int], int] = {}
    for number, (key, count, priority) in enumerate(submits):
        desk.submit(f"{number}", count, key=key, priority=priority)
        left[key, priority] = left.get((key, priority), 0) + count
    served: list[tuple[tuple[str | None, int], int]] = []
    answers = desk.hello(W, "w", credit)
    while found := assigned(answers):
        served += [((one.options.key, one.options.priority), len(one.ends) >> 2) for one in found]
        answers = desk.settle(W, *[done(one) for one in found], credit=credit)

    waited: dict[tuple[str | None, int], dict[str | None, int]] = {name: {} for name in left}
    for (key, priority), count in served:
        left[key, priority] -= count
        for (other, level), ahead in waited.items():
            if level == priority and other != key and left[other, level]:
                ahead[key] = ahead.get(key, 0) + count
                assert ahead[key] <= FAIR_TASKS, f"{other} waited for {ahead[key]} tasks of {key}: {served}"
        waited[key, priority] = {}
    assert not any(left.values())


# What users of other queues complained of.


def test_dead_jobs_lock_does_not_block_its_key_for_ever() -> None:
    desk = Desk(gone_after=5.0)
    for id in ("a", "b"):
        desk.submit(id, key="k", ordered=True, on_lost="dead")
    (one,) = assigned(desk.hello(W, "w", 1))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.restart()  # nobody is left who remembers the lock but the store
    desk.hello(V, "v", 1)
    for number in range(6):
        desk.wait(1.0)
        desk.say(V, Heartbeat(number, ()))

    assert desk.task("a")["state"] == "dead"
    assert [(lease.batch.id, lease.holder.name) for lease in desk.leases] == [("b", "v")]
