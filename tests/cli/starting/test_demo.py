"""`zq demo`: an evening with a crash whose books add up, what is shown, and that no process is left."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

import zq
from tests.cli.starting.watching import PATIENCE, needs_proc, needs_tmux, processes_with, terminal, wait_for, watched
from zq.demo.customers import RETURNS_MAX, Street
from zq.demo.ledger import PizzaLedger
from zq.demo.pace import IN_HASTE

FREE = ("--bind", "tcp://127.0.0.1:*")


def test_books_add_up_after_a_crash() -> None:
    command = [sys.executable, "-m", "zq.cli", "demo", "--once", "--orders", "30", *FREE, "--no-dashboard", "--json"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.returncode == 0, done.stderr
    ledger = json.loads(done.stdout)
    assert ledger["faults"] == []
    assert (ledger["crashes"], ledger["lost"], ledger["duplicates"]) == (1, 0, 0)
    assert ledger["reassigned"] >= 1
    assert ledger["orders"] >= 31  # the party's, too: another one when it was ready before anybody looked


class FullShop:
    """A client whose orders are refused so often that a customer gives up."""

    def __init__(self) -> None:
        self.refusals = RETURNS_MAX + 2

    def submit(self, queue: str, payload: Any, **options: Any) -> BakedAtOnce:
        if queue == "orders" and self.refusals:
            self.refusals -= 1
            raise zq.BusyError(0.001, "the shop is full")
        return BakedAtOnce()


class BakedAtOnce:
    """Of an order that is baked at once."""

    position, eta = 1, None

    def result(self, timeout: float) -> Any:
        return {"pizza": "one for forty"}


@pytest.mark.parametrize(("is_party", "refused"), [(True, 0), (False, 1)])
def test_order_that_a_crash_waits_for_comes_back_until_it_is_taken(is_party: bool, refused: int) -> None:
    ledger, client = PizzaLedger(), FullShop()
    street = Street(cast("zq.Client", client), ledger, IN_HASTE, random.Random(1), lambda line: None)
    if is_party:
        street.order_for_party(1)

    street.open(0 if is_party else 1)

    assert street.fault is None
    assert (ledger.refused, ledger.delivered) == (refused, 1 - refused)


def test_evening_without_a_crash_ends_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_KEY", "of-another-coordinator.key")
    options = ("--once", "--no-crash", "--duration", "0.5", "--shops", "1", "--no-dashboard")
    with watched(tmp_path, "demo", *options, *FREE) as command:
        assert command.end() == 0
        assert "The books add up: nothing lost, nothing completed twice." in command.text
        assert "ZQ_KEY is for another coordinator" in command.text


def test_example_of_older_documents_is_the_same_evening() -> None:
    example = Path(__file__).parents[3] / "examples" / "pizza"
    options = ("--orders", "3", "--shops", "1", "--no-crash", "--no-dashboard", "--json", *FREE)

    done = subprocess.run(
        [sys.executable, str(example), *options], capture_output=True, text=True, timeout=PATIENCE, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["delivered"] == 3


@needs_proc
def test_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    with watched(tmp_path, "demo", *FREE, "--no-dashboard") as command:
        command.line("please sit down")
        command.process.kill()

        wait_for(lambda: not command.processes())


@needs_tmux
@needs_proc
@pytest.mark.parametrize("columns", [80, 160])
def test_terminal_shows_a_task_that_is_reassigned_and_its_page(columns: int, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the extra dashboard is not installed")
    with terminal(
        tmp_path, columns, "demo", "--once", "--orders", "1000", *FREE, "--dashboard-bind", "127.0.0.1:0"
    ) as screen:
        screen.line("has exploded (SIGKILL while baking): party-1 goes to another shop")
        page = screen.line("/#/tasks/party-1").strip("│ ")
        command = screen.line("zq tasks trace party-1 -a tcp://127.0.0.1:").strip("│ ")
        assert page.startswith("http://127.0.0.1:")
        with zq.Client(command.split()[-1]) as client:
            wait_for(lambda: {"lost", "done"} <= {one.event for one in client.trace("party-1")})
        assert all(len(line) <= columns for line in screen.lines)

        screen.press("C-c")
        screen.line("the shops close")
        screen.press("C-c")

        ended = screen.line("ended with ")
        assert ended.endswith(("130", "with 0"))  # 0: all had their pizza before the second Ctrl-C came
        wait_for(lambda: not processes_with(screen.mark))
        assert not any("Traceback" in line for line in screen.lines)


def test_shops_that_cannot_explode_are_refused() -> None:
    command = [sys.executable, "-m", "zq.cli", "demo", "--shops", "1"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.returncode == 2
    assert "expected 2 shops or more" in done.stderr
