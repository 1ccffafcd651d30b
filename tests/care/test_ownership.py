"""What zq did not write is never written, made anew or removed; what somebody has open is left alone, whatever became
of its locks; and a command that looks after a directory makes none.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import lmdb
import pytest

import zq
from tests.care.ledger import fill, handed_out
from tests.care.test_doctor import broken, files_of
from zq.care import back_up, compact, examine, repair, restore, salvage
from zq.store import damage
from zq.store.carrying import schema_rows
from zq.store.copying import MARK_FILE, MARK_TEXT, making


def start(directory: Path) -> None:
    with zq.Coordinator(directory):
        pass


CARE: dict[str, Callable[[Path], Any]] = {
    "repair": repair,
    "compact": compact,
    "salvage": lambda directory: salvage(directory, directory.with_name("saved")),
    "back_up": lambda directory: back_up(directory, directory.with_name("copy")),
    "restore": lambda directory: restore(directory, directory.with_name("copy")),
}
WRITERS = {**CARE, "start": start}


def tables(**rows: bytes) -> Callable[[lmdb.Environment], None]:
    def write(env: lmdb.Environment) -> None:
        with env.begin(write=True) as txn:
            for table, key in rows.items():
                db = env.open_db(table.encode(), txn=txn)
                if key:
                    txn.put(key, b"14", db=db)

    return write


def repeated(env: lmdb.Environment) -> None:
    db = env.open_db(b"words", dupsort=True)
    with env.begin(write=True, db=db) as txn:
        for value in (b"one", b"two"):
            txn.put(b"a", value)


def plain(env: lmdb.Environment) -> None:
    with env.begin(write=True) as txn:
        txn.put(b"a", b"b")


FOREIGN = {
    "tables": tables(words=b"a", pending=b"b"),
    "empty tables": tables(words=b"", zq=b""),
    "of a like name": tables(config=b"schema"),
    "repeated": repeated,
    "plain": plain,
}


def make_foreign(directory: Path, write: Callable[[lmdb.Environment], None]) -> None:
    directory.mkdir()
    with lmdb.open(str(directory), max_dbs=8, lock=False) as env:
        write(env)


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("is_damaged", [False, True], ids=["whole", "damaged"])
def test_a_database_of_something_else_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[lmdb.Environment], None], is_damaged: bool
) -> None:
    directory = tmp_path / "theirs"
    make_foreign(directory, write)
    monkeypatch.setattr(damage, "PAGES_MAX", 0)  # as of a large one, of which a start does not look at all
    if is_damaged:
        with (directory / "data.mdb").open("r+b") as file:
            file.write(bytes(4096))  # one of its meta pages
    before = files_of(directory)

    for command in WRITERS.values():
        with pytest.raises(zq.StoreVersionError, match="holds an LMDB database that zq did not write"):
            command(directory)
        assert files_of(directory) == before
    assert [one.text for one in broken(list(examine(directory)))] == [
        f"{directory} holds an LMDB database that zq did not write; choose another directory"
    ]
    assert files_of(directory) == before
    assert [one.name for one in tmp_path.iterdir()] == ["theirs"]


def test_a_database_that_does_not_tell_its_tables_is_saved_only_where_rows_of_zq_are_found(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    make_foreign(theirs, FOREIGN["tables"])
    fill(ours, 20)
    for directory in (theirs, ours):
        with lmdb.open(str(directory), lock=False, readonly=True) as env:
            size, root = env.stat()["psize"], 0
        data = bytearray((directory / "data.mdb").read_bytes())
        metas = [data[:size], data[size : 2 * size]]
        newest = max(metas, key=lambda meta: int.from_bytes(meta[144:152], "little"))
        root = int.from_bytes(newest[128:136], "little")  # of the tree of tables
        data[root * size : (root + 1) * size] = bytes(size)
        (directory / "data.mdb").write_bytes(data)
        before = files_of(directory)

        for command in (repair, compact, start):
            with pytest.raises(zq.StoreCorruptError, match="damaged where it says which tables it has"):
                command(directory)
            assert files_of(directory) == before

    with pytest.raises(zq.StoreError, match="has nothing that zq wrote"):
        salvage(theirs, tmp_path / "saved")
    salvage(ours, tmp_path / "saved")
    assert len(handed_out(tmp_path / "saved")) == 20


@pytest.mark.parametrize("name", ["data.mdb", "lock"])
def test_a_file_of_something_else_is_not_written_over(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / name).write_text("somebody's notes\n" * 600)
    before = files_of(theirs)

    with pytest.raises(zq.StoreError, match="no file of LMDB" if name == "data.mdb" else "lock is not of zq"):
        start(theirs)
    assert files_of(theirs) == before


@pytest.mark.parametrize("kind", ["coordinator's", "copy", "half made and served", "somebody's"])
def test_what_only_has_the_name_of_a_half_made_copy_is_not_removed(tmp_path: Path, kind: str) -> None:
    source, part = tmp_path / "source", tmp_path / "copy.part"
    options = zq.LmdbOptions(journal=False)
    fill(source, 10)
    fill(part, 20, store_options=options)
    if kind == "copy":
        back_up(part, tmp_path / "whole")
        shutil.rmtree(part)
        (tmp_path / "whole").rename(part)
    with ExitStack() as opened:
        if kind in ("coordinator's", "half made and served"):
            opened.enter_context(zq.Coordinator(part, store_options=options))
        if kind == "half made and served":
            (part / MARK_FILE).write_bytes(MARK_TEXT)
        elif kind == "somebody's":
            (part / MARK_FILE).write_bytes(b"my own notes")
        before = {one.name: one.stat().st_ino for one in part.iterdir()}
        for command in (back_up, restore, salvage):
            with pytest.raises(
                zq.StoreError, match=r"copy\.part (is there, and is no copy|was left half made, and is in)"
            ):
                command(source, tmp_path / "copy")
        assert {one.name: one.stat().st_ino for one in part.iterdir()} == before
    assert len(handed_out(part)) == 20
    assert not (tmp_path / "copy").exists()


def test_two_copies_at_once_to_one_place_are_one(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    fill(source, 10, store_options=zq.LmdbOptions(journal=False))

    with making(source, copy) as part:
        (part / "data.mdb").write_bytes(b"half")
        with pytest.raises(zq.StoreError, match=r"copy\.part is being made by another process"):
            back_up(source, copy)
        shutil.copyfile(source / "data.mdb", part / "data.mdb")
    assert len(handed_out(copy)) == 10

    shutil.rmtree(copy)
    with pytest.raises(zq.StoreError, match="was removed or replaced"), making(source, copy) as part:
        part.rename(tmp_path / "elsewhere")
        back_up(source, tmp_path / "other")
        (tmp_path / "other").rename(part)
    assert not copy.exists()
    assert len(handed_out(part)) == 10


def test_a_directory_in_use_is_known_by_the_locks_that_are_left(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with zq.Coordinator(directory):
        for name in ("none", "lock", "lock.mdb"):
            (directory / name).unlink(missing_ok=True)
            for command in ("repair", "compact", "salvage"):
                who = "this very process" if name == "none" else "another process"
                with pytest.raises(zq.StoreLockedError, match=f"is in use by {who}.*: stop its coordinator first"):
                    CARE[command](directory)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the system does not tell which locks there are")  # noqa: PTH110
def test_a_directory_that_lmdb_has_open_is_known_by_its_readers(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    fill(directory, 10)
    shutil.copyfile(directory / "data.mdb", tmp_path / "newer")
    with lmdb.open(str(directory), max_dbs=64):
        (directory / "lock").unlink()
        (tmp_path / "newer").rename(directory / "data.mdb")
        for command in ("repair", "compact", "salvage"):
            with pytest.raises(zq.StoreLockedError, match="is in use"):
                CARE[command](directory)
    assert repair(directory) == []


def test_what_was_written_while_it_was_salvaged_is_no_salvage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "data"
    fill(directory, 10)
    monkeypatch.setattr(import_module("zq.care.salvage"), "mend_all", lambda _: os.utime(directory / "journal"))

    with pytest.raises(zq.StoreLockedError, match="was written while it was read"):
        salvage(directory, tmp_path / "saved")
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("command", CARE.values(), ids=CARE.keys())
def test_a_command_that_looks_after_a_directory_makes_none(tmp_path: Path, command: Callable[[Path], Any]) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(zq.StoreError, match=r"has no data\.mdb: expected the directory of a coordinator"):
            command(tmp_path / name)
    assert [one.name for one in tmp_path.rglob("*")] == ["empty"]


def test_a_directory_of_a_later_version_is_not_taken_for_one_that_is_fine(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    fill(directory, 10)
    with lmdb.open(str(directory), max_dbs=64, lock=False) as env, env.begin(write=True) as txn:
        for key, stored in schema_rows(b"15").items():
            txn.put(key, stored, db=env.open_db(b"zq", txn=txn))
    before = files_of(directory)

    assert "has schema 15, this version of zq reads schema 14" in str(broken(list(examine(directory))))
    for command in WRITERS.values():
        with pytest.raises(zq.StoreVersionError, match="has schema 15"):
            command(directory)
    assert files_of(directory) == before


def test_a_link_is_told_and_not_advised_to_be_removed(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    fill(directory, 10)
    (directory / "journal").rename(tmp_path / "journal")
    (directory / "journal").symlink_to(tmp_path / "journal")

    assert broken(list(examine(directory)))[0].remedy == "put that file in its place"
    with pytest.raises(zq.StoreError, match="is a symbolic link"):
        repair(directory)


def test_what_is_set_aside_takes_the_place_of_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    fill(directory, 10)
    data = directory / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"margherita 00003", b"margheritA 00003"))
    before = files_of(directory)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "aside.jsonl.part").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "aside.jsonl")

    for name in ("pipe", "nowhere/aside.jsonl"):
        with pytest.raises(
            zq.StoreError, match=r"is no file: expected a new name|expected a directory that can be written"
        ):
            repair(directory, tmp_path / name)
    assert files_of(directory) == before
    repair(directory, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "pending" in (tmp_path / "aside.jsonl").read_text()
    assert (tmp_path / "aside.jsonl.part").read_text() == "mine"


def test_who_only_looks_whether_a_directory_is_in_use_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", 10)
    with (tmp_path / "data" / "lock").open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        monkeypatch.setattr("zq.store.hold.time.sleep", lambda _: fcntl.flock(looked_at, fcntl.LOCK_UN))
        start(tmp_path / "data")
