"""The rules of docs/protocol.md, one at a time, on the pure core."""

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core.admin.commands import COMMANDS
from zq.core.insight.queries import QUERIES
from zq.wire.messages import Answer, Command, Error, Extend, Outcome, Ping, Pong, Pull, Query, Settled, Tasks, Wait
from zq.wire.policies import QueuePolicies

W, V = b"worker-1", b"worker-2"
POLICIES = ", ".join(QueuePolicies._fields)


# Dead letters.


def test_replay_brings_back_the_dead_of_one_queue() -> None:
    desk = Desk(max_attempts=1)
    desk.submit("a", 3)
    desk.submit("other", queue="r")
    (one, other) = assigned(desk.hello(W, "w", 9, queues=("q", "r")))
    desk.settle(W, *(failed(one, i) for i in range(3)), failed(other), credit=0)
    assert [row["id"] for row in desk.query("tasks", state="dead", queue="q")["rows"]] == ["a#0", "a#1", "a#2"]

    assert only(desk.say(CLIENT, Command(1, "replay", {"queue": "q", "limit": 2})), Answer).value == 2
    assert desk.query("status")["dead"] == 2
    assert desk.query("status")["waiting"] == 2


# Restarts.


def test_restart_keeps_order_delays_dead_letters_and_results() -> None:
    desk = Desk(max_attempts=1)
    for id, options in (("low", {"priority": 1}), ("high", {"priority": 8}), ("later", {"delay": 50.0})):
        desk.submit(id, **options)
    desk.submit("bad", priority=9)
    desk.submit("good", priority=9)
    bad, good = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(bad), done(good, result=5), credit=0)

    desk.restart()

    assert desk.task("bad")["state"] == "dead"
    assert desk.task("later")["state"] == "scheduled"
    assert only(desk.say(CLIENT, Wait(1, "good", 0, 1)), Outcome).ended[0].blob == b"\x05"
    assert [one.id for one in assigned(desk.hello(V, "v", 9))] == ["high", "low"]


# Pulls.


def test_pull_leases_tasks_and_the_same_pull_again_gets_the_same_leases() -> None:
    desk = Desk()
    desk.submit("a", 5)
    pull = Pull(1, "till", "q", 3, 0.0, 30.0, secret="its own")

    first = only(desk.say(CLIENT, pull), Tasks)

    assert len(assigned([first])[0].ends) >> 2 == 3
    assert only(desk.say(b"other connection", pull), Tasks) == first
    assert desk.query("status")["leased"] == 3


def test_pull_waits_for_a_task_and_ends_empty() -> None:
    desk = Desk()
    assert not desk.say(CLIENT, Pull(1, "till", "q", 1, 5.0, 30.0))
    assert not desk.say(CLIENT, Pull(2, "till", "q", 1, 3.0, 30.0))

    desk.submit("a")
    assert len(desk.leases) == 1
    assert (CLIENT, Tasks(2, ())) in desk.wait(4.0)


def test_pulled_lease_that_runs_out_is_a_lost_attempt_and_can_be_extended() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.say(CLIENT, Pull(1, "till", "q", 1, 0.0, 10.0)))
    desk.wait(9.0)
    assert only(desk.say(CLIENT, Extend(2, one.token, 10.0)), Answer).value is True
    desk.wait(9.0)
    assert desk.task("a")["state"] == "leased"

    desk.wait(2.0)

    assert (desk.task("a")["state"], desk.task("a")["attempts"]) == ("waiting", 1)
    assert only(desk.say(CLIENT, Extend(3, one.token, 10.0)), Answer).value is False
    assert only(desk.settle(CLIENT, done(one), credit=None), Settled).stale


def test_pull_and_workers_share_a_queue() -> None:
    desk = Desk()
    desk.say(CLIENT, Pull(1, "till", "q", 1, 20.0, 30.0))
    desk.hello(W, "w", 1)
    desk.submit("a", 2)

    assert sorted(lease.holder.is_puller for lease in desk.leases) == [False, True]


# Questions.


def test_question_that_cannot_be_answered_is_refused_in_words() -> None:
    desk = Desk()
    desk.submit("a")
    for message, text in (
        (Query(1, "weather", {}), f"expected a query of {', '.join(QUERIES)}, got 'weather'"),
        (Query(1, "task", {}), "expected text for id, got None"),
        (Query(1, "tasks", {"limit": 0}), "expected limit from 1 to 1000, got 0"),
        (
            Query(1, "tasks", {"state": "tired"}),
            "expected state waiting, leased, scheduled, dead, unfinished, done, cancelled, expired, any, got 'tired'",
        ),
        (Query(1, "tasks", {"queue": "r"}), "there is no queue 'r'"),
        (Command(1, "explode", {}), f"expected a command of {', '.join(COMMANDS)}, got 'explode'"),
        (Command(1, "set-queue", {"queue": "q", "colour": 1}), f"expected policies of {POLICIES}, got 'colour'"),
        (Command(1, "set-queue", {"queue": "q", "max_tasks": 0}), "expected max_tasks from 1 to 1099511627776, got 0"),
        (Query(1, "queue", {}), "expected text for queue, got None"),
        (Query(1, "queue", {"queue": "r"}), "there is no queue 'r'"),
    ):
        assert only(desk.say(CLIENT, message), Error) == Error(1, "invalid", text)


def test_queue_keeps_its_limit_over_a_restart() -> None:
    desk = Desk()
    desk.say(CLIENT, Command(1, "set-queue", {"queue": "q", "max_tasks": 1, "assign": "hash"}))
    desk.restart()

    (row,) = desk.query("queues")

    assert (row["max_tasks"], row["assign"]) == (1, "hash")
    assert desk.submit("a", 2).refused


def test_ping_is_answered_with_the_epoch() -> None:
    desk = Desk()
    desk.restart()

    assert desk.say(CLIENT, Ping(4)) == [Pong(4, 2)]


def test_tasks_are_listed_in_the_order_of_service() -> None:
    desk = Desk()
    desk.submit("a", 2)
    desk.submit("b", priority=9)

    assert [row["id"] for row in desk.query("tasks", limit=2)["rows"]] == ["b", "a#0"]
