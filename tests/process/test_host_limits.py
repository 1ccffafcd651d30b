"""A coordinator process at the limits of its machine: descriptors and memory."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import wait_until
from tests.process.test_coordinator import free_port
from tests.server import raw

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what memory a process has")


class Cramped:
    """A coordinator with few descriptors."""

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.address = address
        self.log = path / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, soft: int, hard: int, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "zq.cli", "coordinator", "--data", str(self.path / "s.zq")]
        script = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *command, "--bind", self.address, *options], stderr=log, stdout=log
            )
        return self.process

    def connections(self, client: zq.Client) -> dict[str, Any]:
        found: dict[str, Any] = client.query("status")["connections"]
        return found


@pytest.fixture(params=["tcp", "ipc"])
def cramped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cramped]:
    address = f"tcp://127.0.0.1:{free_port()}" if request.param == "tcp" else f"ipc://{tmp_path}/socket"
    made = Cramped(tmp_path, address)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


def test_more_connections_than_descriptors_end_nothing_and_are_said_in_the_log(cramped: Cramped) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 600
    process = cramped.start(256, 256)
    with ExitStack() as opened, zq.Client(cramped.address) as client:
        client.ping()
        most = cramped.connections(client)["max"]
        assert 50 < most < 128
        for number in range(400):
            with suppress(OSError):  # turned away already
                opened.enter_context(raw.connect(cramped.address))
            if number % 20 == 0:
                client.ping()

        def come_once_more() -> Any:  # more may have been refused by the system than could be turned away
            with suppress(OSError):
                opened.enter_context(raw.connect(cramped.address))
            return cramped.connections(client)["cut"]

        wait_until(come_once_more, "some to be turned away")
        assert client.submit("q", 1).id
        assert cramped.connections(client)["open"] <= most

    with zq.Client(cramped.address) as client:
        wait_until(lambda: cramped.connections(client)["open"] == 1, "the connections to end")
        assert client.submit("q", 1).id
    assert process.poll() is None
    said = cramped.log.read_text()
    assert said.count("too many connections") == 1
    assert f"and {most} may be: more are turned away then" in said


def test_soft_limit_of_descriptors_is_raised_to_the_hard_one(cramped: Cramped) -> None:
    cramped.start(64, 500)
    with zq.Client(cramped.address) as client:
        client.ping()
        assert cramped.connections(client)["max"] > 64


@linux
def test_coordinator_with_more_memory_than_it_may_have_ends_in_words(cramped: Cramped) -> None:
    process = cramped.start(256, 256, "--memory-max-mib", "1")

    assert process.wait(60) == 1
    (said,) = [line for line in cramped.log.read_text().splitlines() if line.startswith("zq: ")]
    assert "MiB of memory and may have 1" in said
    assert "on disk" in said
    assert "Traceback" not in cramped.log.read_text()


HOST = """
import sys, threading, zq
sys.setswitchinterval(0.03)  # the thread of the coordinator has its turn thirty times a second
coordinator = zq.Coordinator(sys.argv[1], bind=sys.argv[2]).open()
print(coordinator.address, flush=True)
is_over = []
def spin():
    while not is_over:
        pass
busy = threading.Thread(target=spin)
busy.start()
sys.stdin.read()
is_over.append(True)
busy.join()
coordinator.close()
"""

BURST = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept, end = [], time.monotonic() + 2.0
while time.monotonic() < end and len(kept) < 500:
    one = socket.socket(socket.AF_INET if sys.argv[1].isdigit() else socket.AF_UNIX)
    one.settimeout(0.05)
    try:
        one.connect(("127.0.0.1", int(sys.argv[1])) if sys.argv[1].isdigit() else sys.argv[1].replace("@", chr(0)))
        kept.append(one)
    except OSError:
        one.close()
print(len(kept))
"""


@linux
@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_burst_of_connections_takes_no_descriptor_that_is_not_there(tmp_path: Path, kind: str) -> None:
    bind = "tcp://127.0.0.1:*" if kind == "tcp" else f"ipc://{tmp_path}/socket"
    script = 'ulimit -n 256 && exec "$@"'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", HOST, str(tmp_path / "s.zq"), bind]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, stderr=subprocess.PIPE) as host:
        assert host.stdout is not None
        address = host.stdout.readline().strip()
        with zq.Client(address) as client:
            client.ping()
            command = [sys.executable, "-c", BURST, re.split(":|//", address)[-1]]
            bursts = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
            connected = sum(int(one.communicate(timeout=60)[0]) for one in bursts)
            assert connected > 120, "more than come in without waiting"
            assert client.submit("q", 1).id
        with zq.Client(address) as client:  # who comes now is let in
            assert client.submit("q", 2).id
        _, said = host.communicate()
    assert host.returncode == 0, said
