"""Commands about dead letters, against a coordinator."""

from __future__ import annotations

import json

import pytest

import zq
from tests.cli.conftest import Invoke


@pytest.fixture
def dead(coordinator: zq.Coordinator) -> None:
    """Three dead letters: two without an oven, one burnt."""
    with zq.Client(coordinator.address) as client:
        for id, reason in (("a", "no oven"), ("b", "burnt"), ("c", "no oven")):
            client.submit("orders", {"pizza": id}, id=id)
            client.dead.bury(id, reason)


def states(coordinator: zq.Coordinator, *ids: str) -> list[str]:
    with zq.Client(coordinator.address) as client:
        return [client.status(id).state for id in ids]


@pytest.mark.usefixtures("dead")
def test_dead_letters_are_listed_by_reason(invoke: Invoke) -> None:
    rows = [json.loads(line) for line in invoke("dead", "ls", "--reason", "OVEN", "--json").stdout.splitlines()]

    assert [(row["id"], row["reason"], row["failures"]) for row in rows] == [("a", "no oven", 0), ("c", "no oven", 0)]


@pytest.mark.usefixtures("dead")
def test_dead_letters_are_replayed_by_id_by_reason_and_to_another_queue(
    invoke: Invoke, coordinator: zq.Coordinator
) -> None:
    assert invoke("dead", "replay", "b").stderr == "1 wait again\n"
    assert invoke("dead", "replay", "b").exit_code == 1
    assert (
        invoke("dead", "replay", "--queue", "orders", "--reason", "oven", "--to", "repair").stderr == "2 wait again\n"
    )
    assert states(coordinator, "a", "b", "c") == ["waiting"] * 3
    with zq.Client(coordinator.address) as client:
        assert client.status("a").queue == "repair"


@pytest.mark.usefixtures("dead")
def test_replay_at_a_rate_is_shown_and_stopped(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    started = json.loads(invoke("dead", "replay", "--rate", "0.001", "--json").stdout)
    shown = json.loads(invoke("dead", "replays", "--json").stdout)

    assert (shown["id"], shown["rate"], shown["moved"]) == (started["id"], 0.001, 1)
    assert invoke("dead", "stop", started["id"]).exit_code == 0
    assert invoke("dead", "stop", started["id"]).exit_code == 1
    assert states(coordinator, "a", "b", "c") == ["waiting", "dead", "dead"]
    assert invoke("dead", "replay", "a", "--rate", "1").exit_code == 2


@pytest.mark.usefixtures("dead")
def test_kick_brings_back_the_first_of_a_queue(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    assert invoke("dead", "kick", "orders", "2").stderr == "2 wait again\n"
    assert states(coordinator, "a", "b", "c") == ["waiting", "waiting", "dead"]


@pytest.mark.usefixtures("dead")
def test_purge_shows_how_many_before_it_does_it(invoke: Invoke) -> None:
    assert "give up 3 dead letters?" in invoke("dead", "purge").stderr
    assert len(invoke("dead", "ls", "--json").stdout.splitlines()) == 3
    assert invoke("dead", "purge", "--reason", "oven", "--yes").stderr == "2 given up\n"
    assert invoke("dead", "purge", "b").stderr == "1 given up\n"
    assert invoke("dead", "purge", "b").exit_code == 1


def test_task_is_buried_from_the_command_line(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}", "--id", "x")

    assert invoke("tasks", "bury", "x", "--reason", "wrong street").stderr == "buried 1\n"
    assert invoke("tasks", "bury", "x").exit_code == 1
    assert json.loads(invoke("tasks", "show", "x", "--json").stdout)["reason"] == "wrong street"
