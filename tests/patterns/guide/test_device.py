"""What every long-running pattern does the same: it starts, stops, reports its failures and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from patterns.guide import (
    LoadBalancer,
    MajordomoBroker,
    ParanoidPirateQueue,
    ParanoidPirateWorker,
    Publisher,
    VentilatorWorker,
)
from patterns.guide.device import Device
from patterns.sockets import make_socket
from tests.patterns.raw_peers import RawPeers, receive, wait_until
from zq import ClosedError


class Echo(Device):
    """Sends back what it gets; refuses `bad`, and breaks on `break`."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        super().__init__()
        self.address = address

    def _open(self) -> None:
        self.socket = self._make(zmq.ROUTER, self._receive)
        self.address = self._bind(self.socket, self.address)

    def _receive(self, frames: list[bytes]) -> None:
        if frames[1] == b"bad":
            raise ValueError("expected something good")
        if frames[1] == b"break":
            raise KeyError("a mistake of the program")
        self.socket.send_multipart(frames)


def test_leaving_the_context_ends_thread_and_sockets(peers: RawPeers) -> None:
    with Echo() as echo:
        client = peers.connect(zmq.DEALER, echo.address)
        client.send(b"one")
        assert receive(client) == [b"one"]
        [thread] = [one for one in threading.enumerate() if one.name == "zq-Echo"]
    assert not thread.is_alive()
    assert echo.socket.closed
    with Echo(echo.address) as again:  # the port is free
        assert again.address == echo.address


def test_run_serves_in_the_callers_thread_until_stop() -> None:
    echo = Echo()

    def stop_once_open() -> None:
        wait_until(echo._opened.is_set)
        echo.stop()

    stopper = threading.Thread(target=stop_once_open)
    stopper.start()
    echo.run()
    stopper.join()
    assert echo.socket.closed


def test_stop_before_run_ends_it_at_once() -> None:
    echo = Echo()
    echo.stop()
    echo.run()
    assert echo.socket.closed


def test_a_device_runs_once() -> None:
    with Echo() as echo:
        pass
    with pytest.raises(ClosedError, match="has run before; make a new one"):
        echo.run()


def test_an_address_that_is_taken_is_an_error_on_entering() -> None:
    with Echo() as echo, pytest.raises(OSError, match=r"cannot bind tcp://127\.0\.0\.1:"), Echo(echo.address):
        pass


def test_malformed_messages_are_counted_and_stop_nothing(peers: RawPeers) -> None:
    with Echo() as echo:
        client = peers.connect(zmq.DEALER, echo.address)
        for message in (b"bad", b"good", b"bad", b"better"):
            client.send(message)
        assert [receive(client), receive(client)] == [[b"good"], [b"better"]]
        assert echo.malformed == 2


def test_a_mistake_of_the_program_closes_it_and_comes_out(peers: RawPeers, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError, match="a mistake of the program"), Echo() as echo:
        peers.connect(zmq.DEALER, echo.address).send(b"break")
        wait_until(lambda: echo.socket.closed)
    assert "has failed and is closed" in caplog.text


def test_every_socket_is_bounded() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with make_socket(context, zmq.DEALER) as socket:
        values = [socket.getsockopt(option) for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER, zmq.MAXMSGSIZE)]
    context.term()
    assert all(isinstance(value, int) and value > 0 for value in values)


def test_a_socket_file_is_gone_afterwards(tmp_path: Path, peers: RawPeers) -> None:
    with Echo(f"ipc://{tmp_path}/echo") as echo:
        client = peers.connect(zmq.DEALER, echo.address)
        client.send(b"one")
        assert receive(client) == [b"one"]
    assert list(tmp_path.iterdir()) == []


def test_a_socket_file_that_another_has_bound_since_stays(tmp_path: Path) -> None:
    with Echo(f"ipc://{tmp_path}/echo"):
        (tmp_path / "echo").rename(tmp_path / "old")
        (tmp_path / "echo").touch()
    assert (tmp_path / "echo").exists()


TCP = "tcp://127.0.0.1:*"


@pytest.mark.parametrize(
    "make",
    [
        lambda _: LoadBalancer(frontend=TCP, backend=TCP),
        lambda _: MajordomoBroker(bind=TCP, address="tcp://127.0.0.1:9"),
        lambda folder: MajordomoBroker(bind=TCP, data=folder / "orders.zq"),
        lambda _: ParanoidPirateQueue(frontend=TCP, backend=TCP),
        lambda _: ParanoidPirateWorker("tcp://127.0.0.1:9", list),
        lambda _: Publisher(updates=TCP, snapshots=TCP),
        lambda _: VentilatorWorker("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", bytes),
    ],
    ids=["balancer", "broker", "embedded broker", "queue", "worker", "publisher", "ventilator worker"],
)
def test_no_device_leaves_a_descriptor_open(make: Callable[[Path], Device], tmp_path: Path) -> None:
    with make(tmp_path):
        pass  # what is opened once in a process is open now
    before = descriptors()
    with make(tmp_path):
        assert descriptors() > before
    wait_until(lambda: descriptors() <= before)


def descriptors() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


DEVICE = """
import signal
from patterns.guide import ParanoidPirateQueue
queue = ParanoidPirateQueue(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*")
signal.signal(signal.SIGTERM, lambda *_: queue.stop())
print("ready", flush=True)
queue.run()
print("stopped", flush=True)
"""


def test_a_signal_handler_may_stop_a_device_that_runs_in_the_main_thread() -> None:
    with subprocess.Popen([sys.executable, "-c", DEVICE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(20) == 0


def test_a_high_water_mark_without_limit_is_refused() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(ValueError, match="a high-water mark of at least 1"):
        make_socket(context, zmq.PUSH, high_water_mark=0)
    context.term()
