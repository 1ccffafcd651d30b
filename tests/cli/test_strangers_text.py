"""What strangers have said is shown, and drives nothing: no terminal, no line of a log, no markup, no column."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.cli.conftest import Invoke
from zq.keys.logbook import escaped
from zq.processes.logs import FORMAT, LineFormatter
from zq.processes.shown import printable, shown_json

HOSTILE = "a\x1b[2J\x9b31m\x07\u202eevil\u2066\r\n2026-01-01 00:00:00,000 ERROR zq: forged\u2028[red]x[/red]\t\x7f"
"""Clears a screen, sets colours in two ways, turns the direction of writing, makes up a line of a log."""


def drives(text: str) -> list[str]:
    """Returns what of a text could drive a terminal."""
    return [one for one in text if not one.isprintable() and one not in "\n\t"]


@pytest.fixture
def ids(coordinator: zq.Coordinator) -> dict[str, str]:
    """Tasks that say hostile things wherever something can be said."""
    with zq.Client(coordinator.address) as client:
        told: dict[str, Any] = {"key": HOSTILE[:60], "headers": {"note": HOSTILE, "zz": HOSTILE}}
        waiting = client.submit("orders", {HOSTILE: [HOSTILE], "b": HOSTILE.encode()}, **told).id
        dead = client.submit("failing", HOSTILE, **told).id
        client.pull("failing")[0].fail(HOSTILE, is_final=True)
        done = client.submit("done", HOSTILE, **told).id
        client.pull("done")[0].done({"said": HOSTILE})
        client.submit("stale", HOSTILE, **told)
        [stale] = client.pull("stale")
        handle = stale.handle
        stale.fail(HOSTILE, is_final=True)
        client.schedules.define("daily", "orders", HOSTILE, every=3600, **told)
        client.topics.bind("orders.#", "orders", headers={"note": HOSTILE})
        client.group([HOSTILE], queue="parts", id="g")
        buried = client.submit("buried", 1).id
        client.dead.bury(buried, HOSTILE)
    return {"waiting": waiting, "dead": dead, "done": done, "handle": handle, "buried": buried}


COMMANDS = [
    *("status", "tasks ls --state any", "tasks ls --state dead", "tasks show {waiting} --payload", "tasks show {dead}"),
    *("tasks show {done}", "tasks trace {dead}", "tasks trace {buried}", "why {waiting}", "why {dead}", "dead ls"),
    *("queues ls", "queues show orders", "groups ls", "groups show g", "workers ls", "topics ls", "schedules ls"),
    *("schedules show daily", "pull orders", "pulled done {handle}", "pulled extend {handle} 5", "namespaces ls"),
    *("tasks retry {waiting}", "topics match orders.new", "events --idle 0.1"),
]


@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_drives_a_terminal(
    invoke: Invoke, ids: dict[str, str], command: str, is_json: bool
) -> None:
    arguments = command.format(**ids).split()
    if is_json and not {"pull", "pulled", "retry"} & set(arguments):
        arguments.append("--json")
    result = invoke(*arguments)

    assert drives(result.stdout) == drives(result.stderr) == []
    assert "ERROR zq: forged" not in [line[24:] for line in (result.stdout + result.stderr).splitlines()]
    if "--json" in arguments or command == "pull orders":
        for line in result.stdout.splitlines():
            json.loads(line)


def test_result_and_failure_of_a_submit_that_waits_are_shown(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    worker = zq.Worker(coordinator.address)

    @worker.task("mirror")
    def mirror(task: zq.Task) -> Any:
        return task.payload

    @worker.task("failing")
    def fail(task: zq.Task) -> None:
        raise zq.Bury(task.payload)

    with worker:
        done = invoke("submit", "mirror", json.dumps(HOSTILE), "--wait")
        failed = invoke("submit", "failing", json.dumps(HOSTILE), "--wait")

    assert json.loads(done.stdout) == HOSTILE
    assert drives(done.stdout + done.stderr + failed.stdout + failed.stderr) == []
    assert "forged" in failed.stderr


@pytest.mark.parametrize("text", [HOSTILE, "", "plain", "\U000e0001", "é\u0085"])
def test_json_that_is_escaped_says_the_same(text: str) -> None:
    document = json.dumps({text: [text]}, ensure_ascii=False)

    assert json.loads(shown_json(document)) == {text: [text]}
    assert drives(shown_json(document)) == []


def test_record_of_a_log_cannot_make_up_another_one() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("zq", logging.ERROR, "x", 1, "task %s failed", (HOSTILE,), sys.exc_info())
    text = LineFormatter(FORMAT).format(record)

    assert drives(text) == []
    beginnings = [line for line in text.split("\n") if re.match(r"\d{4}-\d\d-\d\d ", line)]
    assert len(beginnings) == 1
    assert "Traceback" in text


def test_log_of_a_worker_has_no_line_of_a_strangers(tmp_path: Path, coordinator: zq.Coordinator) -> None:
    (tmp_path / "shop.py").write_text(
        "import logging, zq\n"
        "worker = zq.Worker()\n"
        "@worker.task('orders')\n"
        "def bake(task):\n"
        "    logging.getLogger('shop').error('got %s', task.payload)\n"
    )
    with zq.Client(coordinator.address) as client:
        client.submit("orders", HOSTILE)
    command = [sys.executable, "-m", "zq.cli", "worker", "shop:worker", "--processes", "1", "--burst"]
    environment = {**os.environ, "ZQ_ADDRESS": coordinator.address}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True)

    text = result.stderr.decode()
    assert drives(text) == []
    assert "got a\\x1b[2J" in text
    assert not any(re.match(r"2026-01-01 00:00:00,000 ERROR", line) for line in text.splitlines())


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "..", "America", "a\0b", HOSTILE, "x" * 5000, ""])
def test_time_zone_of_a_stranger_is_no_file(coordinator: zq.Coordinator, zone: str) -> None:
    with (
        zq.Client(coordinator.address) as client,
        pytest.raises((zq.ZqError, ValueError), match="expected") as caught,
    ):
        client.schedules.define("daily", "orders", 1, cron="0 0 * * *", timezone=zone)
    assert drives(str(caught.value)) == []


def test_printable_escapes_what_turns_the_direction_of_writing() -> None:
    assert printable("\u202ea\u2066\x9b\u2028") == "\\u202ea\\u2066\\x9b\\u2028"


def test_line_about_a_refusal_stays_a_line() -> None:
    assert drives(escaped(HOSTILE)) == []
    assert "\n" not in escaped(HOSTILE)
    assert len(escaped("x" * 100_000)) < 2000
