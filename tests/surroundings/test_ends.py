"""What a handler or a stage has started ends with its process: at a timeout, a cancel, a crash, and the end of the
worker; unless it has a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import zq
from patterns import PipelineError
from tests.patterns.leftovers import is_alive
from tests.process.kitchen import PATIENCE, Kitchen, wait_until
from tests.surroundings import probes
from tests.surroundings.conftest import Ask
from tests.surroundings.shop import hurried


class Started:
    """The programs that a probe has started, as it notes them."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = str(ledger)

    def wait(self) -> list[int]:
        wait_until(lambda: "started" in self._lines(), "the programs to start")
        return [int(line) for line in self._lines() if line != "started"]

    def wait_ended(self) -> None:
        pids = self.wait()
        wait_until(lambda: not any(map(is_alive, pids)), f"the end of all of {pids}")

    def _lines(self) -> list[str]:
        return Path(self.ledger).read_text().split() if Path(self.ledger).exists() else []

    def kill(self) -> None:
        for line in self._lines():
            if line != "started":
                with suppress(ProcessLookupError):
                    os.kill(int(line), signal.SIGKILL)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path / "started")
    yield made
    made.kill()


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path / "others")
    yield made
    made.kill()


@pytest.fixture
def own(kitchen: Kitchen, tmp_path: Path) -> Iterator[tuple[zq.Client, subprocess.Popen[bytes]]]:
    """A worker with children that is this test's alone, and a client of it."""
    place = f"own-{tmp_path.name[-20:]}"
    worker = kitchen.start_in(None, "--namespace", place, "worker", "tests.surroundings.shop:worker", own_session=True)
    with zq.Client(kitchen.address, namespace=place, timeout=PATIENCE) as client:
        yield client, worker
    worker.kill()
    worker.wait()


def test_timeout_ends_what_the_handler_has_started(
    kitchen: Kitchen, asks: dict[str, Ask], started: Started, others: Started
) -> None:
    assert asks["child"]("start_and_return", others.ledger, "own") is None
    with zq.Client(kitchen.address, namespace="children", timeout=PATIENCE) as client:
        receipt = client.submit("plain", ["leave", started.ledger, "plain", "stubborn"], timeout=5.0, max_attempts=1)
        with pytest.raises(zq.TaskFailedError, match="ran longer than its timeout of 5 s"):
            receipt.result(PATIENCE)

    started.wait_ended()
    assert all(is_alive(pid) for pid in others.wait())


def test_cancel_ends_what_the_handler_has_started(kitchen: Kitchen, asks: dict[str, Ask], started: Started) -> None:
    with zq.Client(kitchen.address, namespace="children", timeout=PATIENCE) as client:
        receipt = client.submit("plain", ["leave", started.ledger, "plain", "stubborn"])
        started.wait()
        receipt.cancel()

    started.wait_ended()
    assert asks["child"]("note", f"{started.ledger}-next", "next") == "next"


def test_cancelled_call_of_an_executor_ends_what_it_has_started(started: Started) -> None:
    with zq.Executor(max_workers=1) as executor:
        future = executor.submit(probes.leave, started.ledger, "plain")
        started.wait()
        future.cancel()

        started.wait_ended()


@pytest.mark.parametrize("grade", ["direct", "durable"])
def test_timeout_of_a_stage_ends_what_it_has_started(grade: str, kitchen: Kitchen, started: Started) -> None:
    items = [["leave", started.ledger, "plain", "stubborn"]]
    run = (
        hurried.run(items, quiet=True) if grade == "direct" else hurried.run(items, quiet=True, address=kitchen.address)
    )
    with run, pytest.raises(PipelineError, match="ran longer than its timeout of 5 s"):
        list(run)

    started.wait_ended()


@pytest.mark.parametrize("kind", ["child", "coroutine child", "executor", "direct", "direct timed", "durable timed"])
def test_crash_ends_what_the_process_has_started(asks: dict[str, Ask], kind: str, started: Started) -> None:
    with pytest.raises((zq.TaskError, PipelineError), match=r"ended with exit code 7|lost"):
        asks[kind]("die", started.ledger, "plain", "stubborn")

    started.wait_ended()


@pytest.mark.parametrize("kind", ["child", "coroutine child", "executor", "direct timed", "durable timed"])
def test_crash_shows_though_a_copy_of_the_process_holds_its_pipes(
    asks: dict[str, Ask], kind: str, started: Started
) -> None:
    with pytest.raises((zq.TaskError, PipelineError), match="ended with exit code 7"):
        asks[kind]("die_held", started.ledger)

    started.wait_ended()


@pytest.mark.parametrize("kind", ["direct", "direct timed", "durable", "durable timed"])
def test_end_of_a_run_ends_what_its_stages_have_started(
    asks: dict[str, Ask], kind: str, started: Started, others: Started
) -> None:
    asks[kind]("start_and_return", started.ledger, "plain", "stubborn")
    asks[kind]("start_and_return", others.ledger, "own")

    started.wait_ended()
    assert all(is_alive(pid) for pid in others.wait())


def test_end_of_an_executor_ends_what_its_calls_have_started(started: Started) -> None:
    with zq.Executor(max_workers=1) as executor:
        executor.submit(probes.start_and_return, started.ledger, "plain", "stubborn").result(PATIENCE)

    started.wait_ended()


@pytest.mark.parametrize("queue", ["plain", "coroutine"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("how", ["idle", "busy"])
def test_end_of_a_worker_ends_what_its_handlers_have_started(
    own: tuple[zq.Client, subprocess.Popen[bytes]], queue: str, number: int, how: str, started: Started, others: Started
) -> None:
    client, worker = own
    client.submit(queue, ["start_and_return", others.ledger, "own"]).result(PATIENCE)
    probe = "leave" if how == "busy" else "start_and_return"
    receipt = client.submit(queue, [probe, started.ledger, "plain", "stubborn"], max_attempts=1)
    started.wait()
    if how == "idle":
        receipt.result(PATIENCE)
    worker.send_signal(number)
    if how == "busy" and number == signal.SIGTERM:  # it waits for what runs, until it is told again
        wait_until(lambda: client.query("workers")[0]["credit"] == 0, "the worker to drain")
        worker.send_signal(number)

    worker.wait(PATIENCE)
    started.wait_ended()
    assert all(is_alive(pid) for pid in others.wait())


@pytest.mark.parametrize("kind", ["direct", "direct timed", "durable", "durable timed"])
def test_death_of_a_caller_ends_what_the_stages_of_its_run_have_started(kind: str, started: Started) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.surroundings.program",
        kind,
        f'["leave", "{started.ledger}", "plain", "stubborn"]',
    ]
    caller = subprocess.Popen(command, start_new_session=True)
    started.wait()
    caller.kill()
    caller.wait()

    started.wait_ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("queue", ["plain", "coroutine"])
def test_signal_to_all_processes_of_a_worker_lets_it_finish_what_runs(
    own: tuple[zq.Client, subprocess.Popen[bytes]], queue: str, number: int, tmp_path: Path
) -> None:
    client, worker = own
    gate = tmp_path / "gate"
    receipt = client.submit(queue, ["wait_for", str(gate)], max_attempts=1)
    child = int(
        wait_until(lambda: gate.with_suffix(".at").exists() and gate.with_suffix(".at").read_text(), "the start")
    )
    os.killpg(worker.pid, number)  # as a terminal does
    if number == signal.SIGTERM:
        os.kill(child, number)  # as systemd does, unless it is told otherwise
    wait_until(lambda: client.query("workers")[0]["credit"] == 0, "the worker to drain")
    gate.touch()

    assert receipt.result(PATIENCE) == child
    assert worker.wait(PATIENCE) == 0


def test_files_of_a_child_are_not_those_of_what_it_starts(asks: dict[str, Ask]) -> None:
    for kind in ("child", "coroutine child", "executor", "direct", "direct timed", "durable", "durable timed"):
        assert asks[kind]("inherited_files") == [], kind
