"""Which worker gets what, and in which order."""

import pytest

from tests.core.desk import WALL, Desk, assigned, done
from zq.wire.messages import Goodbye, Heartbeat, Held, Release, Span

W, V = b"worker-1", b"worker-2"


def test_higher_priority_is_served_first_and_equal_ones_in_order() -> None:
    desk = Desk()
    for id, priority in (("low", 0), ("first", 5), ("second", 5), ("high", 9)):
        desk.submit(id, priority=priority)

    assert [one.id for one in assigned(desk.hello(W, "w", 4))] == ["high", "first", "second", "low"]


def test_task_that_comes_back_keeps_its_place() -> None:
    desk = Desk()
    desk.submit("a", 3)
    desk.submit("b")
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Release(1, 0, (Span(one.token, 0, 2),)))

    assert [(one.id, one.lo) for one in assigned(desk.hello(V, "v", 4))] == [("a", 0), ("b", 0)]


def test_delayed_task_is_not_assigned_before_its_time() -> None:
    desk = Desk()
    desk.submit("a", delay=10.0)
    desk.hello(W, "w")

    assert desk.task("a")["due_time"] == WALL + 10.0
    assert not assigned([message for _, message in desk.wait(9.5)])
    assert desk.machine.next_at(desk.clocks()) == pytest.approx(10.0)
    desk.say(W, Heartbeat(1, ()))
    assert [one.id for one in assigned([message for _, message in desk.wait(1.0)])] == ["a"]


def test_backlog_larger_than_memory_is_served_in_order() -> None:
    desk = Desk()
    for i in range(1000):
        desk.submit(f"t{i:04d}")
    desk.restart()
    served = [one.id for one in assigned(desk.hello(W, "w", 600))]
    desk.submit("urgent", priority=9)

    assert served == [f"t{i:04d}" for i in range(600)]
    assert [one.id for one in assigned(desk.hello(V, "v", 500))] == ["urgent", *(f"t{i:04d}" for i in range(600, 1000))]


def test_worker_gets_no_more_than_its_credit() -> None:
    desk = Desk()
    desk.submit("a", 10)
    (one,) = assigned(desk.hello(W, "w", 4))

    assert len(one.ends) >> 2 == 4
    assert not assigned(desk.say(W, Heartbeat(1, (Held(one.token, ()),))))
    (more,) = assigned(desk.settle(W, done(one, 0, 2), credit=4))
    assert (more.lo, len(more.ends) >> 2) == (4, 2)


def test_short_queue_is_shared_evenly() -> None:
    desk = Desk()
    desk.hello(W, "w", 100)
    desk.hello(V, "v", 100)
    desk.submit("a", 10)

    assert sorted(worker.held for worker in desk.machine.books.workers.values()) == [5, 5]


def test_key_stays_with_its_worker_and_only_keys_of_a_dead_one_move() -> None:
    desk = Desk(assign="hash", gone_after=5.0)
    names = {b"w%d" % i: f"w{i}" for i in range(4)}
    for peer, name in names.items():
        desk.hello(peer, name, 1000)
    keys = [f"customer-{i}" for i in range(40)]
    before = _owners(desk, keys, "before")
    gone = before["customer-0"]
    peer = next(peer for peer, name in names.items() if name == gone)
    desk.say(peer, Goodbye(gone, gone))

    after = _owners(desk, keys, "after")

    assert len(set(before.values())) == 4
    assert _owners(desk, keys, "again") == after
    assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == gone}


def _owners(desk: Desk, keys: list[str], prefix: str) -> dict[str, str]:
    for key in keys:
        desk.submit(f"{prefix}-{key}", key=key)
    return {key: desk.task(f"{prefix}-{key}")["worker"] for key in keys}


def test_key_whose_worker_is_full_goes_to_an_idle_one() -> None:
    desk = Desk(assign="hash")
    desk.hello(W, "w", 2)
    desk.hello(V, "v", 2)
    for i in range(4):
        desk.submit(f"t{i}", key="same")

    assert sorted(worker.held for worker in desk.machine.books.workers.values()) == [2, 2]
