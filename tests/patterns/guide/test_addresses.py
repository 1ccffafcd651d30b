"""Where the patterns bind and connect: IPv6 as well as IPv4, and never in the place of somebody who lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from patterns.guide import FreelanceClient, LoadBalancer, Sink, Subscriber, Ventilator
from patterns.guide.ventilator import VentilatorWorker
from tests.patterns.raw_peers import RawPeers, needs_ipv6, receive


@needs_ipv6
@pytest.mark.parametrize("place", ["tcp://[::1]:*", "tcp://localhost:*", "tcp://127.0.0.1:*"])
def test_bind_and_connect_take_numbers_of_both_kinds_and_names(place: str) -> None:
    with (
        Sink(results=place) as sink,
        Ventilator(tasks=place, sink=sink.results) as ventilator,
        VentilatorWorker(ventilator.tasks, sink.results, bytes.upper),
    ):
        ventilator.wait_workers(1, timeout=20)
        ventilator.send(b"a", timeout=20)
        ventilator.finish()

        assert list(sink.collect(20)) == [(0, b"A")]


@needs_ipv6
def test_a_device_binds_ipv6(peers: RawPeers) -> None:
    with LoadBalancer(frontend="tcp://[::1]:*", backend="tcp://[::1]:*") as balancer:
        assert balancer.frontend.startswith("tcp://[::1]:")
        assert balancer.backend.startswith("tcp://[::1]:")


BINDERS: list[Callable[[str], object]] = [
    lambda place: Sink(results=place),
    lambda place: Ventilator(tasks=place, sink="tcp://127.0.0.1:9"),
    lambda place: LoadBalancer(frontend=place, backend="tcp://127.0.0.1:*").run(),
]


@pytest.mark.parametrize("binder", BINDERS, ids=["sink", "ventilator", "device"])
def test_an_ipc_address_that_is_served_is_in_use_and_goes_on(
    peers: RawPeers, tmp_path: Path, binder: Callable[[str], object]
) -> None:
    place = f"ipc://{tmp_path}/socket"
    living, _ = peers.bind(zmq.PULL, place)

    with pytest.raises(OSError, match="Address already in use: another program serves there"):
        binder(place)

    peers.connect(zmq.PUSH, place).send(b"hello")
    assert receive(living) == [b"hello"]


def test_a_file_that_is_no_socket_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")

    with pytest.raises(FileExistsError, match="that is not a socket; remove it, or choose another address"):
        Sink(results=f"ipc://{tmp_path}/letter")

    assert (tmp_path / "letter").read_text() == "dear"


@pytest.mark.parametrize(
    "make",
    [
        lambda place: Sink(results=place),
        lambda place: Subscriber(updates=place, snapshots=place, topics=["a"]),
        lambda place: FreelanceClient([place]).request(b"x"),
    ],
    ids=["bind", "connect", "freelance"],
)
def test_a_path_that_is_too_long_is_refused_at_once(make: Callable[[str], object]) -> None:
    with pytest.raises((OSError, ValueError), match="File name too long"):
        make("ipc:///tmp/" + "é" * 60)


def test_a_forked_child_that_leaves_the_block_of_its_parent_removes_nothing(tmp_path: Path) -> None:
    with Sink(results=f"ipc://{tmp_path}/socket") as sink:
        pid = os.fork()
        if pid == 0:
            try:
                sink.close()
            finally:
                sys.stdout.flush()
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

        assert (tmp_path / "socket").is_socket()
