"""The gate of an `ipc://` address: who comes while it is shut waits, and who is there goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from zq.server.gate import SIP_INTERVAL, AddressGate
from zq.server.served_address import ServedAddress

PATIENCE = 30_000
"""Milliseconds."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is shut")


Made = Callable[[int], "zmq.Socket[bytes]"]


@pytest.fixture
def make() -> Iterator[Made]:
    """Makes sockets, which are closed at the end."""
    with zmq.Context() as context, ExitStack() as opened:
        yield lambda kind: opened.enter_context(context.socket(kind))


def receive(server: zmq.Socket[bytes]) -> bytes:
    assert server.poll(PATIENCE)
    return server.recv_multipart()[-1]


def test_who_comes_to_a_gate_that_is_shut_waits_and_who_is_there_goes_on(make: Made, tmp_path: Path) -> None:
    server, early, late = make(zmq.ROUTER), make(zmq.DEALER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket")
    gate = served.gate
    assert isinstance(gate, AddressGate)
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["socket"]
    early.connect(served.address)
    early.send(b"hello")
    assert receive(server) == b"hello"
    gate.shut()
    late.connect(served.address)
    late.send(b"here I am")
    early.send(b"again")
    assert receive(server) == b"again"
    assert not server.poll(200)
    now = 0.0
    while not server.poll(1):  # some are let in each time
        now += 2 * SIP_INTERVAL
        gate.sip(now)
    assert receive(server) == b"here I am"
    assert gate.is_shut
    served.leave()
    assert list(tmp_path.iterdir()) == []


def test_address_is_bound_again_with_a_gate_of_its_own(make: Made, tmp_path: Path) -> None:
    server, peer = make(zmq.ROUTER), make(zmq.DEALER)
    served = ServedAddress(server, f"ipc://{tmp_path}/socket")
    assert served.gate is not None
    served.gate.shut()
    former = served.gate
    served.renew()
    assert served.gate is not former
    former.open()  # it touches nothing any more
    peer.connect(served.address)
    peer.send(b"hello")
    assert receive(server) == b"hello"
    served.leave()


def test_only_addresses_with_a_file_have_a_gate() -> None:
    assert [AddressGate.of(one) for one in ("tcp://127.0.0.1:*", "ipc://@name", "ipc://*", "inproc://x")] == [None] * 4
