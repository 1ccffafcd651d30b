"""What people see in a terminal of any width: whole ids, whole headings, units, zones, and
tracebacks with their lines.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import zq
from tests.cli.conftest import Invoke
from tests.cli.test_output import read_all
from zq.cli.look.cells import block, cell, first_line
from zq.cli.look.screen import status_lines
from zq.cli.look.tables import columns_of, lay_out, wrapped
from zq.cli.output import exit_codes
from zq.cli.queues import QUEUE_COLUMNS

LONG = "a-queue-with-a-name-of-more-than-sixty-characters/which-is-possible"


def in_terminal(width: int, *arguments: str, **environment: str) -> str:
    """Runs a command of zq in a terminal of some columns; returns what it shows, without bold type."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    kept = {name: one for name, one in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    try:
        subprocess.run(
            [sys.executable, "-m", "zq", *arguments],
            stdin=end, stdout=end, stderr=end, check=True, timeout=60, env={**kept, "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(end)
        end = -1
        return re.sub(r"\x1b\[\d*m", "", read_all(terminal)).replace("\r\n", "\n")
    finally:
        os.close(terminal)
        if end >= 0:
            os.close(end)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """Returns the address of a coordinator with some of everything, and the ids of its dead letters."""
    folder: Path = tmp_path_factory.mktemp("shop")
    with (
        zq.Coordinator(folder / "z", bind=f"ipc://{folder}/socket") as coordinator,
        zq.Client(coordinator.address) as client,
    ):
        ids = []
        for number, queue in enumerate(("nobody2", "nobody3", LONG)):
            client.submit(queue, number, delay=3600.0, key="customer-" * 4)
            ids.append(client.submit(queue, number).id)
            client.dead.bury(ids[-1], "Traceback (most recent call last):\n  File x, line 1\nValueError: burnt\n")
        client.schedules.define("nightly", LONG, 1, every=90.0)
        yield coordinator.address, ids


LISTINGS = ["queues ls", "dead ls", "tasks ls", "workers ls", "schedules ls", "status", "status --all"]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_nothing_is_cut_or_broken_in_a_terminal(shop: tuple[str, list[str]], width: int) -> None:
    address, ids = shop
    shown = {one: in_terminal(width, *one.split(), ZQ_ADDRESS=address) for one in LISTINGS}

    for one, text in shown.items():
        assert max(map(columns_of, text.splitlines())) <= width, (one, text)
        assert "…" not in text
        assert "..." not in text
    assert all(id in shown["dead ls"].split() for id in ids)
    assert {"nobody2", "nobody3"} <= set(shown["queues ls"].split())
    assert LONG in "".join(
        re.sub(r"(\s+(\d[\d.]*|least-loaded))+$", "", line) for line in shown["queues ls"].splitlines()
    )
    heading = shown["queues ls"].splitlines()[0].split()
    assert heading[:2] == ["name", "waiting"]
    assert set(heading) <= set(QUEUE_COLUMNS)
    assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", shown["schedules ls"])) == 1


def test_columns_that_are_left_out_are_named(shop: tuple[str, list[str]]) -> None:
    text = in_terminal(60, "queues", "ls", ZQ_ADDRESS=shop[0])

    last = " ".join(text.splitlines()[-2:])
    assert last.startswith("(too narrow for assign, max_tasks, ")
    assert last.endswith(": --plain or --json has all)")


def test_plain_output_in_a_terminal_is_that_of_a_pipe(shop: tuple[str, list[str]]) -> None:
    for arguments in (["--plain", "queues", "ls"], ["queues", "ls", "--plain"]):
        lines = in_terminal(60, *arguments, ZQ_ADDRESS=shop[0], NO_COLOR="1").splitlines()
        assert lines[0].expandtabs(8).split()[-1] == "workers"
        assert "max_tasks" in lines[0]


def test_no_color_takes_only_colour_away(shop: tuple[str, list[str]]) -> None:
    with_colour, without = (
        in_terminal(80, "dead", "ls", ZQ_ADDRESS=shop[0], **given) for given in ({}, {"NO_COLOR": "1"})
    )

    assert with_colour == without
    assert "\t" not in without


def test_zone_stands_with_every_time(shop: tuple[str, list[str]]) -> None:
    for command in ("schedules ls", "schedules show nightly", f"tasks show {shop[1][0]}", f"tasks trace {shop[1][0]}"):
        text = in_terminal(160, *command.split(), ZQ_ADDRESS=shop[0], TZ="Asia/Kolkata")
        times = re.findall(r"\d\d:\d\d:\d\d(?:\.\d+)?(\S*)", text)
        assert times
        assert set(times) == {"+05:30"}


def test_tracebacks_have_their_lines(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        raise ValueError("burnt\x1b[2J")

    with worker:
        waited = invoke("submit", "orders", "1", "--id", "order-1", "--wait", "--max-attempts", "1")

    shown = [waited.stderr, *(invoke(*one, "order-1").stdout for one in (["tasks", "show"], ["dead", "show"], ["tasks", "trace"]))]  # fmt: skip
    for text in shown:
        lines = text.splitlines()
        assert any(re.fullmatch(r" +File \".*test_look.py\", line \d+, in bake", line) for line in lines), text
        assert any(line.strip() == 'raise ValueError("burnt\\x1b[2J")' for line in lines), text
        assert "\\n" not in text
        assert "\x1b" not in text


def test_units_are_for_terminals_and_numbers_for_pipes() -> None:
    fancy = {
        ("uptime", 302.0): "5 min 2 s",
        ("heard_ago", 3.42): "3.4 s",
        ("every", 90.0): "1 min 30 s",
        ("store.used_bytes", 1 << 20): "1 MiB",
        ("memory.max", 3 << 29): "1.5 GiB",
        ("waiting", 12345): "12345",
    }
    for (name, value), text in fancy.items():
        assert cell(name, value, is_fancy=True) == text
        assert float(cell(name, value, is_fancy=False)) == value
    assert cell("in", 0.41643677615011965, is_fancy=False) == "0.416"
    assert cell("in", 0.41643677615011965, is_fancy=True) == "416 ms"
    assert cell("key", None, is_fancy=True) == "-"


def test_line_of_a_traceback_that_says_most() -> None:
    assert first_line("Traceback (most recent call last):\n  File x\nValueError: burnt\n") == "ValueError: burnt"
    assert first_line("ValueError: burnt\n  File x") == "ValueError: burnt"
    assert block("a\x1b\n\tb\n") == ["    a\\x1b", "        b"]


def test_table_wraps_texts_before_it_leaves_columns_out() -> None:
    rows = [["t1", "one two three four five six seven eight nine ten", "7"]]

    table = lay_out(["id", "reason", "tries"], rows, 40, ["tries", "reason"])

    assert table.left_out == []
    assert table.lines == [
        "id  reason                         tries",
        "t1  one two three four five six        7",
        "    seven eight nine ten",
    ]


def test_table_leaves_columns_out_in_their_order_and_keeps_the_first() -> None:
    rows = [["i" * 30, "a" * 12, "b" * 12]]

    table = lay_out(["id", "state", "kind"], rows, 50, ["kind", "state"])
    narrow = lay_out(["id", "state", "kind"], rows, 20, ["kind", "state", "id"])

    assert (table.left_out, table.lines[1]) == (["kind"], f"{'i' * 30}  {'a' * 12}")
    assert (narrow.left_out, narrow.lines) == (["kind", "state"], ["id", "i" * 20, "i" * 10])


@pytest.mark.parametrize(
    "text", ["日本語の名前がとても長い", "e\u0301" * 30, "plain words and more of them", "x" * 100]
)
def test_wrapped_text_is_whole_and_fits(text: str) -> None:
    lines = wrapped(text, 9)

    assert all(columns_of(line) <= 9 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_screen_of_the_status_has_groups_and_limits_only_when_asked(coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit_many("orders", range(12))
        status, queues = client.query("status"), client.query("queues")

    lines = status_lines(status, queues, [], 80)
    everything = status_lines(status, queues, [], 80, with_all=True)

    assert lines[0].startswith(f"zq {zq.__version__}, up ")
    assert [line.split()[0] for line in lines if line][1:8] == [
        "waits",
        "runs",
        "ended",
        "store",
        "journal",
        "memory",
        "connections",
    ]
    assert "12 waiting, 0 scheduled, in 1 queue" in lines[2]
    assert any(line.split()[:2] == ["orders", "12"] for line in lines)
    assert not any("waits " in line and "50000" in line for line in lines)
    assert "peer_limits" in everything
    assert len(lines) <= 24


def test_pull_of_nothing_has_an_exit_code_of_its_own(invoke: Invoke) -> None:
    invoke("submit", "orders", "1")

    assert invoke("pull", "orders").exit_code == 0
    nothing = invoke("pull", "orders", "--for", "0.01", "--json")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (
        75,
        "",
        "zq: nothing waits in orders that could be taken now\n",
    )


def test_pulled_payloads_are_json(invoke: Invoke, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit("orders", {"nan": float("nan"), "raw": b"text"})

    row = json.loads(invoke("pull", "orders").stdout, parse_constant=pytest.fail)

    assert row["payload"] == {"nan": {"float": "nan"}, "raw": {"base64": "dGV4dA=="}}


def test_whoever_has_read_enough_ends_a_command_quietly(coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client:
        client.submit_many("orders", range(5000))
    command = f"{sys.executable} -m zq tasks ls --all | head -1; echo ${{PIPESTATUS[@]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "ZQ_ADDRESS": coordinator.address},
    )  # fmt: skip

    assert done.stdout.splitlines()[0].startswith("id\tqueue\t")
    assert (done.stdout.splitlines()[1:], done.stderr) == (["141 0"], "")


def test_events_end_when_their_time_is_over(invoke: Invoke) -> None:
    invoke("queues", "set", "orders", "--max-tasks", "5")

    for given in (["--for", "0.05"], ["--for", "60", "--idle", "0.05"], ["--idle", "0.05"]):
        shown = invoke("events", *given)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("zq queues sh", ["show"]),
        ("zq queues show no", ["nobody2", "nobody3"]),
        ("zq submit nobody2", ["nobody2"]),
        ("zq tasks ls --queue nobody", ["nobody2", "nobody3"]),
        ("zq schedules show n", ["nightly"]),
        ("zq cheat de", ["dead"]),
        ("zq tasks ls --state wai", ["waiting"]),
        ("zq workers ls --js", ["--json"]),
    ],
)
def test_names_are_completed(shop: tuple[str, list[str]], words: str, expected: list[str]) -> None:
    assert completed(words, shop[0]) == expected


def test_ids_are_completed(shop: tuple[str, list[str]]) -> None:
    address, ids = shop

    assert completed(f"zq dead show {ids[0][:-2]}", address) == [ids[0]]
    assert ids[1] in completed("zq tasks show ", address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", ""])
def test_completion_without_a_coordinator_is_silent(address: str) -> None:
    assert completed("zq queues show o", address or "ipc:///nowhere/at/all") == []


def completed(words: str, address: str) -> list[str]:
    """Returns what a shell is offered for the last word; nothing is said beside it."""
    at = words.count(" ")
    asked = {"_ZQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at), "ZQ_ADDRESS": address}
    done = subprocess.run(
        [sys.executable, "-m", "zq"],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **asked},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_offset_of_a_time_is_that_of_its_own_season(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        shown = [cell("next_time", wall, is_fancy=True) for wall in (1767268800.0, 1782907200.0)]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert shown == ["2026-01-01 07:00:00-05:00", "2026-07-01 08:00:00-04:00"]


def test_what_may_not_be_done_is_told_with_its_path_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), exit_codes():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/var/lib/zq")

    assert capsys.readouterr().err == (
        "zq: /var/lib/zq: Permission denied; `ls -ld` shows who may, and `id` who this is: "
        "take another place, or let this user in\n"
    )
