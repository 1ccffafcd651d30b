"""The journal as a file in a directory: what is done to it meanwhile, and a disk that has no room or fails."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from tests.store.behaviour import TABLES
from tests.store.test_journaled import crash, rows, write
from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.store import DiskStore, JournaledStore, LmdbOptions, LmdbStore, open_store
from zq.store.journal import FIRST_PLACE, ROOM_MAX, ROOM_MIN
from zq.store.journaled import RETRY_SECONDS
from zq.store.lmdb import LmdbTransaction

OFF = LmdbOptions(journal=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.zq"


def opened(path: Path, options: LmdbOptions | None = None) -> JournaledStore:
    store = open_store(path, TABLES, options)
    assert isinstance(store, JournaledStore)
    return store


def abandoned(path: Path) -> None:
    """Leaves a directory as a process does that is killed, with something in its journal alone."""
    store = opened(path)
    write(store, b"a")
    write(store, b"b")
    crash(store)


# What a directory holds.


def test_journal_has_its_room_from_the_beginning_and_only_its_owner_may_read_it(path: Path) -> None:
    opened(path).close()
    found = (path / "journal").stat()

    assert found.st_size == FIRST_PLACE + ROOM_MIN
    assert found.st_blocks * 512 >= found.st_size
    assert found.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("options", [LmdbOptions(), OFF])
def test_a_journal_without_its_tables_is_not_taken_for_nothing(
    path: Path, tmp_path: Path, options: LmdbOptions
) -> None:
    abandoned(path)
    (path / "data.mdb").rename(tmp_path / "kept.mdb")

    with pytest.raises(StoreCorruptError, match=r"has a journal and no data\.mdb"):
        open_store(path, TABLES, options)

    assert not (path / "data.mdb").exists()
    (tmp_path / "kept.mdb").rename(path / "data.mdb")
    store = opened(path)
    assert [key for key, _ in rows(store)] == [b"a", b"b"]
    store.close()


def test_what_was_answered_is_there_after_a_kill(path: Path) -> None:
    abandoned(path)

    store = opened(path)

    assert [key for key, _ in rows(store)] == [b"a", b"b"]
    store.close()


def test_journal_may_be_left_and_taken_up_at_each_start(path: Path) -> None:
    abandoned(path)

    store: DiskStore = open_store(path, TABLES, OFF)
    assert isinstance(store, LmdbStore)
    assert not (path / "journal").exists()
    assert store.about_journal()["is_on"] is False
    write(store, b"c")
    store.close()
    store = opened(path)
    write(store, b"d")
    crash(store)

    store = open_store(path, TABLES, OFF)
    assert [key for key, _ in rows(store)] == [b"a", b"b", b"c", b"d"]
    store.close()


def test_journal_that_was_made_and_never_used_is_replaced(path: Path) -> None:
    abandoned(path)
    shutil.copy(path / "journal", path.with_name("stray"))
    open_store(path, TABLES, OFF).close()
    shutil.copy(path.with_name("stray"), path / "journal")

    store = opened(path)

    assert [key for key, _ in rows(store)] == [b"a", b"b"]
    store.close()


def test_directory_moves_as_a_whole(path: Path, tmp_path: Path) -> None:
    abandoned(path)
    path.rename(tmp_path / "elsewhere")

    store = opened(tmp_path / "elsewhere")

    assert len(rows(store)) == 2
    store.close()


def test_journal_grows_when_it_was_filled_before_its_time(path: Path) -> None:
    store = opened(path)
    for n in range(3000):
        write(store, b"%04d" % n, bytes(20_000))
        store.rest(1.0)
        if store.about_journal()["capacity"] == ROOM_MAX:
            break

    assert (path / "journal").stat().st_size == FIRST_PLACE + ROOM_MAX
    write(store, b"last")
    crash(store)
    store = opened(path)
    assert rows(store)[-1][0] == b"last"
    store.close()


# What is done to it.


def _remove(file: Path) -> None:
    file.unlink()


def _shorten(file: Path) -> None:
    os.truncate(file, FIRST_PLACE + ROOM_MIN - 1)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


def _overwrite(file: Path) -> None:
    file.write_bytes(b"mine" * 1000)


def _take_anothers(file: Path) -> None:
    abandoned(file.parent.with_name("another.zq"))
    shutil.copy(file.parent.with_name("another.zq") / "journal", file)


def _fold(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_remove, "is not there, and the tables were written with it: put it back"),
        (_shorten, rf"has {FIRST_PLACE + ROOM_MIN - 1} bytes, expected {FIRST_PLACE} and a multiple of {ROOM_MIN}"),
        (_empty, "is no journal of zq: put the one back that the tables were written with"),
        (_overwrite, "is no journal of zq: put the one back that the tables were written with"),
        (_take_anothers, "belongs to another directory: put the one back"),
        (_fold, "cannot open .*/journal: Is a directory"),
    ],
)
def test_journal_that_is_not_what_the_tables_say_is_an_error_in_words(
    path: Path, harm: Callable[[Path], None], told: str
) -> None:
    abandoned(path)
    harm(path / "journal")

    for options in (LmdbOptions(), OFF):
        with pytest.raises(StoreError, match=told):
            open_store(path, TABLES, options)


def test_file_that_is_no_journal_is_not_overwritten(path: Path) -> None:
    open_store(path, TABLES, OFF).close()
    (path / "journal").write_text("dear diary")

    with pytest.raises(StoreError, match="is no journal of zq, and would be overwritten: move it away"):
        open_store(path, TABLES)
    open_store(path, TABLES, OFF).close()

    assert (path / "journal").read_text() == "dear diary"


def test_flipped_bit_in_the_file_is_told_with_its_place(path: Path) -> None:
    abandoned(path)
    with (path / "journal").open("r+b") as file:
        file.seek(FIRST_PLACE + 40)
        byte = file.read(1)
        file.seek(FIRST_PLACE + 40)
        file.write(bytes([byte[0] ^ 4]))

    with pytest.raises(StoreCorruptError, match=r"s\.zq/journal is damaged at byte 0: expected record 1 there"):
        open_store(path, TABLES)


def test_journal_that_is_damaged_can_be_cut_where_it_is(path: Path) -> None:
    abandoned(path)
    file = path / "journal"
    data = bytearray(file.read_bytes())
    place = data.rindex(b"zqR1")
    file.write_bytes(data[:place] + bytes(len(data) - place))

    store = opened(path)

    assert [key for key, _ in rows(store)] == [b"a"]
    store.close()


def test_tables_can_be_told_that_there_never_was_a_journal(path: Path) -> None:
    store = opened(path)
    write(store, b"a")
    store.close()
    (path / "journal").unlink()
    with lmdb.open(str(path), max_dbs=2) as env, env.begin(write=True) as txn:
        txn.delete(b"checkpoint", db=env.open_db(b"journal", txn=txn))

    store = opened(path)

    assert [key for key, _ in rows(store)] == [b"a"]
    store.close()


# A disk.


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def failing(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, failing)


def test_disk_without_room_for_the_journal_serves_without_and_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        fail(full, "fdatasync", errno.ENOSPC)
        store = opened(path)
    assert not list(path.glob("journal*"))
    about = store.about_journal()
    assert (about["is_on"], about["reason"]) == (False, "No space left on device")
    write(store, b"a")
    store.rest(1.0)
    assert not store.about_journal()["is_on"]

    store.rest(1.0 + RETRY_SECONDS)

    assert store.about_journal()["is_on"]
    assert store.about_journal()["reason"] == ""
    write(store, b"b")
    crash(store)
    store = opened(path)
    assert [key for key, _ in rows(store)] == [b"a", b"b"]
    store.close()


def test_disk_without_room_to_grow_goes_on_with_what_there_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(path)
    log = store._log
    assert log is not None
    with monkeypatch.context() as full:
        fail(full, "fdatasync", errno.ENOSPC)
        log.restart(grows=True)

    assert log.capacity == ROOM_MIN
    assert (path / "journal").stat().st_size == FIRST_PLACE + ROOM_MIN
    store.close()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_failed_write_or_flush_is_the_end_and_never_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = opened(path)
    write(store, b"a")
    with monkeypatch.context() as broken:
        fail(broken, call, errno.EIO)
        with pytest.raises(StoreError, match=r"cannot (write|flush) .*/journal: Input/output error"):
            write(store, b"b")

    with pytest.raises(StoreError, match="nothing is stored any more since this failed"):
        write(store, b"c")
    store.close()
    store = opened(path)
    assert [key for key, _ in rows(store)] in ([b"a"], [b"a", b"b"])
    store.close()


def test_low_disk_makes_no_journal(path: Path) -> None:
    store = opened(path, LmdbOptions(free_bytes_min=1 << 60))

    assert "is low" in store.about_journal()["reason"]
    assert not (path / "journal").exists()
    assert store.is_full
    write(store, b"a")
    store.close()


def test_disk_without_room_puts_the_checkpoint_off_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(path)
    write(store, b"a")
    made = store.checkpoints
    with monkeypatch.context() as full:
        full.setattr(LmdbStore, "takes", lambda self, count: False)
        full.setattr(LmdbTransaction, "commit", _refuse)
        store.rest(1.0)
        store.rest(3.0)
        assert store.checkpoints == made

    assert store.rest_at == 4.0
    store.rest(4.0)
    assert store.checkpoints == made + 1
    store.close()


def _refuse(tx: LmdbTransaction) -> None:
    tx.abort()
    raise StoreFullError("cannot commit: the map is full")


def test_directory_that_is_full_to_the_brim_asks_for_a_larger_map(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned(path)
    with monkeypatch.context() as full, pytest.raises(StoreFullError, match=r"map of 1 MiB.*--map-mib"):
        full.setattr(LmdbTransaction, "commit", _refuse)
        opened(path, LmdbOptions(map_bytes=1 << 20))

    store = opened(path, LmdbOptions(map_bytes=2 << 20))
    assert [key for key, _ in rows(store)] == [b"a", b"b"]
    store.close()


def test_small_map_commits_before_its_room_is_taken(path: Path) -> None:
    options = LmdbOptions(map_bytes=1 << 20, free_bytes_min=0)
    store = opened(path, options)
    count = 0
    while not store.is_full:
        write(store, b"%08d" % count, b"x" * 1000)
        count += 1
    crash(store)

    store = opened(path, options)
    assert len(rows(store)) == count > 400
    for n in range(count):
        tx = store.begin()
        tx.delete("left", b"%08d" % n)
        tx.commit()
    assert rows(store) == []
    store.close()
