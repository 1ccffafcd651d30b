"""What is printed where: tables for people, columns for programs, and nothing that drives a terminal."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys

import pytest

from zq.cli.output import print_json, print_rows
from zq.processes.shown import printable

ROWS = [
    {"id": "t1", "queue": "orders", "rate": 1.25, "key": None},
    {"id": "t2", "queue": "boxes", "rate": 0.0, "key": "k"},
]

HOSTILE = "\x1b[2J[bold]\t[/nothing]"


def test_rows_in_a_pipe_are_tab_separated_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, ["id", "queue", "key"], as_json=False)

    assert capsys.readouterr().out == "id\tqueue\tkey\nt1\torders\t-\nt2\tboxes\tk\n"


def test_rows_as_json_are_one_object_a_line_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, ["id"], as_json=True)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_control_characters_of_peers_do_not_reach_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"key": HOSTILE}], ["key"], as_json=False)

    assert capsys.readouterr().out == "key\n\\x1b[2J[bold]\\t[/nothing]\n"


@pytest.mark.parametrize("text", ["", "plain", "grüße ☺"])
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\x00\xff", '{"base64": "AP8="}'),
        ({"box": [b"\x00"]}, '{"box": [{"base64": "AA=="}]}'),
        ({b"\x01": 1, 2: 3, None: 4, True: 5}, '{"base64:AQ==": 1, "2": 3, "null": 4, "true": 5}'),
        ([math.nan, math.inf, -math.inf, 1.5], '[{"float": "nan"}, {"float": "inf"}, {"float": "-inf"}, 1.5]'),
    ],
)
def test_what_json_does_not_have_is_said_in_json(value: object, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    print_json(value)

    text = capsys.readouterr().out
    assert text == f"{shown}\n"
    json.loads(text, parse_constant=refuse)


def test_a_terminal_gets_a_table_without_markup_or_control_characters_of_peers() -> None:
    shown = show_on_terminal({})

    assert "\\x1b[2J[bold]\\t[/nothing]" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b[1m" in shown  # the heading is bold


def test_no_color_leaves_a_terminal_plain() -> None:
    assert "\x1b[" not in show_on_terminal({"NO_COLOR": "1"})


def show_on_terminal(environment: dict[str, str]) -> str:
    """Prints a hostile row in a process whose stdout is a terminal; returns what the terminal got."""
    code = f"from zq.cli.output import print_rows; print_rows([{{'key': {HOSTILE!r}}}], ['key'], as_json=False)"
    reader, writer = pty.openpty()
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    inherited |= {"TERM": "xterm", "COLUMNS": "100", **environment}
    try:
        subprocess.run([sys.executable, "-c", code], stdout=writer, check=True, env=inherited)
        os.close(writer)
        writer = -1
        return read_all(reader)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def read_all(descriptor: int) -> str:
    found = b""
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # Linux says so when the other end of a terminal is closed
            part = b""
        if not part:
            return found.decode()
        found += part
