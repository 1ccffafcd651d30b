"""Logs as JSON."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zq
from zq.processes.logs import JsonFormatter, about_task

PATIENCE = 60.0
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def formatted(message: str, *arguments: object, **fields: Any) -> str:
    record = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, arguments, fields.pop("exc_info", None))
    record.__dict__.update(fields)
    return JsonFormatter().format(record)


def test_record_is_one_line_of_json_whatever_is_in_it() -> None:
    text = formatted("of %s", 'a\n\x1b[2J"\u202e')

    assert text.isprintable()
    assert json.loads(text)["message"] == 'of a\n\x1b[2J"\u202e'
    assert json.loads(text)["level"] == "warning"
    assert json.loads(text)["time"].endswith("+00:00")


def test_record_has_its_own_fields_before_those_of_the_context() -> None:
    token = about_task.set({"task": "a", "attempt": 2})
    try:
        found = json.loads(formatted("x", task="b", queue="orders"))
    finally:
        about_task.reset(token)

    assert (found["task"], found["queue"], found["attempt"]) == ("b", "orders", 2)
    assert "worker" not in found


def test_error_is_a_field_of_its_own() -> None:
    try:
        raise ValueError("burnt")
    except ValueError:
        found = json.loads(formatted("no", exc_info=sys.exc_info()))

    assert found["error"].endswith("ValueError: burnt")


@pytest.mark.parametrize("form", [("--processes", "1"), ("--concurrency", "2")], ids=["children", "threads"])
def test_what_a_handler_logs_says_which_task_it_is(form: tuple[str, str], tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data", bind=f"ipc://{tmp_path}/socket") as coordinator:
        with zq.Client(coordinator.address) as client:
            client.submit("plain", 1, id="plain-1", headers={"traceparent": TRACE})
            client.submit("coroutine", 2, id="coroutine-1")
            client.submit("odd", 3, id="odd-1")
        done = subprocess.run(
            [sys.executable, "-Wd", "-m", "zq.cli", "worker", "tests.telemetry.loud:worker", "--burst", *form],
            env={**os.environ, "ZQ_ADDRESS": coordinator.address, "ZQ_LOG_FORMAT": "json"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = {line["task"]: line for line in lines if line["logger"] == "loud" and "-1" in line.get("task", "")}
    told.pop("odd-1")

    assert told.keys() == {"plain-1", "coroutine-1"}
    assert {(line["worker"], line["attempt"]) for line in told.values()} == {("loud-1", 1)}
    assert told["plain-1"]["trace_id"] == "a" * 32
    assert "trace_id" not in told["coroutine-1"]
    (failure,) = [line for line in lines if "failed (attempt" in line["message"]]
    assert (failure["task"], failure["queue"], failure["worker"]) == ("coroutine-1", "coroutine", "loud-1")
    said = {line["message"].partition("\n")[0]: line for line in lines}
    assert {"%d pizzas", "odd %s", "b'no text at all'", "fields", "with a traceback"} <= said.keys()
    assert said["%d pizzas"]["error"].startswith("its arguments cannot be put in: TypeError at ")
    assert (said["fields"]["task"], said["fields"]["attempt"]) == ("a value of type Odd", "nan")
    assert "Stack (most recent call last)" in said["fields"]["stack"]
    assert any(line["logger"] == "py.warnings" and "this oven is old" in line["message"] for line in lines)
    assert "ZeroDivisionError" in said["thread oven ended by an exception"]["error"]


def test_coordinator_that_cannot_begin_says_so_in_the_form_of_its_log(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data", bind=f"ipc://{tmp_path}/socket"):
        done = subprocess.run(
            [sys.executable, "-m", "zq.cli", "coordinator", "--data", tmp_path / "data", "--log-format", "json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]

    assert done.returncode != 0
    assert line["level"] == "error"
    assert "is in use by process" in line["message"]


def test_worker_of_programs_logs_in_json_too(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data", bind=f"ipc://{tmp_path}/socket") as coordinator:
        with zq.Client(coordinator.address) as client:
            client.submit("orders", 1, id="orders-1", max_attempts=1)
        done = subprocess.run(
            [sys.executable, "-m", "zq.cli", "work", "orders", "--name", "shop", "--burst", "--", "false"],
            env={**os.environ, "ZQ_ADDRESS": coordinator.address, "ZQ_LOG_FORMAT": "json"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    (failure,) = [line for line in lines if "failed (attempt 1 of 1)" in line["message"]]
    assert {name: failure[name] for name in ("task", "queue", "worker", "attempt")} == {
        "task": "orders-1",
        "queue": "orders",
        "worker": "shop",
        "attempt": 1,
    }
