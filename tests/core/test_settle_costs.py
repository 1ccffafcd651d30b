"""What a settle costs, whatever it names: a few calls for each of its entries."""

from __future__ import annotations

import pytest

from tests.core.cost import cost_of
from tests.core.desk import Desk, assigned, done, failed, only
from zq.core.tasks import repeats, settling
from zq.wire.limits import BATCH_TASKS_MAX, HELD_MAX, MESSAGE_BATCHES_MAX
from zq.wire.messages import Done, Failed, Settle, Settled

W = b"w"

ENTRY_CALLS = 100
"""Calls that an entry of a settle may cost when it is refused: reading, looking it up, and its row in a history."""


def strange(count: int, id: str = "x{}", tasks: int = BATCH_TASKS_MAX) -> tuple[Done, ...]:
    """Completions under tokens that nobody was given."""
    return tuple(Done(5 + number, id.format(number), 0, tasks, b"", b"", ()) for number in range(count))


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("id", ["x{}", "known-{}", "known-0"])
def test_completions_that_nobody_was_given_cost_a_look_each_however_many_tasks_they_name(
    id: str, is_whole: bool
) -> None:
    desk = Desk()
    for number in range(20):
        desk.submit(f"known-{number}", 3)

    def cost(count: int, tasks: int) -> int:
        return cost_of(desk, (W, Settle(1, None, strange(count, id, tasks), (), is_whole)))

    assert cost(MESSAGE_BATCHES_MAX, BATCH_TASKS_MAX) <= MESSAGE_BATCHES_MAX * ENTRY_CALLS
    cost(500, 20)  # the history of each batch is full from now on
    assert cost(500, BATCH_TASKS_MAX) <= cost(500, 20) * 1.1


def test_completions_said_again_cost_a_look_each_however_many_have_ended_one_by_one() -> None:
    desk = Desk()
    desk.submit("a", BATCH_TASKS_MAX)
    (one,) = assigned(desk.hello(W, "w", BATCH_TASKS_MAX))
    each = [done(one, index, index + 1, result="hot") for index in range(BATCH_TASKS_MAX)]
    desk.settle(W, *each, credit=0)

    again = Settle(2, None, tuple(each), ())
    cost = cost_of(desk, (W, again))

    assert only(desk.say(W, again), Settled).stale == ()
    assert cost <= MESSAGE_BATCHES_MAX * ENTRY_CALLS


def test_failures_that_nobody_was_given_cost_a_look_each() -> None:
    desk = Desk()
    desk.submit("a", BATCH_TASKS_MAX)
    reports = tuple(Failed(5, "a", index, "burnt", None, False) for index in range(MESSAGE_BATCHES_MAX))

    assert cost_of(desk, (W, Settle(1, None, (), reports))) <= MESSAGE_BATCHES_MAX * ENTRY_CALLS


def test_what_is_stale_of_many_completions_fits_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "STALE_SPANS_MAX", 10)
    desk = Desk()
    desk.submit("a", 20)
    (one,) = assigned(desk.hello(W, "w", 20))
    for index in range(0, 20, 2):
        desk.settle(W, failed(one, index))
    desk.settle(W, done(one), credit=0)  # the others

    settled = only(desk.settle(W, *[done(one)] * 5, credit=0), Settled)

    assert {(span.lo, span.hi) for span in settled.stale[10:]} == {(0, 19)}
    assert len(settled.stale) == 10 + 4
    assert settling.STALE_SPANS_MAX + MESSAGE_BATCHES_MAX <= HELD_MAX


def test_of_what_is_behind_the_limit_it_is_not_found_out_whether_it_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "SAID_BEFORE_MAX", 3)
    desk = Desk()
    for id in "abcdef":
        desk.submit(id)
    leases = assigned(desk.hello(W, "w", 6))
    each = [done(one) for one in leases]
    desk.settle(W, *each, credit=0)

    stale = only(desk.settle(W, *each, credit=0), Settled).stale

    assert 0 < len(stale) < 6
    assert stale == tuple(one for one in stale if one.token in {lease.token for lease in leases[-len(stale) :]})
