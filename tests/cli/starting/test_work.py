"""`zq work`: real programs, what becomes of them, and that none is left."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import zq
from tests.cli.conftest import Invoke
from tests.cli.starting.watching import watched
from tests.cli.test_processes import process

PATIENCE = 60.0
"""Seconds for anything here; nothing needs a tenth of it."""

STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen(["sleep", "600"])
open(sys.argv[1] + ".part", "w").write("%d %d" % (os.getpid(), other.pid))
os.rename(sys.argv[1] + ".part", sys.argv[1])
other.wait()
"""
"""A program that does not listen to SIGTERM, and starts another one; it writes both numbers to a file."""


@pytest.fixture
def client(coordinator: zq.Coordinator) -> zq.Client:
    return zq.Client(coordinator.address)


def wait_until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def is_running(number: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def numbers_in(file: Path) -> list[int]:
    wait_until(file.exists)
    return [int(one) for one in file.read_text().split()]


def test_payload_is_standard_input_and_standard_output_is_the_result(client: zq.Client, invoke: Invoke) -> None:
    with client:
        receipt = client.submit("orders", {"pizza": "funghi", "größe": 1}, id="order-1", key="ann", headers={"a": "b"})
        code = 'cat; echo "$ZQ_TASK_ID $ZQ_QUEUE $ZQ_ATTEMPT $ZQ_TASK_KEY $ZQ_TASK_HEADERS"'

        result = invoke("work", "orders", "--burst", "--", "sh", "-c", code)

        assert result.exit_code == 0, result.stderr
        assert receipt.result(PATIENCE) == '{"pizza":"funghi","größe":1}\norder-1 orders 1 ann {"a": "b"}'
    assert "runs sh -c" in result.stderr


def test_nothing_is_said_to_run_before_there_is_a_coordinator(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    with watched(tmp_path, "work", "orders", "-a", address, "--", "sh", "-c", "cat; true") as command:
        command.line("no answer yet from", "; trying on")
        assert " runs " not in command.text
        with zq.Coordinator(tmp_path / "orders.zq", bind=address):
            command.line(" runs sh -c 'cat; true' for tasks of orders from ")
        assert "takes tasks of" not in command.text


def test_payload_is_arguments_and_standard_output_is_json(client: zq.Client, invoke: Invoke) -> None:
    program = "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"
    with client:
        receipts = client.submit_many("orders", [{"pizza": "a b;$(c)"}, {"pizza": ["x"]}])
        unknown = client.submit("orders", {"pasta": 1})

        invoke("work", "orders", "--result", "json", "--burst", "--", sys.executable, "-c", program, "{pizza}", "{{x}}")

        assert [one.result(PATIENCE) for one in receipts] == [[["a b;$(c)", "{x}"], ""], [['["x"]', "{x}"], ""]]
        with pytest.raises(zq.TaskFailedError, match=r"the payload has nothing at \{pizza\}"):
            unknown.result(PATIENCE)


def test_text_and_bytes_pass_as_they_are(client: zq.Client, invoke: Invoke) -> None:
    with client:
        receipts = client.submit_many("orders", ["funghi\n", b"\xff\x00", {"a": 1}, ""])

        invoke("work", "orders", "--input", "text", "--burst", "--", "cat")

        assert [one.result(PATIENCE) for one in receipts] == ["funghi", b"\xff\x00", '{"a":1}', None]


def test_exit_codes_are_outcomes(client: zq.Client, invoke: Invoke) -> None:
    codes = ["exit 0", "echo bad >&2; exit 65", "exit 75", "echo why >&2; exit 3", "kill -9 $$"]
    with client:
        for number, code in enumerate(codes):
            client.submit("orders", code, id=f"order-{number}", max_attempts=1 if number > 2 else 5, retry="none")

        result = invoke("work", "orders", "--input", "text", "--retry-in", "100", "--burst", "--", "sh")

        assert result.exit_code == 0, result.stderr
        found = {number: client.status(f"order-{number}") for number in range(len(codes))}
    assert [found[number].state for number in found] == ["done", "dead", "scheduled", "dead", "dead"]
    assert [found[number].attempts for number in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert "sh ended with exit code 65: bad" in str(found[1])
    assert "sh ended with exit code 3: why" in str(found[3])
    assert "Traceback" not in str(found[3])
    assert "sh died of signal 9 (SIGKILL)" in str(found[4])


def test_output_is_bounded_and_what_is_left_behind_is_ended(client: zq.Client, invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "left"
    with client:
        endless = client.submit("orders", "yes", max_attempts=1)
        behind = client.submit("orders", f"sleep 600 & echo $! > {file}; echo done")
        large = client.submit("orders", "head -c 900 /dev/zero | tr '\\0' x; head -c 9000000 /dev/zero >&2")

        invoke("work", "orders", "--input", "text", "--output-max", "1000", "--burst", "--", "sh")

        with pytest.raises(zq.TaskFailedError, match="sh printed more than 1000 bytes, and was ended"):
            endless.result(PATIENCE)
        assert behind.result(PATIENCE) == "done"
        assert large.result(PATIENCE) == "x" * 900
    assert not any(map(is_running, numbers_in(file)))


def test_what_is_no_json_is_a_failure(client: zq.Client, invoke: Invoke) -> None:
    with client:
        receipt = client.submit("orders", None, max_attempts=1)

        invoke("work", "orders", "--result", "json", "--burst", "--", "echo", "pizza")

        with pytest.raises(zq.TaskFailedError, match="echo printed what is no JSON"):
            receipt.result(PATIENCE)


def test_many_run_at_once_and_all_are_children_of_the_worker(
    client: zq.Client, coordinator: zq.Coordinator, tmp_path: Path
) -> None:
    """Each waits until all five are there, so that four at once would never end."""
    meet = 'touch "$0/$ZQ_TASK_ID"; while [ $(ls "$0" | wc -l) -lt 5 ]; do sleep 0.02; done; echo $PPID'
    arguments = ("work", "orders", "--concurrency", "5", "--", "sh", "-c", meet, str(tmp_path / "met"))
    (tmp_path / "met").mkdir()
    with client, process(*arguments, ZQ_ADDRESS=coordinator.address) as worker:
        receipts = client.submit_many("orders", [None] * 5)

        assert {int(one.result(PATIENCE)) for one in receipts} == {worker.pid}


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_cancel_and_timeout_end_the_program_and_what_it_started(
    client: zq.Client, coordinator: zq.Coordinator, tmp_path: Path
) -> None:
    command = ("--", sys.executable, "-c", STUBBORN, "{}")
    with (
        client,
        process(
            "work", "orders", "--concurrency", "2", "--kill-after", "0.1", *command, ZQ_ADDRESS=coordinator.address
        ),
    ):
        client.submit("orders", str(tmp_path / "cancelled"), id="cancelled")
        client.submit("orders", str(tmp_path / "slow"), id="slow", timeout=0.5, max_attempts=1)
        cancelled = numbers_in(tmp_path / "cancelled")
        client.cancel("cancelled")

        wait_until(lambda: client.status("slow").state == "dead")
        for number in (*cancelled, *numbers_in(tmp_path / "slow")):
            wait_until(lambda number=number: not is_running(number))  # type: ignore[misc]


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_first_signal_waits_for_what_runs_and_second_ends_it(
    client: zq.Client, coordinator: zq.Coordinator, tmp_path: Path
) -> None:
    command = ("--", sys.executable, "-c", STUBBORN, "{}")
    with client, process("work", "orders", *command, ZQ_ADDRESS=coordinator.address) as worker:
        client.submit("orders", str(tmp_path / "running"), id="running")
        client.submit("orders", str(tmp_path / "waiting"), id="waiting")
        numbers = numbers_in(tmp_path / "running")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: client.workers.list()[0].credit == 0)

        assert all(map(is_running, numbers))
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(PATIENCE) == 0
        assert not any(map(is_running, numbers))
        wait_until(lambda: client.status("running").state == "waiting")
    assert not (tmp_path / "waiting").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--", "no-such-program"], "there is no program no-such-program that can be run; no task was taken"),
        (["--", "sh", "-c", "bake {pizza}"], "would run what the payload says as code"),
        (["--retry-code", "3", "--bury-code", "3", "--", "cat"], "exit code 3 cannot make a dead letter and"),
        ([], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_run_is_said_before_a_task_is_taken(arguments: list[str], text: str, invoke: Invoke) -> None:
    result = invoke("work", "orders", *arguments)

    assert result.exit_code == 2
    assert text in result.stderr


def test_burst_without_a_coordinator_is_69(invoke_alone: Invoke) -> None:
    result = invoke_alone("work", "orders", "--burst", "--address", "tcp://127.0.0.1:1", "--", "cat")

    assert result.exit_code == 69
