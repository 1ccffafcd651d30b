"""Backups of directories in use, what is made of them, and directories that are made small again."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import lmdb
import pytest

import zq
from tests.process.kitchen import Kitchen, kill, wait_until
from zq.care import back_up, compact, restore
from zq.store.copying import MARK_FILE, MARK_TEXT, part_of
from zq.store.raw import RawFile

TASKS = 300


@pytest.fixture(params=["on", "off"])
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def payloads_of(directory: Path, count: int) -> list[Any]:
    """Returns what is handed out of a directory, all of it, in order."""
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        pulled = []
        while tasks := client.pull("orders", max_tasks=100, wait=0):
            pulled += [task.payload for task in tasks]
            for task in tasks:
                task.done()
        assert client.query("status")["waiting"] == 0
    assert len(pulled) == len(set(pulled)) == count
    return pulled


class Submitting(threading.Thread):
    """Submits one number after the other until it is told to stop."""

    def __init__(self, kitchen: Kitchen) -> None:
        super().__init__()
        self.answered = 0
        self._client = kitchen.client()
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.is_set():
            self._client.submit("orders", self.answered)
            self.answered += 1

    def stop(self) -> None:
        self._is_over.set()
        self.join()
        self._client.close()


def test_backup_of_a_running_coordinator_has_all_that_was_answered_before(kitchen: Kitchen, journal: str) -> None:
    kitchen.start_coordinator("--journal", journal)
    submitting = Submitting(kitchen)
    submitting.start()
    try:
        wait_until(lambda: submitting.answered > TASKS, "submits")
        before = submitting.answered
        copy = kitchen.data.with_name("copy")
        back_up(kitchen.data, copy)
        after = submitting.answered
    finally:
        submitting.stop()

    assert [one.name for one in copy.iterdir()] == ["data.mdb"]
    with zq.Coordinator(copy) as coordinator, zq.Client(coordinator.address) as client:
        held = client.query("status")["waiting"]
    assert before <= held <= after + 1
    assert payloads_of(copy, held) == list(range(held))


def test_backup_has_what_a_killed_coordinator_left_in_its_journal(kitchen: Kitchen) -> None:
    coordinator = kitchen.start_coordinator()
    with kitchen.client() as client:
        for number in range(20):
            client.submit("orders", number)
    kill(coordinator)

    copied = back_up(kitchen.data, kitchen.data.with_name("copy"))

    assert payloads_of(kitchen.data.with_name("copy"), 20) == list(range(20))
    assert payloads_of(kitchen.data, 20) == list(range(20))
    assert copied.bytes > 0


def test_backup_that_was_killed_half_way_is_no_backup_and_the_next_one_is(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    copy = kitchen.data.with_name("copy")
    with kitchen.client() as client:
        client.submit_many("orders", (b"x" * 100_000 for _ in range(300)))
        backup = kitchen.start("backup", str(kitchen.data), "--to", str(copy))
        wait_until(lambda: part_of(copy).exists() or backup.poll() is not None, "the copy")
        kill(backup)

        assert backup.returncode == -9
        assert part_of(copy).exists()
        assert not copy.exists()
        assert kitchen.start("backup", str(kitchen.data), "--to", str(copy)).wait(60) == 0
        client.submit("orders", "still served")
    assert not part_of(copy).parent.exists()
    with zq.Coordinator(copy) as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 300


def test_completion_from_before_is_refused_by_what_was_restored(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        client.submit("orders", "margherita")
    back_up(tmp_path / "data", tmp_path / "backup")
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        (before,) = client.pull("orders", lease=30)

    restore(tmp_path / "backup", tmp_path / "restored")

    with zq.Coordinator(tmp_path / "restored") as coordinator, zq.Client(coordinator.address) as client:
        (after,) = client.pull("orders", lease=30)
        assert after.id == before.id
        assert after.token > before.token
        assert after.token >> 40 > (before.token >> 40) + 1000  # starts of the life that is over
    assert payloads_of(tmp_path / "backup", 1) == ["margherita"]


def test_compact_gives_back_what_is_free_and_keeps_the_rest(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("gone", (b"x" * 10_000 for _ in range(1000)))
        client.submit_many("orders", range(TASKS))
        client.queues.purge("gone")
        wait_until(lambda: client.query("status")["waiting"] == TASKS, "the purge")

    before, after = compact(tmp_path / "data")

    assert after < before / 2
    assert (tmp_path / "data" / "data.mdb").stat().st_size == after
    assert payloads_of(tmp_path / "data", TASKS) == list(range(TASKS))


def test_compact_of_a_directory_in_use_is_refused(kitchen: Kitchen) -> None:
    kitchen.start_coordinator()
    with kitchen.client() as client:
        client.submit("orders", 1)

        with pytest.raises(zq.StoreLockedError, match="in use by process"):
            compact(kitchen.data)
        client.submit("orders", 2)


def test_compact_that_was_killed_half_way_leaves_the_file_as_it_was(kitchen: Kitchen) -> None:
    with zq.Coordinator(kitchen.data) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", (b"x" * 100_000 for _ in range(300)))
    made = kitchen.data / "data.new"
    compaction = kitchen.start("compact", str(kitchen.data))
    wait_until(lambda: made.exists() or compaction.poll() is not None, "the new file")
    kill(compaction)

    assert compaction.returncode == -9
    with zq.Coordinator(kitchen.data) as coordinator, zq.Client(coordinator.address) as client:
        assert client.query("status")["waiting"] == 300
    compact(kitchen.data)
    assert not made.exists()


def test_what_cannot_be_copied_is_said(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data"):
        pass
    (tmp_path / "there").mkdir()
    (tmp_path / "copy.part").mkdir()
    (tmp_path / "copy.part" / "somebody's").touch()
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with lmdb.open(str(foreign)) as env, env.begin(write=True) as txn:
        txn.put(b"a", b"b")

    with pytest.raises(zq.StoreError, match=r"there is there already: expected a new name"):
        back_up(tmp_path / "data", tmp_path / "there")
    with pytest.raises(zq.StoreError, match=r"copy\.part is there, and is no copy that was left half made"):
        back_up(tmp_path / "data", tmp_path / "copy")
    with pytest.raises(zq.StoreError, match=r"empty has no data\.mdb: expected the directory of a coordinator"):
        back_up(tmp_path / "empty", tmp_path / "copy2")
    with pytest.raises(zq.StoreVersionError, match=r"foreign holds an LMDB database that zq did not write"):
        back_up(foreign, tmp_path / "copy3")
    with zq.Coordinator(tmp_path / "data"), pytest.raises(zq.StoreError, match=r"cannot read .*data"):
        back_up(tmp_path / "data", tmp_path / "copy4")  # of this very process, whose locks it would let go


def test_backup_of_broken_pages_is_none_and_leaves_the_place_to_the_next_one(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        client.submit("orders", "margherita")
    data = tmp_path / "data" / "data.mdb"
    whole = data.read_bytes()
    with RawFile.open(tmp_path / "data") as raw:
        tree = raw.tables()["pending"]
    text, false = (
        struct.pack("<IHHQQQQQ", one.pad, *one[:-1]) for one in (tree, tree._replace(entries=tree.entries + 1))
    )
    assert text in whole
    data.write_bytes(whole.replace(text, false))

    with pytest.raises(zq.StoreCorruptError, match="no copy to rely on"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert [one.name for one in tmp_path.iterdir()] == ["data"]

    data.write_bytes(whole)
    (tmp_path / "backup.part").mkdir()
    (tmp_path / "backup.part" / MARK_FILE).write_bytes(MARK_TEXT)
    (tmp_path / "backup.part" / "data.damaged-1").touch()  # as when it was killed there
    back_up(tmp_path / "data", tmp_path / "backup")
    assert not list((tmp_path / "backup").glob("data.damaged-*"))


def test_damaged_backup_is_found_out_when_it_is_restored(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        client.submit("orders", "margherita" * 20)
    back_up(tmp_path / "data", tmp_path / "backup")
    data = tmp_path / "backup" / "data.mdb"
    damaged = data.read_bytes().replace(b"margherita", b"margheritA")
    data.write_bytes(damaged)

    with pytest.raises(zq.StoreCorruptError, match="checksum"):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
