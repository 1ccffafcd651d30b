"""Commands about whole queues: what they show before they do it, and that they ask."""

from __future__ import annotations

import json
import sys

import pytest
import typer

import zq
from tests.cli.conftest import Invoke
from tests.cli.test_commands import rows_of


@pytest.fixture
def full(coordinator: zq.Coordinator) -> None:
    """Fills a queue: 1,204 waiting, 3 scheduled."""
    with zq.Client(coordinator.address) as client:
        client.submit_many("orders", range(1204))
        client.submit_many("orders", range(3), delay=1000)


def waiting(invoke: Invoke, queue: str = "orders") -> tuple[str, str]:
    [row] = [row for row in rows_of(invoke("queues", "ls").stdout) if row["name"] == queue]
    return row["waiting"], row["scheduled"]


@pytest.mark.usefixtures("full")
def test_purge_shows_counts_and_wants_a_yes_where_nobody_can_be_asked(invoke: Invoke) -> None:
    result = invoke("queues", "purge", "orders")

    assert result.exit_code == 2
    assert "1,204 waiting, 3 scheduled: purge?" in result.stderr
    assert waiting(invoke) == ("1204", "3")


@pytest.mark.usefixtures("full")
def test_purge_asks_on_a_terminal(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(typer, "confirm", lambda text, err: asked.append(text))
    monkeypatch.setattr("zq.cli.arguments.sys", FakeSys)

    assert invoke("queues", "purge", "orders").exit_code == 1
    assert asked == ["1,204 waiting, 3 scheduled: purge?"]
    assert waiting(invoke) == ("1204", "3")


class FakeSys:
    """A process whose input is a terminal."""

    class stdin:  # noqa: N801 - as in sys
        @staticmethod
        def isatty() -> bool:
            return True

    stdout = sys.stdout


@pytest.mark.usefixtures("full")
def test_dry_run_prints_counts_and_does_nothing(invoke: Invoke) -> None:
    result = invoke("queues", "purge", "orders", "--dry-run")

    assert json.loads(result.stdout) == {"waiting": 1204, "parked": 0, "scheduled": 3}
    assert waiting(invoke) == ("1204", "3")


@pytest.mark.usefixtures("full")
def test_purge_ends_what_was_named(invoke: Invoke) -> None:
    result = invoke("queues", "purge", "orders", "--yes", "--state", "waiting")

    assert (result.exit_code, result.stderr) == (0, "purged 1,204 tasks\n")
    assert waiting(invoke) == ("0", "3")
    [row] = rows_of(invoke("queues", "operations").stdout)
    assert (row["kind"], row["queue"], row["tasks"], row["state"]) == ("purge", "orders", "1204", "done")


@pytest.mark.usefixtures("full")
def test_move_puts_tasks_into_the_other_queue(invoke: Invoke) -> None:
    assert invoke("queues", "move", "orders", "later", "--yes").stderr == "moved 1,207 tasks to later\n"
    assert waiting(invoke, "later") == ("1204", "3")


@pytest.mark.usefixtures("full")
def test_rm_refuses_a_queue_that_is_not_empty_unless_it_may_purge(invoke: Invoke) -> None:
    refused = invoke("queues", "rm", "orders", "--yes")
    assert refused.exit_code == 1
    assert "is not empty: 1204 wait, 3 are scheduled" in refused.stderr

    assert invoke("queues", "rm", "orders", "--purge", "--yes").stderr == "deleted orders\n"
    assert rows_of(invoke("queues", "ls").stdout) == []


def test_drained_queue_refuses_until_it_is_resumed(invoke: Invoke) -> None:
    assert "nothing are left" in invoke("queues", "drain", "orders").stderr
    assert "draining" in invoke("submit", "orders", "1").stderr
    invoke("queues", "resume", "orders")
    assert invoke("submit", "orders", "1").exit_code == 0


@pytest.mark.parametrize("command", ["pause", "resume", "drain"])
def test_queue_that_a_command_makes_is_said_to_be_new(invoke: Invoke, command: str) -> None:
    invoke("submit", "orders", "1")

    wrong, right = invoke("queues", command, "ordrs"), invoke("queues", command, "orders")

    assert (wrong.exit_code, right.exit_code) == (0, 0)
    new = "zq: there is no queue 'ordrs'; did you mean 'orders': a queue of this name is made\n"
    assert (new in wrong.stderr, "there is no queue" in right.stderr) == (True, False)


def test_queue_that_is_not_there_is_said_so(invoke: Invoke) -> None:
    assert "there is no queue" in invoke("queues", "purge", "nothing", "--yes").stderr
