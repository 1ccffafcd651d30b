"""Commands that take tasks and end them, against a coordinator."""

from __future__ import annotations

import json
from typing import Any

import pytest

import zq
from tests.cli.conftest import Invoke


def pull(invoke: Invoke, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in invoke("pull", "orders", *options).stdout.splitlines()]


def test_pulled_tasks_are_ended_by_their_handles(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit_many("orders", ["a", "b", "c"], headers={"h": "1"}, retry="none", max_attempts=3)
        first, second, third = pull(invoke, "--max-tasks", "5")
        assert (first["payload"], first["attempt"], first["headers"]) == ("a", 1, {"h": "1"})
        assert invoke("pulled", "done", first["handle"], '{"baked": 1}').exit_code == 0
        assert invoke("pulled", "fail", second["handle"], "it burnt", "--retry-in", "3600").exit_code == 0
        assert invoke("pulled", "extend", third["handle"], "60").exit_code == 0
        assert invoke("pulled", "release", third["handle"]).exit_code == 0

        assert client.result(first["id"], 20) == {"baked": 1}
        assert [client.status(one["id"]).state for one in (second, third)] == ["scheduled", "waiting"]
        (again,) = pull(invoke)
        assert again["id"] == third["id"]
        assert invoke("pulled", "fail", again["handle"], "--final").exit_code == 0
        assert client.status(again["id"]).state == "dead"


@pytest.mark.parametrize("verb", [["done"], ["fail"], ["release"], ["extend", "60"]])
def test_stale_handle_is_refused_and_said_so(verb: list[str], invoke: Invoke) -> None:
    invoke("submit", "orders", "{}")
    (task,) = pull(invoke)
    invoke("pulled", "release", task["handle"])
    result = invoke("pulled", verb[0], task["handle"], *verb[1:])

    assert result.exit_code == 1
    assert "no longer" in result.stderr or "stale" in result.stderr


def test_second_word_about_a_task_is_refused_and_the_first_may_be_repeated(
    invoke: Invoke, coordinator: zq.Coordinator
) -> None:
    with zq.Client(coordinator.address) as client:
        receipt = client.submit("q", 1)
        handle = client.pull("q", wait=30.0)[0].handle
        assert invoke("pulled", "done", handle, '"a"').exit_code == 0
        assert invoke("pulled", "done", handle, '"a"').exit_code == 0
        for words in (("done", handle, '"b"'), ("done", handle), ("fail", handle)):
            result = invoke("pulled", *words)
            assert result.exit_code == 1
            assert "is no longer held here: it was done" in result.stderr
        assert receipt.result(timeout=30.0) == "a"


def test_empty_queue_prints_nothing_and_wrong_handles_are_usage(invoke: Invoke) -> None:
    assert pull(invoke) == []
    assert invoke("pulled", "done", "order-7").exit_code == 2
    assert "expected a handle such as" in invoke("pulled", "done", "order-7").stderr
    assert invoke("pull", "orders", "--lease", "43201").exit_code == 2


def test_tasks_whose_handles_nobody_has_read_go_back(
    invoke: Invoke, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[Any] = []

    def print_one(row: Any) -> None:
        if printed:
            raise KeyboardInterrupt
        printed.append(row)

    monkeypatch.setattr("zq.cli.pulling.print_json", print_one)
    with zq.Client(coordinator.address) as client:
        receipts = client.submit_many("orders", ["a", "b", "c"])
        invoke("pull", "orders", "--max-tasks", "3")

        assert [one.status().state for one in receipts] == ["leased", "waiting", "waiting"]
        assert [one.status().attempts for one in receipts] == [0, 0, 0]
