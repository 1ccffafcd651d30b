"""A port is one wherever an address is taken, to bind it or to connect to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import zmq

from patterns import sockets
from patterns.direct.places import split_endpoint
from zq.processes import bound_address
from zq.server.embedded import Coordinator
from zq.server.loop import Server
from zq.sockets.link import resolve_address
from zq.wire.address import check_address, check_bind_address


def bind(address: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        bound_address.bind(socket, address)


def connect(address: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        sockets.connect(socket, address)


TAKERS: dict[str, Callable[[str], object]] = {
    "client": resolve_address,
    "check_address": check_address,
    "check_bind_address": check_bind_address,
    "server": lambda address: Server("unused", bind=address),
    "embedded": lambda address: Coordinator("unused", bind=address),
    "bind": bind,
    "connect": connect,
    "split_endpoint": split_endpoint,
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("port", ["0", "65536", "99999", "100000", "-1", "7x", "", "\u0663"])
def test_port_that_cannot_be_is_refused_everywhere(taker: str, port: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        TAKERS[taker](f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("taker", ["client", "check_address", "check_bind_address", "split_endpoint", "connect"])
@pytest.mark.parametrize("port", [1, 7700, 65535])
def test_port_from_1_to_65535_is_taken(taker: str, port: int) -> None:
    TAKERS[taker](f"tcp://127.0.0.1:{port}")
