"""What ends because somebody is gone, or because its time is up: a portion in each step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.cost import cost_of, finish, largest_cost_of
from tests.core.desk import CLIENT, Desk, assigned
from zq.core.tasks import settling
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Batch,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Options,
    Pull,
    Started,
    Submit,
    Withdraw,
)

W = b"w"
ONE = pack_payloads([encode_payload(1)])


def fill(desk: Desk, count: int, options: Options = DEFAULT_OPTIONS) -> None:
    """Submits tasks, each a batch of its own."""
    for lo in range(0, count, 500):
        batches = tuple(Batch(f"t{index}", "q", options, *ONE) for index in range(lo, min(lo + 500, count)))
        desk.turn((CLIENT, Submit(1, batches)))


def hold(desk: Desk, count: int, options: Options = DEFAULT_OPTIONS, *, has_started: bool = False) -> None:
    """Lets a worker hold tasks."""
    fill(desk, count, options)
    desk.hello(W, "w", 10_000, concurrency=10_000)
    if has_started:
        desk.turn((W, Started(tuple(Held(lease.token, (0,)) for lease in desk.leases))))


def say_goodbye(desk: Desk) -> int:
    return largest_cost_of(desk, (W, Goodbye("w", "w")))


def be_fenced(desk: Desk) -> int:
    desk.lose(W)
    return largest_cost_of(desk, (b"v", Hello("w", "another", ("other",), 1, 1, ())))


def come_back_without(desk: Desk) -> int:
    return largest_cost_of(desk, (W, Hello("w", "w", ("other",), 0, 1, ())))


def list_nothing(desk: Desk) -> int:
    desk.machine.books.workers["w"].credit = 0
    for lease in desk.leases:
        lease.granted_at -= 100.0
    return largest_cost_of(desk, (W, Heartbeat(1, ())))


def fall_silent(desk: Desk) -> int:
    for _ in range(40):
        desk.now += 0.5
        if desk.now + 0.5 >= desk.machine.books.workers["w"].heard_at + desk.options.gone_after:
            break
        desk.turn()
    desk.now += 0.5
    return largest_cost_of(desk)


WAYS: list[Callable[[Desk], int]] = [say_goodbye, be_fenced, come_back_without, list_nothing, fall_silent]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has_started", [False, True])
def test_each_step_costs_the_same_however_much_one_held_who_is_gone(
    monkeypatch: pytest.MonkeyPatch, way: Callable[[Desk], int], has_started: bool
) -> None:
    monkeypatch.setattr(settling, "PORTION_LEASES", 50)
    costs = []
    for count in (300, 1200):
        desk = Desk()
        hold(desk, count, has_started=has_started)
        costs.append(way(desk))
        assert desk.leases == []
        assert desk.query("queue", queue="q")["waiting"] == count

    looks = 12 * 900  # who is gone is looked for among all leases, and what is listed in each of them
    assert costs[1] <= 1.2 * costs[0] + looks


def test_what_one_held_who_has_left_is_handed_out_as_its_turn_comes() -> None:
    desk = Desk()
    count = 3 * settling.PORTION_LEASES
    hold(desk, count)

    sent = desk.turn((W, Goodbye("w", "w")), (b"v", Hello("v", "v", ("q",), 10_000, 1, ())))
    first = len(assigned([message for _, message in sent]))
    rest = finish(desk)

    assert 0 < first < count
    assert first + len(assigned([message for peer, message in rest if peer == b"v"])) == count


@pytest.mark.parametrize("is_fenced", [True, False])
def test_what_one_held_who_is_gone_is_not_forgotten_by_a_restart(is_fenced: bool) -> None:
    desk = Desk()
    hold(desk, 3 * settling.PORTION_LEASES, has_started=True)
    other = Hello("w", "another", ("q",), 1, 1, ())
    if is_fenced:
        desk.lose(W)
    desk.turn((b"v", other) if is_fenced else (W, Goodbye("w", "w")))

    desk.restart()
    if is_fenced:
        (mine,) = [lease.token for lease in desk.leases if lease.holder.incarnation == "another"]
        desk.say(b"v", other._replace(held=(Held(mine, ()),)))
    desk.wait(30.0) if not is_fenced else finish(desk)

    assert {lease.holder.incarnation for lease in desk.leases} == ({"another"} if is_fenced else set())
    assert desk.query("queue", queue="q")["waiting"] == 3 * settling.PORTION_LEASES - is_fenced


def test_leases_that_run_out_together_end_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_LEASES", 50)
    costs = []
    for count in (300, 900):
        desk = Desk()
        fill(desk, count)
        desk.say(CLIENT, Pull(1, "till", "q", 1000, 0.0, 1.0))
        desk.now += 1.5
        costs.append(largest_cost_of(desk))
        assert desk.leases == []

    assert costs[1] <= 1.2 * costs[0]


def test_one_lease_of_many_tasks_ends_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_LEASES", 20)
    costs = []
    for count in (100, 400):
        desk = Desk()
        desk.submit("b", count)
        desk.say(CLIENT, Pull(1, "till", "q", 1000, 0.0, 1.0))
        desk.now += 1.5
        costs.append(largest_cost_of(desk))
        assert desk.query("queue", queue="q")["waiting"] == count
        assert desk.task("b#7")["attempts"] == 1

    assert costs[1] <= 1.2 * costs[0]


def test_tasks_that_run_out_of_time_together_end_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_LEASES", 20)
    costs = []
    for count in (100, 400):
        desk = Desk()
        desk.submit("b", count, timeout=1.0)
        desk.hello(W, "w", 1000)
        desk.turn((W, Started(tuple(Held(lease.token, tuple(range(count))) for lease in desk.leases))))
        desk.now += 1.0
        desk.turn((W, Heartbeat(1, tuple(Held(lease.token, tuple(range(count))) for lease in desk.leases))))
        desk.now += desk.options.suspect_after + 0.5
        costs.append(largest_cost_of(desk))
        assert desk.leases == []

    assert costs[1] <= 1.3 * costs[0]


def test_withdrawing_costs_what_is_withdrawn_whoever_else_pulls() -> None:
    costs: dict[tuple[int, int], int] = {}
    for others, own in ((20, 40), (20, 160), (200, 40)):
        desk = Desk()
        fill(desk, others + own)
        for number in range(others):
            desk.turn((b"other", Pull(number, "shop", "q", 1, 0.0, 60.0, True)))
        for number in range(own):
            desk.turn((CLIENT, Pull(number, "till", "q", 1, 0.0, 60.0, True)))
        for number in range(own, 2 * own):
            desk.turn((CLIENT, Pull(number, "till", "empty", 1, 60.0, 60.0, True)))
        costs[others, own] = cost_of(desk, (CLIENT, Withdraw(tuple(range(2 * own)))))
        assert len(desk.leases) == others

    assert costs[200, 40] <= 1.1 * costs[20, 40]
    assert costs[20, 160] <= 4.4 * costs[20, 40]


def test_offers_that_nobody_confirms_go_back_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PORTION_LEASES", 20)
    costs = []
    for count in (100, 400):
        desk = Desk()
        fill(desk, count)
        desk.say(CLIENT, Pull(1, "till", "q", 1000, 0.0, 60.0, True))
        for _ in range(12):
            desk.now += 0.5
            if desk.now >= 5.0:
                break
            desk.turn()
        costs.append(largest_cost_of(desk))
        assert desk.leases == []

    assert costs[1] <= 1.2 * costs[0]
