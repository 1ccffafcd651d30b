"""What a store promises, for both stores; then what only the one on disk has to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

from tests.store.behaviour import TABLES, SameBehaviour
from tests.store.memory_log import MemoryLog
from zq.core.storage import Store
from zq.core.tables import SCHEMA
from zq.errors import StoreCorruptError, StoreError, StoreFullError, StoreLockedError, StoreVersionError
from zq.store import JournaledStore, LmdbOptions, LmdbStore, MemoryStore, open_store
from zq.store.carrying import put_schema
from zq.store.records import CHECKPOINT_TABLE

Opener = Callable[[], Store]


@pytest.fixture(params=["memory", "lmdb", "journaled memory", "journaled lmdb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store each time that it is called, closing it before."""
    opened: list[Store] = []
    memory, log = MemoryStore((*TABLES, CHECKPOINT_TABLE)), MemoryLog()
    openers: dict[str, Opener] = {
        "memory": lambda: memory,
        "lmdb": lambda: LmdbStore(tmp_path / "s.zq", TABLES),
        "journaled memory": lambda: JournaledStore(memory, log),
        "journaled lmdb": lambda: open_store(tmp_path / "s.zq", TABLES),
    }

    def opener() -> Store:
        while opened:
            opened.pop().close()
        opened.append(openers[request.param]())
        return opened[0]

    yield opener
    while opened:
        opened.pop().close()


def fill(store: Store, *rows: tuple[str, bytes, bytes]) -> None:
    tx = store.begin()
    for table, key, value in rows:
        tx.put(table, key, value)
    tx.commit()


def rows(store: Store, table: str = "left", *bounds: Any) -> list[tuple[bytes, bytes]]:
    tx = store.begin()
    found = list(tx.scan(table, *bounds))
    tx.abort()
    return found


@pytest.mark.parametrize("key", [b"", b"x" * 600])
def test_key_that_cannot_be_is_not_there(reopen: Opener, key: bytes) -> None:
    tx = reopen().begin()
    assert tx.get("left", key) is None
    assert not tx.delete("left", key)
    tx.abort()


def test_committed_values_are_there_after_a_restart(reopen: Opener) -> None:
    fill(reopen(), ("left", b"a", b"1"), ("right", b"a", b"2"))

    store = reopen()

    assert rows(store) == [(b"a", b"1")]
    assert rows(store, "right") == [(b"a", b"2")]


def test_aborted_changes_never_were(reopen: Opener) -> None:
    store = reopen()
    fill(store, ("left", b"a", b"1"), ("left", b"b", b"2"))
    tx = store.begin()
    tx.put("left", b"a", b"changed")
    tx.put("left", b"c", b"new")
    tx.put("left", b"c", b"newer")
    tx.delete("left", b"b")

    tx.abort()

    assert rows(reopen()) == [(b"a", b"1"), (b"b", b"2")]


def test_transaction_sees_its_own_writes(reopen: Opener) -> None:
    store = reopen()
    fill(store, ("left", b"a", b"1"), ("left", b"b", b"2"))
    tx = store.begin()
    tx.put("left", b"c", b"3")
    tx.delete("left", b"a")

    assert tx.get("left", b"c") == b"3"
    assert tx.get("left", b"a") is None
    assert list(tx.scan("left")) == [(b"b", b"2"), (b"c", b"3")]
    tx.commit()


def test_scan_goes_from_start_to_before_stop_in_bytewise_order(reopen: Opener) -> None:
    store = reopen()
    fill(store, *(("left", key, b"") for key in (b"\xff", b"b", b"a\0", b"a", b"\0")))

    assert [key for key, _ in rows(store)] == [b"\0", b"a", b"a\0", b"b", b"\xff"]
    assert [key for key, _ in rows(store, "left", b"a\0", b"\xff")] == [b"a\0", b"b"]
    assert rows(store, "left", b"c", b"d") == []


def test_scan_of_a_part_reads_no_more_than_that(reopen: Opener) -> None:
    store = reopen()
    fill(store, *(("left", b"%04d" % i, b"x") for i in range(5000)))
    tx = store.begin()

    assert [key for key, _ in islice(tx.scan("left", b"0100"), 3)] == [b"0100", b"0101", b"0102"]
    tx.abort()


def test_delete_says_whether_the_key_was_there(reopen: Opener) -> None:
    store = reopen()
    fill(store, ("left", b"a", b"1"))
    tx = store.begin()

    assert tx.delete("left", b"a")
    assert not tx.delete("left", b"a")
    tx.commit()


def test_put_many_stores_all_and_replaces(reopen: Opener) -> None:
    store = reopen()
    fill(store, ("left", b"b", b"old"))
    tx = store.begin()
    tx.put_many("left", [(b"c", b"3"), (b"a", b"1"), (b"b", b"2")])
    tx.commit()

    assert rows(store) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


def test_empty_and_large_values_come_back_as_they_were(reopen: Opener) -> None:
    large = os.urandom(3 << 20)
    fill(reopen(), ("left", b"empty", b""), ("left", b"large", large))

    assert rows(reopen()) == [(b"empty", b""), (b"large", large)]


@pytest.mark.parametrize("key", [b"", b"x" * 512])
def test_key_that_cannot_be_is_refused(reopen: Opener, key: bytes) -> None:
    tx = reopen().begin()
    with pytest.raises(StoreError):
        tx.put("left", key, b"")
    tx.abort()


class LmdbBehaviour(SameBehaviour):
    """LMDB beside its memory twin."""

    def make(self) -> Store:
        return LmdbStore(self.directory, TABLES, LmdbOptions(map_bytes=16 << 20, free_bytes_min=0))


def test_both_stores_behave_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_TEST_STORE", str(tmp_path))
    case = LmdbBehaviour.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40)
    case().runTest()


# Room.


def test_memory_is_full_before_puts_fail_and_deletes_still_work() -> None:
    _check_room(MemoryStore(TABLES, capacity_bytes=100_000))


def test_disk_is_full_before_puts_fail_and_deletes_still_work(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(map_bytes=4 << 20, free_bytes_min=0))
    _check_room(store)
    store.close()


def _check_room(store: Store) -> None:
    count = 0
    while True:
        tx = store.begin()
        if tx.is_full:
            tx.abort()
            break
        tx.put("left", b"%08d" % count, b"x" * 1000)
        tx.commit()
        count += 1
    assert store.info().is_full
    for i in range(count):  # completions: a delete and a small record each
        tx = store.begin()
        assert tx.delete("left", b"%08d" % i)
        tx.put("right", b"%08d" % i, b"done")
        tx.commit()
    assert not store.info().is_full
    tx = store.begin()
    assert not tx.is_full
    tx.abort()


def test_put_over_the_last_room_raises_and_the_store_stays_sound(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(map_bytes=1 << 20, free_bytes_min=0))
    fill(store, ("left", b"a", b"1"))
    tx = store.begin()
    with pytest.raises(StoreFullError):
        tx.put("left", b"b", bytes(2 << 20))
    tx.abort()

    assert rows(store) == [(b"a", b"1")]
    store.close()


def test_disk_that_runs_low_is_full(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=1 << 60))
    tx = store.begin()

    assert tx.is_full
    tx.abort()
    store.close()


def test_few_large_values_are_noticed_before_the_store_is_full(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(map_bytes=4 << 20, free_bytes_min=0))
    count = 0
    while True:
        tx = store.begin()
        if tx.is_full:
            break
        tx.put("left", b"%08d" % count, b"x" * 100_000)
        tx.commit()
        count += 1

    assert 30 < count < 40
    tx.abort()
    store.close()


def test_room_that_completions_make_inside_the_file_counts_when_the_disk_is_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES, LmdbOptions(free_bytes_min=4 << 20))
    low = SimpleNamespace(f_bavail=2 << 20, f_frsize=1)  # nobody can be asked to fill the disk for a test
    monkeypatch.setattr(os, "fstatvfs", lambda number: low)
    tx = store.begin()
    for n in range(50):
        tx.put("left", b"%08d" % n, b"x" * 100_000)
    tx.commit()
    assert store.info().is_full

    tx = store.begin()
    for n in range(50):
        tx.delete("left", b"%08d" % n)
    tx.commit()

    assert not store.info().is_full
    low.f_bavail = 500_000
    assert store.info().is_full
    store.close()


# The directory.


def test_second_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES)
    program = f"from zq.store import LmdbStore\nLmdbStore({str(tmp_path / 's.zq')!r}, ('left', 'right'))"

    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert f"is in use by process {os.getpid()} on " in second.stderr
    store.close()


def test_second_store_in_one_process_is_refused(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES)
    with pytest.raises(StoreLockedError, match="one coordinator at a time"):
        LmdbStore(tmp_path / "s.zq", TABLES)
    store.close()


def test_kill_9_of_the_holder_frees_the_directory_and_keeps_what_was_committed(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom zq.store import LmdbStore\n"
        f"store = LmdbStore({str(tmp_path / 's.zq')!r}, ('left', 'right'))\n"
        "tx = store.begin(); tx.put('left', b'a', b'1'); tx.commit()\n"
        "tx = store.begin(); tx.put('left', b'b', b'2')\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()

    store = LmdbStore(tmp_path / "s.zq", TABLES)

    assert rows(store) == [(b"a", b"1")]
    store.close()


def test_directory_of_another_schema_is_refused(tmp_path: Path) -> None:
    import lmdb

    LmdbStore(tmp_path / "s.zq", TABLES).close()
    with lmdb.open(str(tmp_path / "s.zq"), max_dbs=5) as env, env.begin(write=True, db=env.open_db(b"zq")) as txn:
        put_schema(txn, None, b"99")

    with pytest.raises(StoreVersionError, match=f"has schema 99, this version of zq reads schema {SCHEMA}"):
        LmdbStore(tmp_path / "s.zq", TABLES)


def test_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.zq").write_text("not a directory")
    with pytest.raises(StoreError, match="expected a directory that can be written"):
        LmdbStore(tmp_path / "s.zq", TABLES)


def test_file_that_is_not_lmdbs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.zq").mkdir()
    (tmp_path / "s.zq" / "data.mdb").write_bytes(b"garbage" * 5000)
    with pytest.raises(StoreCorruptError, match="it is no file of LMDB"):
        LmdbStore(tmp_path / "s.zq", TABLES)


def test_lock_file_names_its_holder(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s.zq", TABLES)

    assert json.loads((tmp_path / "s.zq" / "lock").read_text())["pid"] == os.getpid()
    store.close()


@pytest.mark.parametrize("options", [{"map_bytes": 1}, {"free_bytes_min": -1}])
def test_options_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        LmdbOptions(**options)  # type: ignore[arg-type]
