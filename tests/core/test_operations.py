"""Operations on whole queues, on a coordinator with literal times: what they end, move and leave alone, and that they
survive a restart.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed
from zq.core.admin import operations
from zq.wire.messages import Command, Error, Wait


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes one step do little, so that operations take several."""
    monkeypatch.setattr(operations, "PORTION_TASKS", 2)
    monkeypatch.setattr(operations, "PORTION_ROWS", 2)


def refusal(desk: Desk, verb: str, **arguments: Any) -> str:
    [answer] = desk.say(CLIENT, Command(999, verb, arguments))
    assert isinstance(answer, Error)
    return answer.text


def counts(desk: Desk, queue: str = "q") -> tuple[int, ...]:
    row = desk.query("queue", queue=queue)
    return tuple(row[name] for name in ("waiting", "scheduled", "leased", "dead"))


def outcomes(desk: Desk, id: str, size: int = 1) -> list[str]:
    [answer] = desk.say(CLIENT, Wait(998, id, 0, size))
    return [one.outcome for one in answer.ended for _ in range(one.hi - one.lo)]


def state_of(desk: Desk, id: str) -> Any:
    [row] = desk.query("operations", id=id)
    return row["state"]


def until_done(desk: Desk, id: str) -> Any:
    """Turns until an operation is done; returns how many turns that took, and the operation."""
    for turns in range(200):
        [row] = desk.query("operations", id=id)
        if row["state"] == "done":
            return turns, row
    raise AssertionError("it never ends")


def test_purge_ends_what_waits_as_cancelled_and_leaves_what_runs(desk: Desk) -> None:
    desk.submit("running")
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.submit("many", 5)
    desk.submit("later", 2, delay=100.0)

    row = desk.command("purge", id="p", queue="q")

    assert (row["state"], row["tasks"]) == ("done", 7)
    assert counts(desk) == (0, 0, 1, 0)
    assert outcomes(desk, "many", 5) == ["cancelled"] * 5
    assert outcomes(desk, "later", 2) == ["cancelled"] * 2
    assert desk.task("many#3")["reason"] == "its queue was purged"
    desk.settle(b"w", done(lease))
    assert outcomes(desk, "running") == ["done"]


def test_purge_takes_only_the_states_that_were_named(desk: Desk) -> None:
    desk.submit("now")
    desk.submit("later", delay=100.0)
    desk.submit("bad", max_attempts=1, priority=9)
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.settle(b"w", failed(lease), credit=0)
    assert counts(desk) == (1, 1, 0, 1)

    desk.command("purge", id="a", queue="q", states=("scheduled",))
    assert counts(desk) == (1, 0, 0, 1)
    desk.command("purge", id="b", queue="q", states=("dead",))
    assert counts(desk) == (1, 0, 0, 0)
    assert outcomes(desk, "bad") == ["dead"]
    desk.command("purge", id="c", queue="q", states=("waiting",))
    assert counts(desk) == (0, 0, 0, 0)


def test_part_of_a_batch_that_runs_is_left_alone_by_a_purge(desk: Desk) -> None:
    desk.hello(b"w", "shop", 2)
    desk.submit("many", 6)

    assert desk.command("purge", id="p", queue="q")["tasks"] == 4
    assert counts(desk) == (0, 0, 2, 0)


@pytest.mark.usefixtures("small_portions")
def test_long_purge_goes_in_steps_and_survives_a_restart(desk: Desk) -> None:
    for number in range(20):
        desk.submit(f"t{number}", 2)
    assert desk.command("purge", id="p", queue="q")["state"] == "running"
    desk.submit("new")
    desk.restart()

    turns, row = until_done(desk, "p")

    assert turns > 3
    assert row["tasks"] == 40
    assert counts(desk) == (1, 0, 0, 0)


@pytest.mark.usefixtures("small_portions")
def test_coordinator_does_not_sleep_while_an_operation_goes_on(desk: Desk) -> None:
    for number in range(20):
        desk.submit(f"t{number}", 2)
    desk.command("purge", id="p", queue="q")
    assert desk.machine.next_at(desk.clocks()) == desk.now
    until_done(desk, "p")
    assert desk.machine.next_at(desk.clocks()) > desk.now


def test_purged_keys_are_free_for_those_that_come_later(desk: Desk) -> None:
    for number in range(3):
        desk.submit(f"t{number}", key="k", ordered=True)
    desk.command("purge", id="p", queue="q")
    desk.submit("after", key="k", ordered=True)

    [lease] = assigned(desk.hello(b"w", "shop"))

    assert lease.id == "after"


def test_same_operation_asked_for_again_is_only_reported(desk: Desk) -> None:
    desk.submit("a")
    first = desk.command("purge", id="p", queue="q")
    desk.submit("b")

    assert desk.command("purge", id="p", queue="q") == first
    assert counts(desk) == (1, 0, 0, 0)


def test_move_keeps_order_attempts_and_history(desk: Desk) -> None:
    desk.submit("tried", max_attempts=3, retry=("constant", 5.0, 0.0, 0.0))
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.settle(b"w", failed(lease), credit=0)
    desk.submit("there-1", queue="r")
    desk.submit("low", priority=1)
    desk.submit("first")
    desk.submit("there-2", queue="r")
    desk.submit("second", 2)

    row = desk.command("move", id="m", queue="q", to="r")

    assert (row["state"], row["tasks"]) == ("done", 5)
    assert counts(desk) == (0, 0, 0, 0)
    assert counts(desk, "r") == (6, 1, 0, 0)
    task = desk.task("tried")
    assert (task["queue"], task["attempts"], task["state"]) == ("r", 1, "scheduled")
    assert [event["event"] for event in task["timeline"]] == ["retry", "moved"]
    desk.wait(6.0)
    served = assigned(desk.hello(b"v", "other", 10, queues=("r",)))
    assert [one.id for one in served] == ["tried", "there-1", "first", "there-2", "second", "low"]
    assert served[0].attempt == 2


def test_moved_batch_keeps_the_results_of_its_part_that_is_done(desk: Desk) -> None:
    desk.submit("many", 4)
    [lease] = assigned(desk.hello(b"w", "shop", 2))
    desk.settle(b"w", done(lease, result="hot"), credit=0)

    assert desk.command("move", id="m", queue="q", to="r")["tasks"] == 2
    desk.restart()

    [answer] = desk.say(CLIENT, Wait(998, "many", 0, 4))
    assert [(one.lo, one.hi, one.outcome, one.blob) for one in answer.ended] == [(0, 2, "done", b"\xa3hot" * 2)]
    [lease] = assigned(desk.hello(b"v", "other", 2, queues=("r",)))
    assert (lease.id, lease.lo) == ("many", 2)
    assert desk.settle(b"v", done(lease))[0].stale == ()
    assert outcomes(desk, "many", 4) == ["done"] * 4


def test_moved_keys_stay_in_order_and_what_stands_behind_a_running_task_stays(desk: Desk) -> None:
    desk.submit("held", key="h", ordered=True)
    [held] = assigned(desk.hello(b"w", "shop"))
    desk.submit("behind", key="h", ordered=True)
    for number in range(3):
        desk.submit(f"t{number}", key="k", ordered=True)

    assert desk.command("move", id="m", queue="q", to="r")["tasks"] == 3

    assert desk.task("behind")["queue"] == "q"
    order = []
    [lease] = assigned(desk.hello(b"v", "other", queues=("r",)))
    for _ in range(3):
        order.append(lease.id)
        lease = next(iter(assigned(desk.settle(b"v", done(lease)))), lease)
    assert order == ["t0", "t1", "t2"]
    assert assigned(desk.settle(b"w", done(held)))[0].id == "behind"


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize(("verb", "arguments"), [("purge", {}), ("move", {"to": "r"})])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_waits_for_its_turn_in_a_fair_queue_is_reached(
    desk: Desk, verb: str, arguments: dict[str, Any], restarts: bool
) -> None:
    desk.command("set-queue", queue="q", fair=True)
    for number in range(12):
        desk.submit(f"t{number}", key=f"k{number % 2}")
    desk.command(verb, id="all", queue="q", **arguments)
    desk.submit("later", key="k0")
    if restarts:
        desk.restart()

    until_done(desk, "all")

    assert [row["id"] for row in desk.query("tasks", queue="q")["rows"]] == ["later"]
    if verb == "move":
        assert counts(desk, "r")[0] == 12


def test_what_is_moved_and_moved_back_while_another_has_its_turn_is_not_lost(desk: Desk) -> None:
    desk.submit("a", key="k", ordered=True, priority=1)
    desk.command("move", id="there", queue="q", to="r")
    desk.submit("b", key="k", ordered=True, priority=9)
    desk.command("move", id="back", queue="r", to="q")
    [first] = assigned(desk.hello(b"w", "shop"))

    [second] = assigned(desk.settle(b"w", done(first)))

    assert (first.id, second.id) == ("b", "a")
    assert counts(desk) == (0, 0, 1, 0)


def test_tasks_that_move_there_and_back_are_served_as_before(desk: Desk) -> None:
    for number in range(5):
        desk.submit(f"t{number}", 2)

    desk.command("move", id="m", queue="q", to="r")
    desk.submit("new")
    desk.command("move", id="n", queue="r", to="q")

    served = assigned(desk.hello(b"w", "shop", 100))
    assert [one.id for one in served] == ["t0", "t1", "t2", "t3", "t4", "new"]
    assert counts(desk) == (0, 0, 11, 0)


def test_dead_letters_move_when_they_are_named(desk: Desk) -> None:
    desk.submit("bad", max_attempts=1)
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.settle(b"w", failed(lease), credit=0)

    desk.command("move", id="m", queue="q", to="r", states=("dead",))

    assert (counts(desk)[3], counts(desk, "r")[3]) == (0, 1)
    assert desk.command("retry", id="bad") is True
    assert counts(desk, "r") == (1, 0, 0, 0)


def test_draining_queue_accepts_nothing_and_runs_empty_until_it_is_resumed(desk: Desk) -> None:
    desk.submit("old")
    desk.command("drain", queue="q")
    desk.restart()

    [refused] = desk.submit("new").refused
    assert (refused.code, "draining" in refused.reason) == ("busy", True)
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.settle(b"w", done(lease))
    desk.command("resume", queue="q")
    assert desk.submit("new").accepted


def test_queue_that_is_not_empty_is_deleted_only_with_a_purge(desk: Desk) -> None:
    desk.submit("a", 3)
    assert "is not empty: 3 wait" in refusal(desk, "delete", id="d", queue="q")

    assert desk.command("delete", id="e", queue="q", purge=True)["state"] == "done"
    assert outcomes(desk, "a", 3) == ["cancelled"] * 3
    assert "there is no queue 'q'" in refusal(desk, "purge", id="f", queue="q")


def test_deleting_forgets_policies_and_bindings_and_workers_make_it_anew(desk: Desk) -> None:
    desk.command("set-queue", queue="q", max_tasks=7)
    desk.command("bind", pattern="a", queue="q")
    desk.hello(b"w", "shop")

    assert desk.command("delete", id="d", queue="q")["state"] == "done"

    assert desk.query("bindings") == []
    assert desk.query("queue", queue="q")["policies"]["max_tasks"] is None
    desk.submit("new")
    assert len(desk.leases) == 1
    desk.restart()
    assert [row["name"] for row in desk.query("queues")] == ["q"]


def test_deleting_waits_for_what_runs_and_assigns_nothing_meanwhile(desk: Desk) -> None:
    desk.submit("running")
    [lease] = assigned(desk.hello(b"w", "shop"))
    desk.submit("waiting")

    assert desk.command("delete", id="d", queue="q", purge=True)["state"] == "waiting"
    desk.restart()
    desk.hello(b"w", "shop", 5, lease.token)
    assert state_of(desk, "d") == "waiting"
    assert desk.submit("new").refused
    desk.settle(b"w", done(lease))

    assert until_done(desk, "d")[1]["tasks"] == 1
    assert desk.query("queue", queue="q")["policies"]["draining"] is False


@pytest.mark.parametrize(
    ("verb", "arguments", "text"),
    [
        ("purge", {"id": "p", "queue": "nothing"}, "there is no queue 'nothing'"),
        ("purge", {"id": "p", "queue": "q", "states": ("running",)}, "expected states as a list of"),
        ("purge", {"queue": "q"}, "expected id"),
        ("move", {"id": "p", "queue": "q", "to": "q"}, "expected another queue"),
        ("move", {"id": "p", "queue": "q", "to": "r r"}, "spaces"),
    ],
)
def test_operation_that_cannot_be_is_refused(desk: Desk, verb: str, arguments: dict[str, Any], text: str) -> None:
    desk.submit("a")

    assert text in refusal(desk, verb, **arguments)


@pytest.mark.usefixtures("small_portions")
def test_one_operation_at_a_time_goes_on_in_a_queue(desk: Desk) -> None:
    for number in range(20):
        desk.submit(f"t{number}")
    desk.command("purge", id="p", queue="q")

    assert "operation p (purge) goes on" in refusal(desk, "move", id="m", queue="q", to="r")
