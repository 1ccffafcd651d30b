"""`zq stat`, and `zq status --watch` and `zq top` where there is no terminal."""

from __future__ import annotations

import json

from tests.cli.conftest import Invoke
from zq.cli.output import UNREACHABLE, USAGE


def test_stat_prints_plain_numbers_into_a_pipe(invoke: Invoke) -> None:
    invoke("submit", "orders", "{}")
    result = invoke("stat", "--interval", "0.1", "--limit", "2")
    header, *lines = [line.split("\t") for line in result.stdout.splitlines()]

    assert header[:5] == ["time", "in/s", "out/s", "failed/s", "waiting"]
    assert [line[4] for line in lines] == ["1", "1"]
    assert {len(line) for line in lines} == {len(header)}


def test_stat_prints_json(invoke: Invoke) -> None:
    result = invoke("stat", "-i", "0.1", "-n", "1", "--json")
    row = json.loads(result.stdout)

    assert row["waiting"] == 0
    assert row["in"] == 0.0
    assert row["memory"] is None or row["memory"] > 0


def test_stat_without_a_coordinator_says_so(invoke_alone: Invoke) -> None:
    result = invoke_alone("stat", "-a", "tcp://127.0.0.1:9", "--timeout", "0.2")

    assert result.exit_code == UNREACHABLE


def test_top_without_a_terminal_says_what_to_do(invoke: Invoke) -> None:
    result = invoke("top")

    assert result.exit_code == USAGE
    assert "needs a terminal; zq stat prints a line a second" in result.stderr
