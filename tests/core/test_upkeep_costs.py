"""What comes due together is done in portions: each turn costs the same, however much it is."""

from __future__ import annotations

import pytest

from tests.core.cost import finish, largest_cost_of
from tests.core.desk import CLIENT, Desk
from zq.core.tasks import admission, expiry, pulls, retention, schedules
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Cancel, Command, Options, Publish, Pull, Schedule, Submit

ONE = pack_payloads([encode_payload(1)])
FEW, MANY = 100, 400


def submit(desk: Desk, count: int, options: Options) -> None:
    desk.turn((CLIENT, Submit(1, tuple(Batch(f"t{index}", "q", options, *ONE) for index in range(count)))))


def pass_time(desk: Desk, seconds: float) -> int:
    """Lets time pass, and returns the most that a turn costs after it."""
    desk.turn()
    desk.now += seconds
    desk.wall += seconds
    return largest_cost_of(desk)


def expire(count: int) -> int:
    desk = Desk()
    submit(desk, count, Options(ttl=1.0))
    return pass_time(desk, 1.5)


def expire_one_by_one(count: int) -> int:
    desk = Desk()
    desk.submit("b", count, ttl=1.0, on_dead="notices")
    cost = pass_time(desk, 1.5)
    assert desk.query("queue", queue="q")["expired"] == count
    assert desk.query("queue", queue="notices")["waiting"] == count
    return cost


def come_due(count: int) -> int:
    desk = Desk()
    submit(desk, count, Options(delay=1.0))
    return pass_time(desk, 1.5)


def be_answered_with_nothing(count: int) -> int:
    desk = Desk()
    for number in range(count):
        desk.turn((CLIENT, Pull(number, "till", "q", 1, 1.0, 1.0, True)))
    return pass_time(desk, 1.5)


def be_forgotten(count: int) -> int:
    desk = Desk(keep_seconds=1.0)
    submit(desk, count, Options())
    for index in range(count):
        desk.turn((CLIENT, Cancel(1, f"t{index}")))
    return pass_time(desk, 1.5)


def be_forgotten_of_a_batch(count: int) -> int:
    """Batches of which each task was split off."""
    desk = Desk(keep_seconds=1.0)
    for number in range(count // 20):
        desk.submit(f"b{number}", 20)
        desk.turn((CLIENT, Cancel(1, f"b{number}#0")))
        finish(desk, (CLIENT, Cancel(1, f"b{number}")))
    return pass_time(desk, 1.5)


def be_forgotten_of_publications(count: int) -> int:
    desk = Desk(keep_seconds=1.0)
    for number in range(10):
        desk.turn((CLIENT, Command(1, "bind", {"queue": f"q{number}", "pattern": "a"})))
    for number in range(count // 10):
        desk.turn((CLIENT, Publish(1, f"p{number}", "a", Options(), False, *ONE)))
        for part in range(1, 11):
            desk.turn((CLIENT, Cancel(1, f"p{number}.{part}")))
    return pass_time(desk, 1.5)


def fire(count: int) -> int:
    desk = Desk()
    for number in range(count):
        task = Batch(f"beat-{number}", "q", Options(), *ONE)
        desk.turn((CLIENT, Schedule(1, task, 1.0, None, "UTC", "one")))
    return pass_time(desk, 1.5)


def find_their_queue_draining(count: int) -> int:
    desk = Desk()
    for number in range(count):
        task = Batch(f"beat-{number}", "q", Options(), *ONE)
        desk.turn((CLIENT, Schedule(1, task, 1.0, None, "UTC", "one")))
    desk.turn((CLIENT, Command(1, "drain", {"queue": "q"})))
    return pass_time(desk, 1.5)


WAYS = [
    expire, expire_one_by_one, come_due, be_answered_with_nothing, be_forgotten, be_forgotten_of_a_batch, be_forgotten_of_publications,
    fire, find_their_queue_draining,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_turn_costs_the_same_however_many(monkeypatch: pytest.MonkeyPatch, way: object) -> None:
    monkeypatch.setattr(expiry, "EXPIRE_MAX", 20)
    monkeypatch.setattr(admission, "RELEASE_MAX", 20)
    monkeypatch.setattr(pulls, "PULLS_ENDED_MAX", 20)
    monkeypatch.setattr(retention, "FORGET_COST_MAX", 40)
    monkeypatch.setattr(retention, "FORGET_MAX", 40)
    monkeypatch.setattr(schedules, "FIRE_MAX", 10)
    monkeypatch.setattr(schedules, "LOOK_MAX", 20)
    assert callable(way)

    assert way(MANY) <= 1.2 * way(FEW)


def test_schedules_behind_many_whose_queue_is_draining_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "LOOK_MAX", 5)
    desk = Desk()
    for number in range(30):
        task = Batch(f"beat-{number}", "drained", Options(), *ONE)
        desk.turn((CLIENT, Schedule(1, task, 100.0, None, "UTC", "one")))
    desk.wall += 0.01
    desk.turn((CLIENT, Schedule(1, Batch("last", "q", Options(), *ONE), 100.0, None, "UTC", "one")))
    desk.turn((CLIENT, Command(1, "drain", {"queue": "drained"})))

    pass_time(desk, 100.5)
    assert desk.query("queue", queue="q")["waiting"] == 1

    desk.turn((CLIENT, Command(1, "resume", {"queue": "drained"})))
    pass_time(desk, schedules.RETRY_AFTER)
    assert desk.query("queue", queue="drained")["waiting"] == 30


def waiting(desk: Desk, queue: str) -> int:
    return int(desk.query("queue", queue=queue)["waiting"])


def with_large_schedules(count: int, *, every: float, catch_up: str = "one") -> Desk:
    """Returns one with schedules of a megabyte, and a small one that comes due after them."""
    desk = Desk()
    large = pack_payloads([b"x" * (1 << 20)])
    for number in range(count):
        task = Batch(f"large-{number}", "large", Options(), *large)
        desk.turn((CLIENT, Schedule(1, task, every, None, "UTC", catch_up)))
    desk.wall += 0.01
    desk.turn((CLIENT, Schedule(1, Batch("small", "small", Options(), *ONE), every, None, "UTC", "one")))
    return desk


def test_large_schedules_fire_in_portions_of_bytes_and_hold_up_no_small_one() -> None:
    desk = with_large_schedules(20, every=100.0)
    desk.now += 100.5
    desk.wall += 100.5
    counts: list[int] = []
    while not counts or desk.machine.next_at(desk.clocks()) <= desk.now:
        desk.machine.turn(desk.clocks())
        counts.append(desk.machine.books.counters["fired"])
        assert len(counts) < 20

    assert counts == [4, 7, 10, 13, 16, 19, 21]  # the small one in the first step
    assert (waiting(desk, "large"), waiting(desk, "small")) == (20, 1)


def test_schedule_above_the_bytes_of_a_step_fires_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "FIRE_BYTES", 100_000)
    desk = with_large_schedules(2, every=100.0)
    desk.now += 100.5
    desk.wall += 100.5
    desk.machine.turn(desk.clocks())
    assert desk.machine.books.counters["fired"] == 2  # and the small one
    pass_time(desk, 0.0)

    assert (waiting(desk, "large"), waiting(desk, "small")) == (2, 1)


def test_small_schedule_behind_a_long_backlog_of_large_ones_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "LOOK_MAX", 5)
    desk = with_large_schedules(12, every=1.0, catch_up="all")
    desk.now += 100.5
    desk.wall += 100.5
    for _ in range(4):
        desk.machine.turn(desk.clocks())

    assert waiting(desk, "small") == 1
    assert desk.machine.books.counters["fired"] <= 4 * 4
    assert desk.machine.next_at(desk.clocks()) <= desk.now
