"""Pause, concurrency and rates, of queues and of keys, for pushed and pulled tasks alike (docs/semantics.md,
Limits).
"""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, only
from zq.core.state.throttle import Gate
from zq.wire.messages import Assignment, Cancel, Pull, Release, Settle, Settled, Span
from zq.wire.policies import DEFAULT_POLICIES

W, V = b"worker-1", b"worker-2"


def count_of(answers: list[Any]) -> int:
    return sum(len(one.ends) >> 2 for one in assigned(answers))


def pull(desk: Desk, most: int = 100, wait: float = 0.0) -> list[Assignment]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", most, wait, 30.0)))


def desk_with(**policies: Any) -> Desk:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    desk.command("set-queue", queue="q", **policies)
    return desk


# Pause.


def test_paused_queue_accepts_and_assigns_nothing_and_what_runs_ends() -> None:
    desk = Desk()
    desk.submit("a")
    (running,) = assigned(desk.hello(W, "w", 5))
    desk.command("pause", queue="q")

    assert desk.submit("b").accepted
    assert not only(desk.settle(W, done(running), credit=5), Settled).stale
    assert pull(desk, wait=5.0) == []
    assert desk.leases == []
    assert desk.query("queue", queue="q")["closed_by"] == ["paused"]


def test_pause_survives_a_restart_and_ends_with_resume() -> None:
    desk = Desk()
    desk.command("pause", queue="q")
    desk.submit("a")
    desk.restart()
    assert assigned(desk.hello(W, "w", 5)) == []

    desk.command("resume", queue="q")

    assert [lease.batch.id for lease in desk.leases] == ["a"]


# Concurrency.


def test_concurrency_counts_over_workers_and_pulls() -> None:
    desk = desk_with(concurrency=3)
    desk.submit("a", 10)

    assert count_of(desk.hello(W, "w", 2)) == 2
    assert len(pull(desk)) == 1
    assert count_of(desk.hello(V, "v", 5)) == 0

    (first, *_) = desk.leases
    answers = desk.say(W, Settle(1, 0, (done_all(first),), ()))
    assert only(answers, Settled).stale == ()
    assert sum(lease.mask.bit_count() for lease in desk.leases) == 3


def done_all(lease: Any) -> Any:
    batch = lease.batch
    lo, hi = (lease.mask & -lease.mask).bit_length() - 1, lease.mask.bit_length()
    return done(Assignment(lease.token, batch.id, batch.size, "q", batch.options, 1, lo, *batch.slice(lo, hi)))


def test_concurrency_that_is_raised_or_lowered_holds_at_once() -> None:
    desk = desk_with(concurrency=1)
    desk.submit("a", 10)
    desk.hello(W, "w", 10)
    desk.command("set-queue", queue="q", concurrency=4)
    assert sum(lease.mask.bit_count() for lease in desk.leases) == 4

    desk.command("set-queue", queue="q", concurrency=2)
    lease = next(lease for lease in desk.leases if lease.mask.bit_count() == 3)
    desk.settle(W, done_all(lease), credit=10)

    assert sum(lease.mask.bit_count() for lease in desk.leases) == 2


def test_concurrency_counts_leases_of_before_a_restart() -> None:
    desk = desk_with(concurrency=2, key_concurrency=1)
    desk.submit("a", key="k")
    desk.submit("b", key="k")
    desk.hello(W, "w", 10)
    desk.restart()

    assert count_of(desk.hello(V, "v", 10)) == 0


def test_key_concurrency_holds_one_key_back_and_nobody_else() -> None:
    desk = desk_with(key_concurrency=2)
    for number in range(1000):
        desk.submit(f"noisy-{number}", key="noisy")
    desk.submit("quiet", key="quiet")
    desk.submit("nameless", 3)

    assert count_of(desk.hello(W, "w", 100)) == 2 + 1 + 3

    lease = next(lease for lease in desk.leases if lease.batch.id.startswith("noisy"))
    desk.settle(W, done_all(lease), credit=100)
    assert [lease.batch.id for lease in desk.leases if lease.batch.options.key == "noisy"] == ["noisy-1", "noisy-2"]


def test_key_that_is_held_goes_on_after_a_cancel_and_a_release() -> None:
    desk = desk_with(key_concurrency=1)
    for id in "abc":
        desk.submit(id, key="k", priority=int(id == "a") + 4)
    (first,) = assigned(desk.hello(W, "w", 1))
    assert first.id == "a"

    desk.say(W, Release(1, 0, (Span(first.token, 0, 1),)))
    desk.say(CLIENT, Cancel(2, "a"))

    assert [one.id for one in assigned(desk.hello(V, "v", 10))] == ["b"]
    desk.say(CLIENT, Cancel(3, "b"))
    assert [lease.batch.id for lease in desk.leases] == ["c"]


def test_batches_that_were_there_before_a_limit_by_key_are_held_too() -> None:
    desk = Desk(suspect_after=1e6, gone_after=1e6)
    for number in range(5):
        desk.submit(f"a-{number}", key="a")
    desk.submit("b", key="b")
    desk.command("set-queue", queue="q", key_concurrency=1)

    assert sorted(one.id for one in assigned(desk.hello(W, "w", 10))) == ["a-0", "b"]
    desk.command("set-queue", queue="q", key_concurrency=None)
    assert len(desk.leases) == 6


# Rates.


def test_rate_is_a_token_bucket_for_workers_and_pulls_together() -> None:
    desk = desk_with(rate=10.0, burst=5)
    desk.submit("a", 100)

    assert count_of(desk.hello(W, "w", 3)) == 3
    assert sum(len(one.ends) >> 2 for one in pull(desk)) == 2
    assert pull(desk) == []
    desk.now += 0.25
    assert sum(len(one.ends) >> 2 for one in pull(desk)) == 2
    desk.now += 100.0
    assert sum(len(one.ends) >> 2 for one in pull(desk)) == 5


def test_machine_wakes_when_a_token_comes() -> None:
    desk = desk_with(rate=2.0, burst=1)
    desk.submit("a", 3)
    assert count_of(desk.hello(W, "w", 3)) == 1

    times = [desk.now]
    while len(times) < 3:
        desk.now = desk.machine.next_at(desk.clocks())
        if count_of([message for _, message in desk.turn()]):
            times.append(desk.now)

    assert times == pytest.approx([0.0, 0.5, 1.0])


def test_rate_of_a_key_holds_back_that_key_only() -> None:
    desk = desk_with(key_rate=1.0, key_burst=2)
    for number in range(10):
        desk.submit(f"a-{number}", key="a")
    desk.submit("b", 5, key="b")
    desk.submit("c", 5)

    assert count_of(desk.hello(W, "w", 100)) == 2 + 2 + 5
    desk.now = 1.0
    assert count_of([message for _, message in desk.turn()]) == 2
    desk.now = 4.0
    assert count_of([message for _, message in desk.turn()]) == 4


def test_buckets_are_empty_after_a_restart() -> None:
    desk = desk_with(rate=1.0, burst=10, key_rate=1.0)
    desk.submit("a", 20, key="k")
    desk.now = 100.0
    desk.restart()

    assert count_of(desk.hello(W, "w", 100)) == 0
    desk.now = 101.0
    assert count_of([message for _, message in desk.turn()]) == 1


def test_changed_rate_holds_at_once() -> None:
    desk = desk_with(rate=0.001, burst=1)
    desk.submit("a", 20)
    assert count_of(desk.hello(W, "w", 100)) == 1

    desk.command("set-queue", queue="q", rate=1000.0, burst=100)
    desk.now += 0.005
    desk.turn()
    desk.command("set-queue", queue="q", rate=None)

    assert sum(lease.mask.bit_count() for lease in desk.leases) == 20


def test_changed_rate_of_a_key_holds_at_once() -> None:
    desk = desk_with(key_rate=0.001, key_burst=1)
    desk.submit("a", key="k")
    desk.submit("b", key="k")
    assert count_of(desk.hello(W, "w", 100)) == 1

    desk.command("set-queue", queue="q", key_rate=10.0)
    desk.now = 0.1
    desk.turn()

    assert len(desk.leases) == 2


def test_full_buckets_of_keys_are_forgotten() -> None:
    gate = Gate(DEFAULT_POLICIES._replace(key_rate=100.0), 0.0, is_restart=False)
    for number in range(10_000):
        gate.spend(f"key-{number}", 1, number * 0.001)

    assert len(gate._buckets) < 3000


@pytest.mark.parametrize("name", ["rate", "key_rate"])
@pytest.mark.parametrize("value", [0, -1.0, True, "5", float("nan"), float("inf")])
def test_rate_that_cannot_be_is_refused(name: str, value: Any) -> None:
    from zq.wire.policies import read_policies

    with pytest.raises(ValueError, match=f"expected {name} from 1e-06 to 1e\\+09 a second"):
        read_policies({name: value})


def test_pull_that_gets_a_token_leaves_the_others_their_wake_up() -> None:
    desk = desk_with(rate=1.0, burst=2)
    desk.submit("a", 10)
    assert count_of(desk.hello(W, "w", 10)) == 2
    desk.now = 2.0

    assert len(pull(desk, most=1)) == 1

    assert sum(lease.mask.bit_count() for lease in desk.leases) == 4


def test_rate_limit_is_global_and_not_per_worker() -> None:
    desk = desk_with(rate=5.0, burst=5)
    for number in range(100):
        desk.submit(f"{number}")

    got = [count_of(desk.hello(f"peer-{number}".encode(), f"worker-{number}", 10)) for number in range(10)]

    assert sum(got) == 5


def test_held_key_is_looked_at_again_when_what_was_next_is_cancelled() -> None:
    desk = desk_with(key_concurrency=1)
    for id, priority in (("a", 9), ("b", 5), ("c", 1)):
        desk.submit(id, key="k", priority=priority)
    (first,) = assigned(desk.hello(W, "w", 3))
    desk.command("pause", queue="q")
    desk.settle(W, done(first), credit=3)
    desk.say(CLIENT, Cancel(1, "b"))
    desk.command("resume", queue="q")

    assert [lease.batch.id for lease in desk.leases] == ["c"]
