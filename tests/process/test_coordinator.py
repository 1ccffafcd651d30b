"""A real coordinator process: garbage on its port, a second one on its directory, a large backlog, and the everyday
path through public names.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

import zq
from tests.process.kitchen import Kitchen, kill, wait_until
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import DEFAULT_OPTIONS, Batch, Error, Heartbeat, Submit

GARBAGE = (
    b"",
    b"\x00",
    os.urandom(300),
    b"\x93\x02\x07\x01",  # another version
    b"\x93\x01\x63\x01",  # an unknown kind
    encode(Submit(1, (Batch("b", "q", DEFAULT_OPTIONS, b"\x02\0\0\0", b"xy"),)))[:-1],  # truncated
    encode(Submit(1, (Batch("b", "q", DEFAULT_OPTIONS, b"\x01\0\0\0" * 1001, b"x"),))),  # oversized
    b"\x91" * 5000,  # nested
    encode(Heartbeat(1, ())),  # from nobody
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_bytes(process: subprocess.Popen[bytes]) -> int:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_garbage_on_the_port_is_counted_and_the_coordinator_goes_on(kitchen: Kitchen) -> None:
    port = free_port()
    kitchen.address = f"tcp://127.0.0.1:{port}"
    process = kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit("orders", 1)
        _send_frames(kitchen.address)
        _send_raw(port)
        client.submit("orders", 2)
        counters = client.query("status")["counters"]

    assert process.poll() is None
    assert counters["accepted"] == 2
    assert counters["error malformed"] >= 4
    for code in ("version", "unknown-kind", "too-large", "say-hello"):
        assert counters[f"error {code}"] == 1, counters


def _send_frames(address: str) -> None:
    """Sends garbage in good ZeroMQ frames; each is answered by an error."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(address)
        for frame in GARBAGE:
            dealer.send(frame)
            assert dealer.poll(10_000), f"no answer to {frame[:20]!r}"
            answer = decode_from_coordinator(dealer.recv())
            assert isinstance(answer, Error), answer
        dealer.send_multipart([b"two", b"frames"])
        assert dealer.poll(10_000)
        assert isinstance(decode_from_coordinator(dealer.recv()), Error)


def _send_raw(port: int) -> None:
    """Sends what is not even ZeroMQ."""
    for data in (os.urandom(2000), b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            try:
                raw.sendall(data)
            except OSError:
                pass  # it was cut off, which is fine


def test_second_coordinator_on_a_directory_says_who_has_it_and_exits_1(kitchen: Kitchen) -> None:
    process = kitchen.start_coordinator()
    with kitchen.client() as client:
        client.ping()

    second = subprocess.run(
        [sys.executable, "-m", "zq.cli", "coordinator", "--data", str(kitchen.data), "--bind", "tcp://127.0.0.1:*"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 1
    assert f"is in use by process {process.pid} on " in second.stderr


def test_backlog_of_100_000_stays_on_disk_and_is_there_after_kill_9(kitchen: Kitchen) -> None:
    coordinator = kitchen.start_coordinator()
    with kitchen.client() as client:
        client.ping()
        empty = resident_bytes(coordinator) if sys.platform == "linux" else 0
        client.submit_many("orders", ({"n": i, "note": "x" * 200} for i in range(100_000)))
        if sys.platform == "linux":
            assert resident_bytes(coordinator) - empty < 100 << 20
        kill(coordinator)
        coordinator = kitchen.start_coordinator()
        client.submit("orders", "first after the restart", priority=9)

        assert client.query("status")["waiting"] == 100_001
        (urgent,) = client.pull("orders")
        assert urgent.payload == "first after the restart"
        urgent.done()
        if sys.platform == "linux":
            assert resident_bytes(coordinator) - empty < 100 << 20


def test_sigterm_ends_the_coordinator_with_0(kitchen: Kitchen) -> None:
    process = kitchen.start_coordinator()
    with kitchen.client() as client:
        client.ping()
    process.send_signal(signal.SIGTERM)

    assert kitchen.wait_end(process) == 0


def test_workers_and_clients_that_wait_go_on_after_the_coordinator_was_away(kitchen: Kitchen, tmp_path: Path) -> None:
    patient = ("--suspect-after", "30", "--gone-after", "60")  # however long the worker takes to be back
    coordinator = kitchen.start_coordinator(*patient)
    kitchen.start_worker("shop")
    with kitchen.client() as client:
        gate = tmp_path / "gate"
        receipt = client.submit("gated", {"gate": str(gate)})
        wait_until(lambda: kitchen.events(), "the task to start")
        kill(coordinator)
        kitchen.start_coordinator(*patient)
        gate.touch()

        token = receipt.result(timeout=60.0)

        assert [one for _, _, one in kitchen.events()] == [token, token]  # the same lease, claimed again
        assert client.query("status")["epoch"] == 2


WORKER = """
import os, subprocess, sys, time, zq
worker = zq.Worker()

@worker.task("forward")
def forward(task):
    for i in range(3):
        task.forward("boxes", {"box": i}, priority=i)
    if task.payload == "fail":
        raise ValueError("no boxes")

@worker.task("slow")
def slow(task):
    task.progress(0.25)
    open(task.payload, "w").close()
    while not task.cancelled:
        time.sleep(0.01)

@worker.task("crash")
def crash(task):
    if task.payload == "crash":
        os._exit(9)
    return task.payload

@worker.task("killed")
def killed(task):
    os.kill(os.getpid(), task.payload)

@worker.task("read")
def read(task):
    program = [sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"]
    return [sys.stdin.read(), int(subprocess.run(program, stdout=subprocess.PIPE).stdout)]

@worker.task("forever")
def forever(task):
    while True:
        pass
"""


@pytest.fixture
def shop(kitchen: Kitchen, tmp_path: Path) -> Any:
    """A coordinator, and a way to start the worker above."""
    (tmp_path / "counter.py").write_text(WORKER)
    kitchen.start_coordinator()

    def start(*options: str) -> subprocess.Popen[bytes]:
        return kitchen.start("worker", f"{tmp_path}/counter.py:worker", *options)

    return start


def test_forwarded_tasks_come_with_the_completion_and_not_with_a_failure(kitchen: Kitchen, shop: Any) -> None:
    shop("--processes", "0")
    with kitchen.client() as client:
        good = client.submit("forward", "good")
        bad = client.submit("forward", "fail", max_attempts=1)
        good.result(timeout=60.0)
        with pytest.raises(zq.TaskFailedError, match="ValueError: no boxes"):
            bad.result(timeout=60.0)

        boxes = client.pull("boxes", max_tasks=10, wait=1.0)

    assert [(box.payload["box"], box.priority) for box in boxes] == [(2, 2), (1, 1), (0, 0)]


def test_running_task_shows_its_progress_and_can_be_cancelled(kitchen: Kitchen, shop: Any, tmp_path: Path) -> None:
    shop("--processes", "0")
    with kitchen.client() as client:
        receipt = client.submit("slow", str(tmp_path / "started"))
        wait_until(lambda: client.status(receipt.id).progress == 0.25, "progress")

        assert client.cancel(receipt.id) == 1
        with pytest.raises(zq.TaskCancelledError):
            receipt.result(timeout=60.0)
        wait_until(lambda: not client.query("workers")[0]["held"], "the handler to end")


def test_child_process_that_crashes_is_charged_to_its_own_task_only(kitchen: Kitchen, shop: Any) -> None:
    shop("--processes", "2")
    with kitchen.client() as client:
        payloads = [*range(40), "crash", *range(40, 80)]
        receipts = client.submit_many("crash", payloads, max_attempts=3, retry="constant:0.01")
        results = []
        for receipt, payload in zip(receipts, payloads, strict=True):
            if payload == "crash":
                with pytest.raises(zq.TaskFailedError, match="ended with exit code 9"):
                    receipt.result(timeout=60.0)
                assert client.status(receipt.id).attempts == 3
            else:
                results.append(receipt.result(timeout=60.0))

    assert results == list(range(80))


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(9, id="SIGKILL"),
        pytest.param(
            40,
            id="a signal without a name",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="signal 40 is Linux's"),
        ),
    ],
)
def test_child_process_is_started_again_whatever_killed_it(kitchen: Kitchen, shop: Any, number: int) -> None:
    shop("--processes", "1")
    with kitchen.client() as client:
        with pytest.raises(zq.TaskFailedError, match=f"died of signal {number}"):
            client.submit("killed", number, max_attempts=1).result(timeout=20.0)

        assert client.submit("crash", "fine").result(timeout=20.0) == "fine"


def test_handler_in_a_child_process_has_an_empty_standard_input(kitchen: Kitchen, shop: Any) -> None:
    shop("--processes", "1")
    with kitchen.client() as client:
        for _ in range(2):
            assert client.submit("read", None).result(timeout=20.0) == ["", 0]


def test_handler_in_a_child_process_is_killed_at_its_timeout_and_the_heartbeat_goes_on(
    kitchen: Kitchen, shop: Any
) -> None:
    shop("--processes", "1")
    with kitchen.client() as client:
        receipt = client.submit("forever", None, timeout=0.5, max_attempts=2, retry="constant:0.01")
        with pytest.raises(zq.TaskFailedError, match=re.escape("ran longer than its timeout of 0.5 s")):
            receipt.result(timeout=60.0)

        assert client.query("status")["counters"].get("gone", 0) == 0
        assert client.submit("crash", "fine").result(timeout=60.0) == "fine"


def test_sigterm_drains_a_worker_and_gives_back_what_has_not_started(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.start_coordinator()
    worker = kitchen.start_worker("shop")
    gate = tmp_path / "gate"
    with kitchen.client() as client:
        receipts = client.submit_many("gated", [{"gate": str(gate)}] * 5)
        wait_until(lambda: kitchen.events(), "the first to start")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: client.query("status")["leased"] == 1, "the others to go back")
        time.sleep(0.1)
        gate.touch()

        assert kitchen.wait_end(worker) == 0
        assert client.query("workers") == []
        assert client.query("status")["done"] == 1
        assert client.query("status")["waiting"] == 4
        assert receipts[0].result(timeout=10.0) == kitchen.events()[0][2]


def test_second_signal_ends_a_worker_at_once_and_gives_back_what_runs(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.options = ("--gone-after", "600")  # what comes back does so because the worker said goodbye
    kitchen.start_coordinator()
    worker = kitchen.start_worker("shop")
    with kitchen.client() as client:
        client.submit("gated", {"gate": str(tmp_path / "never")})
        wait_until(lambda: kitchen.events(), "the task to start")
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: client.query("workers")[0]["credit"] == 0, "the worker to drain")
        worker.send_signal(signal.SIGTERM)

        assert kitchen.wait_end(worker) == 0
        assert client.query("workers") == []
        assert client.query("status")["waiting"] == 1


def test_cancelled_handler_in_a_child_process_is_told_and_may_end_by_itself(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    kitchen.start_worker("shop", "--processes", "1")
    with kitchen.client() as client:
        receipt = client.submit("patient", {})
        wait_until(lambda: _noted(kitchen, "start", receipt.id), "the task to start")
        assert receipt.cancel()
        wait_until(lambda: _noted(kitchen, "cancelled", receipt.id), "the handler to notice")

        assert client.submit("orders", {}).result(30.0) is not None
    assert len(list(kitchen.ledger.iterdir())) == 1  # one process, which was not killed


def test_cancelled_handler_in_a_child_process_that_does_not_end_is_killed(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    kitchen.start_worker("shop", "--processes", "1")
    with kitchen.client() as client:
        receipt = client.submit("gated", {"gate": "/nowhere"})
        wait_until(lambda: _noted(kitchen, "start", receipt.id), "the task to start")
        assert receipt.cancel()

        assert client.submit("orders", {}).result(30.0) is not None
        assert receipt.status().state == "cancelled"
    assert len(list(kitchen.ledger.iterdir())) == 2


def _noted(kitchen: Kitchen, event: str, id: str) -> bool:
    return any((event, id) == one[:2] for one in kitchen.events())
