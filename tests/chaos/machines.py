"""What stands around the processes of a run, and is injured in their place: a network, a clock, limits."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.house import House
from tests.chaos.line_cuts import Proxy
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

_numbers = itertools.count(os.getpid() % 200)


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


def no_namespaces() -> str | None:
    """Says why there are no network namespaces, if there are none."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "network namespaces need Linux and the command ip"
    if os.geteuid():
        return "network namespaces need root"
    tried = subprocess.run(["ip", "netns", "add", "zq-tried"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", "zq-tried"], check=True)
    return None


@contextlib.contextmanager
def in_two_networks(house: House) -> Iterator[None]:
    """The workers are in a network of their own, at the other end of a cable."""
    number = next(_numbers) % 250 + 1
    name, near, far = f"zq-{number}", f"zqa{number}", f"zqb{number}"
    house.cable = near
    house.network = name
    house.other_end = f"10.213.{number}.2"
    house.served = house.address = f"tcp://10.213.{number}.1:{free_port()}"
    house.options += ("--insecure-bind",)
    house.before_workers = ("ip", "netns", "exec", name)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _run("ip", "addr", "add", f"10.213.{number}.1/24", "dev", near)
        _run("ip", "link", "set", near, "up")
        _run("ip", "-n", name, "addr", "add", f"{house.other_end}/24", "dev", far)
        _run("ip", "-n", name, "link", "set", far, "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        house.close()  # nobody must be in it any more
        subprocess.run(["ip", "netns", "del", name], check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


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
    house.before = (
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
    house.before = ("bash", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "bash")
    yield
