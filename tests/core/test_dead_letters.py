"""Dead letters: found, brought back at once and at a rate, to other queues, purged; burying (docs/semantics.md,
Failure).
"""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core import tables
from zq.wire.messages import Cancelled, Command, Error, Outcome, Pull, Wait
from zq.wire.retry import RetryPolicy

W = b"w-1"


def pull(desk: Desk, queue: str = "q", max_tasks: int = 1) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", queue, max_tasks, 0.0, 30.0)))


def kill(desk: Desk, id: str, error: str = "it burnt", queue: str = "q", **options: Any) -> None:
    """Submits a task and lets it die."""
    desk.submit(id, queue=queue, **options)
    (one,) = pull(desk, queue)
    assert one.id == id
    desk.settle(CLIENT, failed(one, error=error, is_final=True), credit=None)


def states(desk: Desk, *ids: str) -> list[str]:
    return [desk.task(id)["state"] for id in ids]


def refusal(desk: Desk, verb: str, **arguments: Any) -> str:
    desk.number += 1
    return only(desk.say(CLIENT, Command(desk.number, verb, arguments)), Error).text


def test_dead_letters_are_found_by_queue_and_by_text_of_their_reason() -> None:
    desk = Desk()
    kill(desk, "a", "TimeoutError: no oven")
    kill(desk, "b", "ValueError: burnt")
    kill(desk, "c", "TimeoutError: no cook", queue="other")

    def found(**arguments: Any) -> list[str]:
        return [row["id"] for row in desk.query("tasks", state="dead", **arguments)["rows"]]

    assert found() == ["a", "b", "c"]
    assert found(queue="q") == ["a", "b"]
    assert found(reason="timeouterror") == ["a", "c"]
    assert found(reason="timeouterror", queue="other") == ["c"]
    assert found(reason="flood") == []


def test_dead_letter_is_replayed_by_its_id() -> None:
    desk = Desk()
    kill(desk, "a")
    kill(desk, "b")

    assert desk.command("replay", id="b") == 1
    assert desk.command("replay", id="b") == 0
    assert states(desk, "a", "b") == ["dead", "waiting"]
    assert (desk.task("b")["attempts"], desk.task("b")["failures"]) == (0, 0)


def test_dead_letters_are_replayed_by_reason_in_their_old_places() -> None:
    desk = Desk()
    kill(desk, "a", "no oven")
    kill(desk, "b", "burnt")
    kill(desk, "c", "no oven")
    desk.submit("new")

    assert desk.command("replay", queue="q", reason="oven") == 2
    assert [one.id for one in pull(desk, max_tasks=9)] == ["a", "c", "new"]


def test_dead_letter_is_replayed_to_the_end_of_another_queue_and_known_by_its_id() -> None:
    desk = Desk()
    kill(desk, "a")
    desk.submit("first", queue="repair")

    assert desk.command("replay", queue="q", to="repair") == 1
    assert (desk.task("a")["queue"], desk.task("a")["state"]) == ("repair", "waiting")
    assert [desk.query("queue", queue=name)["dead"] for name in ("q", "repair")] == [0, 0]
    first, one = pull(desk, "repair", 9)
    assert (first.id, one.id) == ("first", "a")
    desk.settle(CLIENT, done(one, result="mended"), credit=None)
    (outcome,) = [sent for sent in desk.say(CLIENT, Wait(7, "a", 0, 1)) if isinstance(sent, Outcome)]
    assert [ended.outcome for ended in outcome.ended] == ["done"]


def test_task_of_a_batch_is_replayed_to_another_queue_and_its_batch_knows_its_end() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = pull(desk, max_tasks=3)
    desk.settle(CLIENT, done(one, 0, 1), failed(one, 1, is_final=True), done(one, 2, 3), credit=None)
    desk.command("replay", id="a#1", to="repair")
    (again,) = pull(desk, "repair")

    assert (again.id, again.lo) == ("a", 1)
    desk.settle(CLIENT, done(again, result="mended"), credit=None)
    (outcome,) = [sent for sent in desk.say(CLIENT, Wait(7, "a", 0, 3)) if isinstance(sent, Outcome)]
    assert sorted((ended.lo, ended.outcome) for ended in outcome.ended) == [(0, "done"), (1, "done"), (2, "done")]


def test_replay_at_a_rate_brings_back_one_after_the_other() -> None:
    desk = Desk()
    for number in range(5):
        kill(desk, f"t{number}")
    desk.command("start-replay", id="r", rate=0.5, queue="q")
    assert desk.query("queue", queue="q")["dead"] == 4  # the first at once
    assert desk.machine.next_at(desk.clocks()) <= desk.now + 2.0
    desk.wait(1.5)
    assert desk.query("queue", queue="q")["dead"] == 4
    desk.wait(0.5)
    assert desk.query("queue", queue="q")["dead"] == 3
    assert [(row["id"], row["moved"], row["rate"]) for row in desk.query("replays")] == [("r", 2, 0.5)]
    desk.wait(10.0)

    assert desk.query("queue", queue="q")["dead"] == 0
    assert desk.query("replays") == []


@pytest.mark.parametrize("rate", [0.3, 0.7, 1.1, 3.0, 7.0])
def test_replay_has_something_to_do_at_each_time_for_which_the_coordinator_wakes(rate: float) -> None:
    desk = Desk(gone_after=1e6, suspect_after=1e6)
    for number in range(30):
        kill(desk, f"t{number}", "no oven")
    desk.now = 1000.1
    desk.command("start-replay", id="r", rate=rate)
    for _ in range(32):
        desk.now = desk.machine.next_at(desk.clocks())
        desk.turn()

    assert desk.query("replays") == []


def test_replay_goes_on_after_a_restart_where_it_was() -> None:
    desk = Desk()
    for number in range(5):
        kill(desk, f"t{number}", "oven" if number != 2 else "burnt")
    desk.command("start-replay", id="r", rate=1.0, reason="oven", to="repair")
    desk.wait(1.0)
    desk.restart()
    assert [row["moved"] for row in desk.query("replays")] == [2]
    desk.wait(20.0)

    assert [one.id for one in pull(desk, "repair", 9)] == ["t0", "t1", "t3", "t4"]
    assert states(desk, "t2") == ["dead"]
    assert desk.query("replays") == []


def test_replay_that_is_asked_for_again_is_the_same_one() -> None:
    desk = Desk()
    kill(desk, "a")
    kill(desk, "b")
    desk.command("start-replay", id="r", rate=0.001)
    desk.command("start-replay", id="r", rate=0.001)

    assert len(desk.query("replays")) == 1


def test_replay_can_be_stopped() -> None:
    desk = Desk()
    for number in range(3):
        kill(desk, f"t{number}")
    desk.command("start-replay", id="r", rate=1.0)

    assert desk.command("stop-replay", id="r") is True
    assert desk.command("stop-replay", id="r") is False
    desk.wait(10.0)
    assert states(desk, "t0", "t1", "t2") == ["waiting", "dead", "dead"]


def test_replay_ends_although_what_it_brings_back_dies_again() -> None:
    desk = Desk(max_attempts=1)
    for number in range(3):
        kill(desk, f"t{number}")
    desk.wait(1.0)
    desk.command("start-replay", id="r", rate=2.0, to="repair")
    for _ in range(30):
        for one in pull(desk, "repair", 9):
            desk.settle(CLIENT, failed(one), credit=None)
        desk.wait(0.5)

    assert desk.query("replays") == []
    assert desk.query("queue", queue="repair")["dead"] == 3
    assert [event["event"] for event in desk.task("t0")["timeline"]] == ["dead", "revived", "dead"]


def test_purged_dead_letter_is_given_up_and_its_end_known() -> None:
    desk = Desk(keep_seconds=100.0)
    kill(desk, "a", "no oven")
    kill(desk, "b", "burnt")

    assert desk.command("purge-dead", reason="oven") == 1
    assert desk.command("retry", id="a") is False
    assert (desk.task("a")["state"], desk.task("a")["reason"]) == ("dead", "no oven")
    assert [row["id"] for row in desk.query("tasks", state="dead")["rows"]] == ["b"]
    assert desk.command("purge-dead", id="b") == 1
    assert desk.query("queue", queue="q")["dead"] == 0
    desk.wait(300.0, every=10.0)
    assert states(desk, "a", "b") == ["unknown", "unknown"]
    tx = desk.store.begin()
    assert not list(tx.scan(tables.HISTORY))


@pytest.mark.parametrize("place", ["waiting", "scheduled", "leased", "parked"])
def test_task_is_buried_wherever_it_is_and_its_holder_told(place: str) -> None:
    desk = Desk()
    sent = []
    if place == "leased":
        desk.hello(W, "w")
    if place == "parked":
        desk.submit("first", key="k", ordered=True)
    desk.submit("a", delay=60.0 if place == "scheduled" else 0.0, key="k", ordered=place == "parked")
    desk.number += 1
    sent = desk.turn((CLIENT, Command(desk.number, "bury", {"id": "a", "reason": "wrong street"})))

    task = desk.task("a")
    assert (task["state"], task["reason"], task["attempts"]) == ("dead", "wrong street", 0)
    assert [to for to, message in sent if isinstance(message, Cancelled)] == ([W] if place == "leased" else [])
    assert desk.command("bury", id="a") == 0
    assert desk.command("replay", id="a") == 1
    assert states(desk, "a") == ["leased" if place == "leased" else "waiting"]


def test_part_of_a_batch_is_buried() -> None:
    desk = Desk()
    desk.submit("a", 3)

    assert desk.command("bury", id="a#1") == 1
    assert states(desk, "a#0", "a#1", "a#2") == ["waiting", "dead", "waiting"]
    assert desk.command("bury", id="a") == 2
    assert desk.query("queue", queue="q")["dead"] == 3


def test_commands_on_dead_letters_refuse_what_cannot_be_in_words() -> None:
    desk = Desk()

    assert refusal(desk, "replay", queue="nowhere") == "there is no queue 'nowhere'"
    assert "expected rate from 0.001 to 100000, got 0" in refusal(desk, "start-replay", id="r", rate=0)
    assert "expected to of 1 to 128 bytes without spaces" in refusal(desk, "replay", to="two words")
    assert "expected id as text" in refusal(desk, "start-replay", rate=1.0)
    assert "expected reason as text" in refusal(desk, "purge-dead", reason=5)
    assert refusal(desk, "bury") == "expected text for id, got None"


def test_replayed_task_fails_and_waits_by_its_policy_again() -> None:
    desk = Desk()
    kill(desk, "a", retry=RetryPolicy.linear(10.0))
    desk.command("replay", id="a")
    desk.settle(CLIENT, failed(pull(desk)[0]), credit=None)

    assert desk.task("a")["due_time"] == pytest.approx(desk.wall + 10.0, abs=0.002)


def test_buried_task_is_not_handed_out_from_memory_and_comes_back_once() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    desk.command("bury", id="a")
    assert [one.id for one in pull(desk, max_tasks=9)] == ["b"]
    for _ in range(3):
        desk.command("replay", id="a")
        desk.command("bury", id="a")
    desk.command("replay", id="a")
    (one,) = pull(desk, max_tasks=9)
    desk.settle(CLIENT, done(one), credit=None)

    assert pull(desk, max_tasks=9) == []
    assert states(desk, "a") == ["done"]


def test_expired_task_that_its_queue_keeps_is_not_handed_out_from_memory() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", on_expired="dead")
    desk.submit("a", ttl=5.0)
    desk.wait(6.0)

    assert pull(desk) == []
    assert states(desk, "a") == ["dead"]


def test_dead_letters_do_not_vanish_by_restarts_time_or_a_full_queue() -> None:
    desk = Desk(keep_seconds=10.0, keep_seconds_min=1.0, keep_count=1, queue_tasks_max=2)
    for number in range(5):
        kill(desk, f"t{number}", "no oven")
    desk.restart()
    desk.wait(1000.0, every=50.0)
    desk.restart()

    assert [row["id"] for row in desk.query("tasks", state="dead")["rows"]] == [f"t{number}" for number in range(5)]
    assert [event["event"] for event in desk.task("t0")["timeline"]] == ["dead"]
