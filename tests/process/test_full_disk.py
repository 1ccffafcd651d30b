"""A disk that another program fills under a running coordinator: what runs completes, the rest is told why, and it goes
on by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import Kitchen, kill, wait_until
from tests.surroundings.disks import SmallDisk, small_disk

RESERVE = ("--disk-free-mib", "0")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk("tmpfs", tmp_path, mib=24) as made:
        yield made


@pytest.fixture
def crowded(disk: SmallDisk, tmp_path: Path) -> Iterator[Kitchen]:
    """Processes over a directory on a small disk."""
    kitchen = Kitchen(disk.path)
    kitchen.address = f"ipc://{tmp_path}/socket"
    yield kitchen
    kitchen.close()


def refusal(client: zq.Client) -> str:
    """Submits until it is refused, and returns why; what is held beyond the reserve is taken first."""
    with pytest.raises(zq.BusyError) as told:
        for _ in range(1000):
            client.submit("late", os.urandom(30_000))
    return str(told.value)


@pytest.mark.parametrize("journal", ["on", "off"])
def test_disk_that_others_fill_ends_nothing(journal: str, crowded: Kitchen, disk: SmallDisk) -> None:
    options = (*RESERVE, "--journal", journal)
    process = crowded.start_coordinator(*options)
    with crowded.client() as client:
        client.submit_many("orders", [os.urandom(4000) for _ in range(1500)])
        pulled = client.pull("orders", max_tasks=100, lease=600)
        disk.fill()
        client.settle(pulled[:50])

        assert f"the disk of {crowded.data} is full: 0 MiB of the disk are free, " in refusal(client)
        store = client.query("status")["store"]
        assert (store["is_full"], store["full_by"]) == (True, "disk")
        kill(process)
        process = crowded.start_coordinator(*options)  # there is no more room than before
        client.settle(pulled[50:])
        more = client.pull("orders", max_tasks=20, lease=600)
        client.settle(more)
        assert client.query("status")["done"] == 120

        disk.empty()
        freed_at = time.monotonic()
        wait_until(lambda: is_accepted(client), "room")
        print(f"accepted {time.monotonic() - freed_at:.2f} s after there was room")
        rest = 0
        while tasks := client.pull("orders", max_tasks=1000, lease=600):
            rest += len(tasks)
            client.settle(tasks)
        assert rest == 1500 - 120
    assert process.poll() is None


def is_accepted(client: zq.Client) -> bool:
    try:
        client.submit("late", os.urandom(30_000))
    except (zq.BusyError, zq.TimedOutError, zq.UnreachableError):
        return False
    return True


def test_embedded_coordinator_goes_on_by_itself_where_no_room_can_be_held(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits find no room in the middle of what they do, those of a new life of the machine, too."""
    monkeypatch.setattr("zq.store.room._allocator", lambda: None)
    for name in ("LOOK_AGE_MAX", "LOOK_EVERY", "LOOK_BYTES"):
        monkeypatch.setattr(f"zq.store.gauge.{name}", 1 << 40)  # it is not noticed before
    store = zq.LmdbOptions(free_bytes_min=0, journal=False)
    with (
        zq.Coordinator(disk.path / "s.zq", store_options=store) as coordinator,
        zq.Client(coordinator.address) as client,
        zq.Client(coordinator.address, timeout=1.0),
    ):
        client.submit_many("orders", [os.urandom(4000) for _ in range(500)])
        disk.fill()
        with pytest.raises((zq.BusyError, zq.TimedOutError, zq.UnreachableError)):
            client.submit_many("late", [os.urandom(30_000) for _ in range(30)])
        assert "cannot commit: the disk of" in caplog.text
        disk.empty()
        wait_until(lambda: is_accepted(client), "room")
        rest = 0
        while tasks := client.pull("orders", max_tasks=1000):
            rest += len(tasks)
            client.settle(tasks)
        assert rest == 500
