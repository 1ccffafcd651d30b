"""Room that is held back on a disk: real disks of a few MiB (tests.surroundings.disks), which others fill."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import lmdb
import pytest

from tests.surroundings.disks import KINDS, NEARLY_NOTHING, small_disk
from zq.core.tables import TABLES
from zq.errors import StoreError, StoreFullError
from zq.store import LmdbOptions, open_store
from zq.store.lmdb import LmdbStore
from zq.store.room import RESERVE_MAX, RESERVE_MIN, DiskRoom, reserve_of

OPTIONS = {is_on: LmdbOptions(free_bytes_min=0, journal=is_on) for is_on in (True, False)}


def test_reserve_grows_with_the_file_within_bounds() -> None:
    assert [reserve_of(end) for end in (0, 8 << 20, 80 << 20, 8 << 30)] == [
        RESERVE_MIN, 1 << 20, 10 << 20, RESERVE_MAX,
    ]  # fmt: skip


def test_empty_directory_is_small(tmp_path: Path) -> None:
    for is_on, most in ((True, 2_800), (False, 1_700)):
        store = open_store(tmp_path / str(is_on), TABLES, OPTIONS[is_on])
        taken = sum(one.stat().st_blocks // 2 for one in (tmp_path / str(is_on)).iterdir())
        store.close()

        assert 1_024 < taken < most  # KiB


@pytest.mark.parametrize("kind", KINDS)
def test_file_gets_room_ahead_and_no_longer(kind: str, tmp_path: Path) -> None:
    with small_disk(kind, tmp_path, mib=32) as disk:
        store = LmdbStore(disk.path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
        for n in range(80):
            put(store, n, 100_000)
        data = (disk.path / "s.zq" / "data.mdb").stat()

        assert 8_000_000 < data.st_size < 9_000_000
        assert data.st_blocks * 512 >= data.st_size + reserve_of(data.st_size)
        store.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_on", [True, False], ids=["journal", "tables"])
def test_disk_that_others_fill_takes_completions_and_a_start_and_says_why(
    kind: str, is_on: bool, tmp_path: Path
) -> None:
    with small_disk(kind, tmp_path, mib=24) as disk:
        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[is_on])
        for n in range(60):
            put(store, n, 100_000)
        disk.fill()
        count = complete_some(store, 0)
        while not store.info().is_full:  # what is held is used, too, up to the reserve
            put(store, 1000 + count, 50_000)
            count += 1

        info = store.info()
        assert info.full_by == "disk"
        assert f"the disk of {disk.path}/s.zq is full: 0 MiB of the disk are free, " in info.why_full
        complete_some(store, 20)
        store.close()

        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[is_on])
        assert (store.info().free_bytes or 0) < NEARLY_NOTHING
        complete_some(store, 40)
        disk.empty()
        assert not store.info().is_full
        put(store, 9999, 1_000_000)
        store.close()


def put(store: object, number: int, size: int) -> None:
    tx = store.begin()  # type: ignore[attr-defined]
    tx.put("pending", b"%08d" % number, bytes(size))
    tx.commit()


def complete_some(store: object, first: int) -> int:
    """Ends 20 of the values, each in a turn of its own; returns how many."""
    for n in range(first, first + 20):
        tx = store.begin()  # type: ignore[attr-defined]
        assert tx.delete("pending", b"%08d" % n)
        tx.put("finished", b"%08d" % n, b"done")
        tx.commit()
    return 20


def test_records_that_no_checkpoint_took_before_the_disk_was_full_are_committed_in_pieces(tmp_path: Path) -> None:
    """The rows of many small turns, each on a page of its own, wait for a checkpoint when the disk fills up."""
    with small_disk("tmpfs", tmp_path, mib=24) as disk:
        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[True])
        for n in range(1500):
            put(store, n, 1_500)
        store.rest(0.0)
        store.rest(10.0)
        before = store.about_journal()
        assert before["checkpoint"] == before["sequence"]
        for n in range(0, 1500, 4):
            put(store, n, 1_600)
        assert store.about_journal()["records"] - before["records"] > 300
        disk.fill()
        store.rest(20.0)
        store.rest(30.0)

        after = store.about_journal()
        assert after["checkpoint"] == after["sequence"] > before["sequence"]
        store.close()
        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[True])
        tx = store.begin()
        assert sum(len(value) == 1_600 for _, value in tx.scan("pending")) == 375
        tx.abort()
        store.close()


# Where nothing can be held.


def without_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, start: int, count: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("zq.store.room._allocator", lambda: refuse)


@pytest.mark.parametrize("is_on", [True, False], ids=["journal", "tables"])
def test_write_that_finds_no_room_undoes_its_turn_and_nothing_else(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_allocation(monkeypatch)
    with small_disk("tmpfs", tmp_path, mib=16) as disk:
        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[is_on])
        put(store, 0, 1_000)
        disk.fill()
        with pytest.raises(StoreFullError, match=r"cannot commit: the disk of .* is full: 0 MiB"):
            for n in range(1, 100):
                put(store, n, 100_000)
        assert store.info().is_full

        disk.empty()
        assert not store.info().is_full
        put(store, 500, 100_000)
        store.close()
        store = open_store(disk.path / "s.zq", TABLES, OPTIONS[is_on])
        tx = store.begin()
        keys = [key for key, _ in tx.scan("pending")]
        assert keys == [*(b"%08d" % n for n in range(len(keys) - 1)), b"00000500"]
        tx.abort()
        store.close()


def test_commit_that_fails_on_a_disk_with_room_is_the_end(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
    assert not store.is_out(as_lmdb(errno.ENOSPC))
    assert not store.is_out(as_lmdb(errno.EIO))
    store.close()


def test_flush_that_fails_on_a_full_disk_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with small_disk("tmpfs", tmp_path, mib=16) as disk:
        store = LmdbStore(disk.path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
        disk.fill()
        assert store.is_out(as_lmdb(errno.ENOSPC))
        assert not store.is_out(as_lmdb(errno.EPERM))
        monkeypatch.setattr(os, "fsync", fail)
        assert not store.is_out(as_lmdb(errno.ENOSPC))
        store.close()


def as_lmdb(code: int) -> lmdb.Error:
    error = lmdb.Error("mdb_txn_commit")
    vars(error)["code"] = code
    return error


# Other limits.


def test_quota_is_told_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota needs a file system with one: its answer is given in its place."""

    def refuse(number: int, start: int, count: int) -> None:
        if start + count > 4 << 20:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("zq.store.room._allocator", lambda: refuse)
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
    n = 0
    while not store.info().is_full:
        put(store, n, 100_000)
        n += 1

    info = store.info()
    assert 20 < n < 40
    assert info.full_by == "quota"
    assert f"the quota of {tmp_path}/s.zq is full" in info.why_full
    store.close()


def test_largest_size_of_files_is_a_limit_of_the_store(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, before[1]))
    try:
        store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
        n = 0
        while not store.info().is_full:
            put(store, n, 100_000)
            n += 1
        info = store.info()
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert (info.full_by, 20 < n < 40) == ("limit", True)
    assert "may not become larger (ulimit -f)" in info.why_full


def test_room_that_an_earlier_life_held_is_found_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk("tmpfs", tmp_path, mib=16) as disk:
        file = disk.path / "file"
        number = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            first = DiskRoom(number, disk.path)
            first.hold(0, 0, 1 << 30, 0.0)
            os.pwrite(number, bytes(100_000), 0)
            disk.fill()
            second = DiskRoom(number, disk.path)
            second.hold(800_000, 0, 1 << 30, 0.0)

            assert (first.lack, second.lack) == ("", "disk")
            assert second.held == first.held == 3 << 19
        finally:
            os.close(number)


def test_file_of_readers_without_blocks_is_told_in_words(tmp_path: Path) -> None:
    """LMDB writes it through memory, which ends a process where the disk has no block for it."""
    with small_disk("tmpfs", tmp_path, mib=16) as disk:
        path = disk.path / "s.zq"
        open_store(path, TABLES, OPTIONS[True]).close()
        (path / "lock.mdb").write_bytes(b"")
        os.truncate(path / "lock.mdb", 8192)
        disk.fill()
        with pytest.raises(StoreError, match="No space left on device"):
            open_store(path, TABLES, OPTIONS[True])
        disk.empty()
        open_store(path, TABLES, OPTIONS[True]).close()


def test_data_file_that_a_program_closes_is_noticed(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=0))
    number = store._hold.data_number
    kept = os.dup(number)
    os.close(number)
    with pytest.raises(StoreError, match=r"cannot look at the data file of .*: Bad file descriptor"):
        store.info()
    with (tmp_path / "other").open("wb") as other:
        os.dup2(other.fileno(), number)
        with pytest.raises(StoreError, match="was closed by something else in this process"):
            store.info()
    os.dup2(kept, number)
    os.close(kept)
    assert not store.info().is_full
    store.close()


def test_first_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with small_disk("tmpfs", tmp_path, mib=16) as disk:
        disk.fill()
        with pytest.raises(StoreError, match="No space left on device") as told:
            open_store(disk.path / "s.zq", TABLES, OPTIONS[True])

    assert str(disk.path) in str(told.value)
