"""A directory that somebody else has prepared: nothing is written through what is in it. And how its holds end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen, run

import pytest

from zq.errors import StoreError
from zq.store.hold import DirectoryHold
from zq.store.lmdb import LmdbOptions, LmdbStore

NAMES = ("lock", "data.mdb", "lock.mdb", "journal")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["to a file", "to nothing"])
def test_symbolic_link_in_the_directory_is_refused_and_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    thesis = tmp_path / "thesis"
    if kind == "to a file":
        thesis.write_text("mine")
    (tmp_path / "s.zq").mkdir()
    (tmp_path / "s.zq" / name).symlink_to(thesis)

    with pytest.raises(StoreError, match=rf"{name} is a symbolic link, which is not followed: remove it"):
        LmdbStore(tmp_path / "s.zq", ("a",))

    assert thesis.read_text() == "mine" if kind == "to a file" else not thesis.exists()


@pytest.mark.parametrize("name", ["lock", "lock.mdb", "journal"])
def test_hard_link_in_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "s.zq").mkdir()
    os.link(tmp_path / "thesis", tmp_path / "s.zq" / name)

    with pytest.raises(StoreError, match=rf"{name} has another name, too \(a hard link\)"):
        LmdbStore(tmp_path / "s.zq", ("a",))

    assert (tmp_path / "thesis").read_text() == "mine"


def test_link_that_comes_after_the_look_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "s.zq").mkdir()
    (tmp_path / "s.zq" / "lock").symlink_to(tmp_path / "thesis")
    monkeypatch.setattr("zq.store.hold._check_file", lambda _: None)

    with pytest.raises(StoreError, match="expected a directory that can be written"):
        DirectoryHold(tmp_path / "s.zq")

    assert (tmp_path / "thesis").read_text() == "mine"


def test_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.zq").mkdir()
    owner = (tmp_path / "s.zq").stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "s.zq", 4321, -1)
        owner = 4321
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    with pytest.raises(
        StoreError, match=rf"s\.zq belongs to another user \({owner}\), who can change all that is in it"
    ):
        DirectoryHold(tmp_path / "s.zq")
    assert list((tmp_path / "s.zq").iterdir()) == []


def test_link_to_the_directory_itself_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "s.zq").symlink_to(tmp_path / "there")

    LmdbStore(tmp_path / "s.zq", ("a",)).close()

    assert (tmp_path / "there" / "data.mdb").is_file()


def test_what_is_made_only_its_owner_may_read(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.umask(0o022); from zq.store.lmdb import LmdbStore; LmdbStore(sys.argv[1], ('a',)).close()"
    )
    run([sys.executable, "-c", code, str(tmp_path / "s.zq")], check=True, timeout=60)

    assert (tmp_path / "s.zq").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "s.zq" / "lock").stat().st_mode & 0o777 == 0o600


def test_ends_that_were_none_are_counted_until_one_is(tmp_path: Path) -> None:
    looping = []
    for end in ("killed", "killed", "killed", "killed", "killed", "closed", "killed", "killed while it read", "killed"):
        hold = DirectoryHold(tmp_path / "s.zq")
        looping.append(hold.is_looping)
        if end == "killed while it read":
            hold._holder["is_reading"] = True
            hold._say_holder()
        if end == "closed":
            hold.close()
        hold._opened.close()  # as the system does, which says nothing

    assert looping == [False, False, False, False, True, False, False, False, True]


def test_a_directory_that_is_refused_keeps_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "s.zq").mkdir()
    (tmp_path / "s.zq" / "lock").symlink_to(tmp_path / "other")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(StoreError, match="symbolic link"):
            DirectoryHold(tmp_path / "s.zq")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_start_that_was_given_up_in_words_counts_as_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zq.store.lmdb.look", give_up)
        with pytest.raises(KeyboardInterrupt):
            LmdbStore(tmp_path / "s.zq", ("left",))
    hold = DirectoryHold(tmp_path / "s.zq")
    assert not hold.is_looping
    assert json.loads((tmp_path / "s.zq" / "lock").read_text())["unclean_ends"] == 0
    hold.close()


READER = """
import lmdb, sys
env = lmdb.open(sys.argv[1], readonly=True, create=False, max_dbs=2, map_size=1 << 26)
txn = env.begin()
print("reads", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("commits", [20, 21])
def test_a_reader_of_the_file_before_does_not_mislead_who_opens_the_new_one(tmp_path: Path, commits: int) -> None:
    options = LmdbOptions(free_bytes_min=0, map_bytes=1 << 26, journal=False)
    store = LmdbStore(tmp_path / "s.zq", ("left",), options)
    for number in range(commits):
        tx = store.begin()
        tx.put("left", b"%06d" % number, bytes(300))
        tx.commit()
    arguments = [sys.executable, "-c", READER, str(tmp_path / "s.zq")]
    with Popen(arguments, stdin=PIPE, stdout=PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        store.compact()
        store.close()

        store = LmdbStore(tmp_path / "s.zq", ("left",), options)
        tx = store.begin()
        assert len(list(tx.scan("left"))) == commits
        tx.abort()
        store.close()
        reader.kill()
