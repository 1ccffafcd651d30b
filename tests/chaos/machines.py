"""What stands around the processes of a run, and is injured in their place: a network, a clock, limits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.house import House
from tests.chaos.line_cuts import Proxy
from tests.chaos.networks import FAR, FAR_HOST, NEAR, NEAR_HOST, PORT, Network
from tests.process.test_coordinator import free_port
from tests.surroundings.disks import small_disk

FAKETIME: Final = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
"""Where distributions put it."""

DESCRIPTORS = 256

DISK_MIB = 64


@contextlib.contextmanager
def behind_a_proxy(house: House) -> Iterator[None]:
    """All that clients and workers say goes through a proxy."""
    port = free_port()
    house.served = f"tcp://127.0.0.1:{port}"
    house.proxy = Proxy(port)
    house.address = house.proxy.address
    try:
        yield
    finally:
        house.proxy.close()


@contextlib.contextmanager
def in_two_networks(house: House) -> Iterator[tuple[Network, Network]]:
    """The coordinator is at one end of a cable, the workers are at the other one; clients stay where they are, and a
    proxy, of which each end is in another network, takes what they say to it.
    """
    with contextlib.ExitStack() as around:
        near, far = Network(), Network()
        for one in (near, far):
            around.callback(one.close)
        near.ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", str(far.pid))
        for network, link, host in ((near, NEAR, NEAR_HOST), (far, FAR, FAR_HOST)):
            network.ip("addr", "add", f"{host}/24", "dev", link)
            network.ip("link", "set", link, "up")
            network.ip("link", "set", "lo", "up")
        house.networks = (near, far)
        house.served = f"tcp://{NEAR_HOST}:{PORT}"
        house.options += ("--insecure-bind",)
        house.before = near.inside
        house.before_workers = (*far.inside, "env", f"ZQ_ADDRESS={house.served}")
        proxy = Proxy(PORT, NEAR_HOST, enter=near.enter)
        around.callback(proxy.close)
        house.address = proxy.address
        around.callback(house.close)  # nobody must be there any more
        yield near, far


def no_false_clock() -> str | None:
    """Says why there is no clock that can be set, if there is none."""
    return None if _faketime() else "the library libfaketime is not installed"


def _faketime() -> str | None:
    return next((path for path in FAKETIME if Path(path).exists()), None)


@contextlib.contextmanager
def with_a_clock(house: House) -> Iterator[None]:
    """The wall clock of the coordinator, and of nobody else, can be set; its monotonic one goes on."""
    house.clock = house.place / "clock"
    house.clock.write_text("+0")
    found = _faketime()
    assert found is not None
    house.before += (
        "env",
        f"LD_PRELOAD={found}",
        f"FAKETIME_TIMESTAMP_FILE={house.clock}",
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    )
    yield


def no_disks() -> str | None:
    """Says why no disk can be mounted, if none can."""
    return "only root may mount a disk of its own" if os.geteuid() else None


@contextlib.contextmanager
def on_a_small_disk(house: House) -> Iterator[None]:
    """The directory of the coordinator is on a disk of its own."""
    with small_disk("tmpfs", house.place, mib=DISK_MIB) as disk:
        house.disk = disk
        house.data = disk.path / "orders.zq"
        try:
            yield
        finally:
            house.close()


@contextlib.contextmanager
def with_few_descriptors(house: House) -> Iterator[None]:
    """The coordinator may have few of them; it listens where libzmq waits for one, and does not end."""
    house.served = house.address = f"tcp://127.0.0.1:{free_port()}"
    house.before += ("bash", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "bash")
    yield
