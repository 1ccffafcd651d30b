"""Commands about recurring tasks, against a coordinator."""

from __future__ import annotations

import json
from typing import Any

import pytest

import zq
from tests.cli.conftest import Invoke


def shown(invoke: Invoke, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke("schedules", "show", name, "--json").stdout)
    return found


def test_schedule_is_made_shown_changed_paused_and_removed(invoke: Invoke) -> None:
    made = ["schedules", "add", "nightly", "reports", '{"kind": "all"}', "--every", "3600", "--unique", "nightly"]
    assert invoke(*made).exit_code == 0
    assert (shown(invoke, "nightly")["every"], shown(invoke, "nightly")["catch_up"]) == (3600.0, "one")
    assert invoke("schedules", "set", "nightly", "--every", "60", "--catch-up", "skip").exit_code == 0
    assert (shown(invoke, "nightly")["every"], shown(invoke, "nightly")["catch_up"]) == (60.0, "skip")
    assert invoke("schedules", "pause", "nightly").exit_code == 0
    assert shown(invoke, "nightly")["next_time"] is None
    fired = invoke("schedules", "run", "nightly").stdout.strip()
    assert json.loads(invoke("tasks", "show", fired, "--json").stdout)["queue"] == "reports"
    assert invoke("schedules", "resume", "nightly").exit_code == 0
    rows = [json.loads(line) for line in invoke("schedules", "ls", "--json").stdout.splitlines()]
    assert [(row["name"], row["queue"], row["fired"]) for row in rows] == [("nightly", "reports", 1)]
    assert invoke("schedules", "rm", "nightly").exit_code == 0
    assert invoke("schedules", "rm", "nightly").exit_code == 1
    assert invoke("schedules", "ls", "--json").stdout == ""


def test_cron_takes_a_time_zone(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    pytest.importorskip("cronsim", reason="the extra cron is not installed")
    invoke("schedules", "add", "noon", "reports", "{}", "--cron", "0 12 * * *", "--timezone", "Asia/Tokyo")

    assert shown(invoke, "noon")["next_time"] % 86_400 == 3 * 3600
    assert invoke("schedules", "set", "noon", "--timezone", "UTC").exit_code == 0
    assert shown(invoke, "noon")["next_time"] % 86_400 == 12 * 3600
    wrong = invoke("schedules", "add", "never", "reports", "{}", "--cron", "0 25 * * *")
    assert wrong.exit_code == 1
    assert "expected a cron expression" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["add", "a", "q", "{}"], 2, "expected either every or cron"),
        (["add", "a", "q", "{pizza}", "--every", "5"], 2, "expected JSON"),
        (["add", "a#1", "q", "{}", "--every", "5"], 2, "expected an id without"),
        (["set", "a"], 2, "nothing to set"),
        (["show", "a"], 1, "there is no schedule 'a'"),
        (["pause", "a"], 1, "there is no schedule 'a'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: list[str], code: int, text: str, invoke: Invoke) -> None:
    result = invoke("schedules", *arguments)

    assert result.exit_code == code
    assert text in result.stderr
