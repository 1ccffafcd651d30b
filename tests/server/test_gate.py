"""The gate of an `ipc://` address: who comes waits to be let in, and who is there goes on."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest
import zmq

from zq.server.bell import Bell
from zq.server.gate import AWAITED_INTERVAL, SIP_INTERVAL, WAITING_MAX, AddressGate
from zq.server.host import SPARE_DESCRIPTORS, HostOptions, batch_max
from zq.server.served_address import ServedAddress

PATIENCE = 30_000
"""Milliseconds."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no gate")


Made = Callable[[int], "zmq.Socket[bytes]"]


@pytest.fixture
def make() -> Iterator[Made]:
    """Makes sockets, which are closed at the end."""
    with zmq.Context() as context, ExitStack() as opened:
        yield lambda kind: opened.enter_context(context.socket(kind))


def receive(server: zmq.Socket[bytes]) -> bytes:
    assert server.poll(PATIENCE)
    return server.recv_multipart()[-1]


def come_in(served: ServedAddress, server: zmq.Socket[bytes], peer: zmq.Socket[bytes]) -> None:
    peer.connect(served.address)
    peer.send(b"hello")
    while not server.poll(1):
        open_gate(served).let_in(0.0, is_crowded=False)
    assert receive(server) == b"hello"


def open_gate(served: ServedAddress) -> AddressGate:
    assert isinstance(served.gate, AddressGate)
    return served.gate


def test_only_a_batch_comes_in_and_those_who_come_then_wait(make: Made, tmp_path: Path) -> None:
    server, early, late = make(zmq.ROUTER), make(zmq.DEALER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket", 8)
    gate = open_gate(served)
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["socket"]
    early.connect(served.address)
    early.send(b"hello")
    while not server.poll(1):
        gate.let_in(0.0, is_crowded=False)
    assert receive(server) == b"hello"
    late.connect(served.address)
    late.send(b"here I am")
    early.send(b"again")
    assert receive(server) == b"again"
    gate.wait(1.0)
    for _ in range(20):
        gate.let_in(1.0 + SIP_INTERVAL / 2, is_crowded=True)
        assert not server.poll(5)
    while not server.poll(1):
        gate.let_in(1.0 + SIP_INTERVAL, is_crowded=True)
    assert receive(server) == b"here I am"
    assert gate.is_busy
    served.leave()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_no_more_come_in_than_may_wait_however_many_come(make: Made, tmp_path: Path, is_abstract: bool) -> None:
    name = f"@zq-{tmp_path.parent.name}-{tmp_path.name}-{os.getpid()}" if is_abstract else f"{tmp_path}/socket"
    served = ServedAddress(make(zmq.ROUTER), f"ipc://{name}", 8)
    gate = open_gate(served)
    monitored = served._socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
    with ExitStack() as opened:
        came = 0
        for _ in range(100):
            one = opened.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            try:
                one.connect("\0" + name[1:] if is_abstract else name)
            except BlockingIOError:
                continue
            came += 1
        assert came == 9, "eight may wait, and one"
        assert not monitored.poll(50), "nobody comes in by himself"
        heard = 0
        while heard < came:
            gate.let_in(0.0, is_crowded=False)
            while monitored.poll(1):
                monitored.recv_multipart()
                heard += 1
    served._socket.disable_monitor()
    monitored.close(0)
    served.leave()


def test_names_of_others_beside_the_path_are_passed_by_and_stay(
    make: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = cycle(["folder", "letter", "alive"])
    monkeypatch.setattr("zq.server.gate._hidden_beside", lambda path: str(path.with_name(next(names))))
    server = make(zmq.ROUTER)
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(f"{tmp_path}/alive")
        (tmp_path / "folder").mkdir()
        (tmp_path / "letter").write_text("precious")
        served = ServedAddress(server, f"ipc://{tmp_path}/socket", 8)
        made = (tmp_path / "socket").stat().st_ino
        for _ in range(2):
            come_in(served, server, make(zmq.DEALER))
            assert (tmp_path / "socket").stat().st_ino == made
        assert caplog.text.count("no other socket can take the place of") == 1
        monkeypatch.setattr("zq.server.gate._hidden_beside", lambda path: str(path.with_name("free")))
        come_in(served, server, make(zmq.DEALER))
        assert (tmp_path / "socket").stat().st_ino != made
        served.leave()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["alive", "folder", "letter"]
    assert (tmp_path / "letter").read_text() == "precious"


def test_rights_that_were_given_after_the_start_outlast_who_connects(make: Made, tmp_path: Path) -> None:
    server, path = make(zmq.ROUTER), tmp_path / "socket"
    served = ServedAddress(server, f"ipc://{path}", 8)
    made = path.stat().st_ino
    path.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(path, 4321, 1234)
    given = path.stat()
    come_in(served, server, make(zmq.DEALER))
    found = path.stat()
    assert found.st_ino != made
    assert (found.st_mode, found.st_uid, found.st_gid) == (given.st_mode, given.st_uid, given.st_gid)
    served.leave()


@pytest.mark.parametrize("size", [6, 107], ids=["short", "long"])
def test_where_no_bell_can_ring_anybody_comes_in(
    make: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def ring(self: Bell) -> None:
        raise FileNotFoundError(errno.ENOENT, "there is no /proc")

    monkeypatch.setattr(Bell, "ring", ring)
    server, name = make(zmq.ROUTER), "s" * max(6, size - len(f"{tmp_path}/"))
    served = ServedAddress(server, f"ipc://{tmp_path}/{name}", 8)
    come_in(served, server, make(zmq.DEALER))
    served.leave()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told", ["pos:\t0\nflags:\t02\n", None], ids=["without", "unreadable"])
def test_where_the_system_does_not_tell_who_is_waited_for_all_come_in(
    make: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    def read(path: Path) -> str:
        assert path.parent.name == "fdinfo"
        if told is None:
            raise PermissionError(errno.EACCES, "no")
        return told

    server, peer = make(zmq.ROUTER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket", 8)
    monkeypatch.setattr("pathlib.Path.read_text", read)
    peer.connect(served.address)
    peer.send(b"hello")
    now = 0.0
    while not server.poll(1):
        now += AWAITED_INTERVAL
        open_gate(served).let_in(now, is_crowded=False)
    assert receive(server) == b"hello"
    served.leave()


def test_bell_is_silent_whoever_has_come_and_closes_what_is_left_of_it(tmp_path: Path) -> None:
    bell = Bell(f"{tmp_path}/bell")
    with socket.socket(socket.AF_UNIX) as stranger:
        assert not list(tmp_path.iterdir())
        stranger.connect(f"/proc/self/fd/{bell._place}")
        bell.ring()
        bell.silence()
        assert not bell.is_ringing
        with pytest.raises(BlockingIOError):
            bell._listener.accept()
    bell.ring()
    place = bell._place
    os.close(bell.number)
    bell.close()
    assert bell._guest is not None
    assert bell._guest.fileno() == -1
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_became_another_user_lets_peers_in(make: Made, tmp_path: Path) -> None:
    server, peer = make(zmq.ROUTER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket", 8)
    monitored = peer.get_monitor_socket(zmq.EVENT_CONNECTED)
    peer.connect(served.address)
    assert monitored.poll(PATIENCE)
    peer.send(b"hello")
    os.seteuid(65534)
    try:
        for _ in range(1000):
            open_gate(served).let_in(0.0, is_crowded=False)
            if server.poll(1):
                break
        assert receive(server) == b"hello"
    finally:
        os.seteuid(0)
        peer.disable_monitor()
        monitored.close(0)
        served.leave()


def test_address_is_bound_again_with_a_gate_of_its_own(make: Made, tmp_path: Path) -> None:
    server, peer = make(zmq.ROUTER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket", 8)
    former = open_gate(served)
    served.renew()
    assert served.gate is not former
    former.let_in(0.0, is_crowded=False)  # it touches nothing any more
    come_in(served, server, peer)
    served.leave()


@pytest.mark.parametrize("limit", [1, 64, 128, 256, 1024, 2048, 4096, 8192, 65536, 1 << 20])
def test_whole_batch_fits_when_there_are_as_many_as_may_be(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.processes.descriptors.limit", lambda: limit)
    monkeypatch.setattr("zq.processes.descriptors.used", lambda: 20)
    coming = min(batch_max(), WAITING_MAX) + 1
    assert HostOptions().connections() + coming <= max(limit - 20 - SPARE_DESCRIPTORS, 3)


def test_only_addresses_of_this_system_have_a_gate() -> None:
    assert [AddressGate.of(one, 8) for one in ("tcp://127.0.0.1:*", "ipc://*", "inproc://x")] == [None] * 3
