"""A directory has one writer, and one data file: who meets another's doing says so, and stores nothing beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zq.errors import StoreCorruptError, StoreError
from zq.store import DiskStore, LmdbOptions, open_store

TABLES = ("left", "right")

INTRUDER = """
import fcntl, sys
from pathlib import Path
fcntl.flock = lambda *_: None  # as where the file system has no locks, or somebody made the files anew
from zq.store import LmdbOptions, open_store
path, journal, turns = Path(sys.argv[1]), sys.argv[2] == "journal", int(sys.argv[3])
for name in ("lock", "lock.mdb"):
    (path / name).unlink()
store = open_store(path, ("left", "right"), LmdbOptions(map_bytes=64 << 20, journal=journal))
for n in range(turns):
    tx = store.begin(); tx.put("right", b"theirs %d" % n, b"2"); tx.commit()
import os
os._exit(0)
"""

CLOSER = """
import os, sys
from zq.errors import StoreError
from zq.store import LmdbOptions, open_store
path, name, count, other = sys.argv[1:]
store = open_store(path, ("left", "right"), LmdbOptions(map_bytes=64 << 20, journal=name == "journal"))

def put(key):
    tx = store.begin(); tx.put("left", key, b"v"); tx.commit()

put(b"first")
numbers = []
for number in map(int, os.listdir("/proc/self/fd")):
    try:
        if os.readlink(f"/proc/self/fd/{number}") == os.path.join(os.path.realpath(path), name):
            numbers.append(number)
    except OSError:
        pass
assert len(numbers) >= int(count), numbers
for number in numbers:
    os.close(number)
    if other:
        taken = os.open(other, os.O_RDWR)
        os.dup2(taken, number)
try:
    put(b"second")
except StoreError as error:
    assert "closed by something else" in str(error), error
else:
    assert name == "lock", "what nobody could read was written"
store.close()
if other:
    assert os.fstat(taken).st_size == os.fstat(number).st_size, "what has the number was closed"
"""


@pytest.fixture(params=["journal", "off"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def options(mode: str) -> LmdbOptions:
    return LmdbOptions(map_bytes=64 << 20, journal=mode == "journal")


def put(store: DiskStore, key: bytes) -> None:
    tx = store.begin()
    try:
        tx.put("left", key, b"1" * 3000)
    except BaseException:
        tx.abort()
        raise
    tx.commit()


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_second_writer_is_noticed_at_the_next_turn(
    tmp_path: Path, mode: str, options: LmdbOptions, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zq.store.lmdb.PLACE_AGE_MAX", 0.0)
    store = open_store(tmp_path / "s.zq", TABLES, options)
    put(store, b"ours")
    subprocess.run([sys.executable, "-c", INTRUDER, tmp_path / "s.zq", mode, str(turns)], check=True)
    if (mode, turns) == ("off", 0):
        put(store, b"more")  # who opened it only has written nothing
        store.close()
        return

    with pytest.raises(StoreError, match="was written by another process while this one had it"):
        put(store, b"more")
    with pytest.raises(StoreError):
        put(store, b"and more")
    store.close()

    store = open_store(tmp_path / "s.zq", TABLES, options)
    tx = store.begin()
    assert tx.get("left", b"ours") is not None
    assert [key for key, _ in tx.scan("right")] == [b"theirs %d" % n for n in range(turns)]
    tx.abort()
    store.close()


def test_an_only_writer_is_never_taken_for_a_second_one(tmp_path: Path, options: LmdbOptions) -> None:
    store = open_store(tmp_path / "s.zq", TABLES, options)
    for n in range(50):
        put(store, b"%03d" % n)
        store.rest(n / 10)
        tx = store.begin()
        tx.commit()  # which has nothing to commit
        tx = store.begin()
        tx.delete("left", b"%03d" % (n // 2))
        (tx.commit if n % 3 else tx.abort)()
    store.close()


def test_a_file_that_is_cut_off_while_it_is_open_is_told_in_words(
    tmp_path: Path, options: LmdbOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zq.store.lmdb.PLACE_AGE_MAX", 0.0)  # as if the last turn were a while ago
    store = open_store(tmp_path / "s.zq", TABLES, options)
    for n in range(100):
        put(store, b"%03d" % n)
    store.rest(0.0)
    os.truncate(tmp_path / "s.zq" / "data.mdb", 3 * 4096)

    with pytest.raises(StoreError, match=r"data\.mdb was cut off, from \d+ bytes to 12288"):
        tx = store.begin()
        list(tx.scan("left"))


@pytest.mark.parametrize("size", [0, 5000])
def test_a_journal_that_is_cut_off_while_it_is_open_is_told_before_the_next_answer(tmp_path: Path, size: int) -> None:
    store = open_store(tmp_path / "s.zq", TABLES, LmdbOptions(map_bytes=64 << 20))
    put(store, b"first")
    os.truncate(tmp_path / "s.zq" / "journal", size)

    with pytest.raises(StoreError, match=rf"journal has {size} bytes in the place of \d+\. .*put it back"):
        put(store, b"second")


def test_a_file_of_readers_that_is_cut_off_is_told_in_words(
    tmp_path: Path, options: LmdbOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zq.store.lmdb.PLACE_AGE_MAX", 0.0)
    store = open_store(tmp_path / "s.zq", TABLES, options)
    put(store, b"first")
    os.truncate(tmp_path / "s.zq" / "lock.mdb", 0)

    with pytest.raises(StoreError, match=r"lock\.mdb was cut off, from \d+ bytes to 0"):
        put(store, b"second")
    store.close()


@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.parametrize(("name", "count"), [("journal", 1), ("data.mdb", 3), ("lock.mdb", 1), ("lock", 1)])
def test_what_something_else_has_closed_is_told_and_the_file_that_has_its_number_left_alone(
    tmp_path: Path, name: str, count: int, is_taken: bool
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * (16 << 20))
    arguments = [sys.executable, "-c", CLOSER, str(tmp_path / "s.zq"), name, str(count), str(other) if is_taken else ""]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert other.read_bytes() == b"x" * (16 << 20)


def test_a_data_file_that_was_there_is_not_replaced_by_a_new_one(tmp_path: Path, options: LmdbOptions) -> None:
    path = tmp_path / "s.zq"
    open_store(path, TABLES, LmdbOptions(map_bytes=64 << 20, journal=False)).close()
    (path / "data.mdb").unlink()

    with pytest.raises(StoreCorruptError, match=r"has no data\.mdb, and lock says that there was one"):
        open_store(path, TABLES, options)
    assert not (path / "data.mdb").exists()

    (path / "lock").unlink()
    open_store(path, TABLES, options).close()


def test_a_data_file_that_is_no_file_is_told_in_words(tmp_path: Path, options: LmdbOptions) -> None:
    path = tmp_path / "s.zq"
    path.mkdir()
    os.mkfifo(path / "data.mdb")

    with pytest.raises(StoreError, match=r"data\.mdb is no file"):
        open_store(path, TABLES, options)
