"""A row that is damaged is set aside, broken pages cost what is on them, and what is no data file is told in words."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path

import pytest

from zq.core import tables
from zq.core.storage import Damage
from zq.errors import StoreCorruptError, StoreError
from zq.store import DiskStore, LmdbOptions, damage, open_store
from zq.store.hold import UNCLEAN_ENDS_MAX

NAMES = ("left", "right", tables.QUEUES, tables.DAMAGED)
PAGE = 4096
ROWS = {b"key %06d" % n: b"value %06d" % n * 9 for n in range(400)}


@pytest.fixture(params=[True, False], ids=["journal", "no journal"])
def options(request: pytest.FixtureRequest) -> LmdbOptions:
    return LmdbOptions(map_bytes=64 << 20, journal=request.param)


@pytest.fixture
def path(tmp_path: Path, options: LmdbOptions) -> Path:
    """A directory with rows, closed."""
    store = open_store(tmp_path / "s.zq", NAMES, options)
    tx = store.begin()
    tx.put_many("left", ROWS.items())
    tx.put("right", b"a", b"1")
    tx.put(tables.QUEUES, b"\0\0\0\1", b"a record of a queue")
    tx.commit()
    store.close()
    return tmp_path / "s.zq"


@pytest.fixture
def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at when it is opened, as in a large file."""
    monkeypatch.setattr(damage, "PAGES_MAX", 0)


def flip(path: Path, what: bytes, place: int) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    data[data.rindex(what) + place] ^= 1
    (path / "data.mdb").write_bytes(data)


def rows_of(store: DiskStore, table: str = "left") -> dict[bytes, bytes]:
    tx = store.begin()
    try:
        return dict(tx.scan(table))
    finally:
        tx.abort()


def set_aside_of(store: DiskStore) -> list[Damage]:
    tx = store.begin()
    try:
        return [Damage(*tables.unpack(value)) for _, value in tx.scan(tables.DAMAGED, *tables.damaged_bounds())]
    finally:
        tx.abort()


def test_a_damaged_value_is_set_aside_at_a_start_and_all_others_are_there(path: Path, options: LmdbOptions) -> None:
    key = b"key 000200"
    flip(path, ROWS[key], 4)

    store = open_store(path, NAMES, options)

    assert rows_of(store) == {one: value for one, value in ROWS.items() if one != key}
    [found] = set_aside_of(store)
    assert found == store.damages[0]
    assert (found.table, found.key, found.is_part, found.is_mended) == ("left", key, False, False)
    assert len(found.stored) == len(ROWS[key]) + 4
    assert str(found) == f"the row of key {key.hex()} in table left: it does not match its checksum"
    tx = store.begin()
    assert tables.unpack(tx.get(tables.DAMAGED, tables.RECOUNT_KEY) or b"") == (("left",), 1)
    tx.abort()
    store.close()
    store = open_store(path, NAMES, options)
    assert store.damages == []  # it was told
    assert len(set_aside_of(store)) == 1
    store.close()


def test_what_is_set_aside_is_numbered_by_what_was_and_by_nothing_else(path: Path, options: LmdbOptions) -> None:
    store = open_store(path, NAMES, options)
    tx = store.begin()
    tx.put(tables.DAMAGED, tables.RECOUNTED_KEY, tables.pack({}))
    tx.put(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack((("left",), 1)))
    tx.commit()

    for number in (1, 2):
        store.mend(StoreCorruptError("nobody can make anything of it", "left", b"key %06d" % number, b""))

    tx = store.begin()
    keys = [tables.RECOUNTED_KEY, tables.damaged_key(1), tables.damaged_key(2), tables.RECOUNT_KEY]
    assert [key for key, _ in tx.scan(tables.DAMAGED)] == keys
    tx.abort()
    store.close()


def test_a_flipped_bit_of_a_key_is_put_right(path: Path, options: LmdbOptions) -> None:
    flip(path, b"key 000200", 8)

    store = open_store(path, NAMES, options)

    assert rows_of(store) == ROWS
    [found] = set_aside_of(store)
    assert found.is_mended
    assert found.why == "it does not match its checksum; it was put right"
    store.close()


def test_a_flipped_bit_of_what_a_queue_is_called_is_put_right_and_of_a_value_is_not(
    path: Path, options: LmdbOptions
) -> None:
    flip(path, b"a record of a queue", 3)
    flip(path, ROWS[b"key 000007"], 3)

    store = open_store(path, NAMES, options)

    assert rows_of(store, tables.QUEUES) == {b"\0\0\0\1": b"a record of a queue"}
    assert sorted((one.table, one.is_mended) for one in set_aside_of(store)) == [("left", False), ("queues", True)]
    store.close()


@pytest.mark.usefixtures("unlooked")
def test_what_a_turn_meets_is_set_aside_and_nothing_that_was_committed_is_lost(
    path: Path, options: LmdbOptions
) -> None:
    key = b"key 000200"
    flip(path, ROWS[key], 4)
    store = open_store(path, NAMES, options)
    tx = store.begin()
    tx.put("right", b"b", b"2")
    tx.commit()
    with pytest.raises(StoreCorruptError) as caught:
        rows_of(store)

    store.mend(caught.value)

    assert rows_of(store) == {one: value for one, value in ROWS.items() if one != key}
    assert rows_of(store, "right") == {b"a": b"1", b"b": b"2"}
    assert [one.key for one in set_aside_of(store)] == [key]
    with pytest.raises(StoreCorruptError, match="does not match"):
        store.mend(caught.value)  # which is not there a second time
    store.close()


@pytest.mark.usefixtures("unlooked")
def test_a_row_of_which_nobody_can_make_anything_is_set_aside_though_it_is_whole(
    path: Path, options: LmdbOptions
) -> None:
    store = open_store(path, NAMES, options)

    store.mend(StoreCorruptError("it names nothing", "left", b"key 000003"))

    assert b"key 000003" not in rows_of(store)
    assert [one.why for one in set_aside_of(store)] == ["it names nothing"]
    store.close()


def break_leaf(path: Path, draw: random.Random) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    place = data.rindex(b"key 000%03d" % draw.randrange(400)) // PAGE * PAGE
    data[place : place + PAGE] = draw.choice((bytes(PAGE), draw.randbytes(PAGE), data[:PAGE]))
    (path / "data.mdb").write_bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_page_costs_its_own_rows(
    path: Path, options: LmdbOptions, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    break_leaf(path, random.Random(seed))
    broken = (path / "data.mdb").read_bytes()

    with caplog.at_level(logging.WARNING):
        store = open_store(path, NAMES, options)

    found = rows_of(store)
    [lost] = set_aside_of(store)
    assert lost.is_part
    assert lost.table == "left"
    gone = [key for key in ROWS if key not in found]
    assert 10 < len(gone) < 60
    assert all(lost.key <= key and (lost.stop is None or key < lost.stop) for key in gone)
    assert found.items() <= ROWS.items()
    assert (path / "data.damaged-1").read_bytes() == broken
    assert "is made anew of what can be read" in caplog.text
    tx = store.begin()
    tx.put_many("left", ROWS.items())
    tx.commit()
    store.close()
    store = open_store(path, NAMES, options)
    assert rows_of(store) == ROWS
    assert not (path / "data.damaged-2").exists()
    store.close()
    for number in (2, 3, 10):
        (path / f"data.damaged-{number}").touch()
    break_leaf(path, random.Random(seed))
    open_store(path, NAMES, options).close()
    assert {one.name for one in path.glob("data.damaged-*")} == {f"data.damaged-{number}" for number in (3, 10, 11)}
    assert "data.damaged-2 is removed: of damaged files, the last 3 are kept" in caplog.text


@pytest.mark.usefixtures("unlooked")
def test_a_page_that_breaks_while_it_is_open_costs_its_own_rows(path: Path, options: LmdbOptions) -> None:
    store = open_store(path, NAMES, options)
    tx = store.begin()
    tx.put("right", b"b", b"2")
    tx.commit()
    place = (path / "data.mdb").read_bytes().rindex(b"key 000100") // PAGE * PAGE
    with (path / "data.mdb").open("r+b") as file:
        file.seek(place)
        file.write(bytes(PAGE))
    tx = store.begin()
    with pytest.raises(StoreCorruptError) as caught:  # not by a scan, at which LMDB itself would end the process
        tx.get("left", b"key 000100")
    tx.abort()

    store.mend(caught.value)

    found = rows_of(store)
    assert 300 < len(found) < 400
    assert rows_of(store, "right") == {b"a": b"1", b"b": b"2"}
    tx = store.begin()
    tx.put_many("left", ROWS.items())
    tx.commit()
    store.close()
    store = open_store(path, NAMES, options)
    assert rows_of(store) == ROWS
    store.close()


def test_a_lost_meta_page_is_told_and_the_other_one_serves(path: Path, options: LmdbOptions) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    data[:PAGE] = bytes(PAGE)
    (path / "data.mdb").write_bytes(data)

    store = open_store(path, NAMES, options)

    assert rows_of(store) in (ROWS, {})  # as of the commit before, if it was the newer one
    assert set_aside_of(store)[0].why.endswith("if it was in force, what was committed last is gone")
    store.close()


def test_a_file_that_was_cut_off_is_refused_in_words(path: Path, options: LmdbOptions) -> None:
    data = (path / "data.mdb").read_bytes()
    for size in range(2 * PAGE, len(data) - PAGE, PAGE // 2):
        (path / "data.mdb").write_bytes(data[:size])

        with pytest.raises(StoreCorruptError, match=r"data.mdb is damaged: it has \d+ bytes, .* it was cut off"):
            open_store(path, NAMES, options)


def test_an_empty_file_is_refused_and_not_taken_for_a_new_store(path: Path, options: LmdbOptions) -> None:
    (path / "data.mdb").write_bytes(b"")

    with pytest.raises(StoreCorruptError, match=r"data.mdb is empty: a copy that failed"):
        open_store(path, NAMES, options)

    assert (path / "data.mdb").stat().st_size == 0


def test_what_says_which_records_the_tables_have_is_not_done_without(path: Path, options: LmdbOptions) -> None:
    if not options.journal:
        pytest.skip("there is no journal")
    data = bytearray((path / "data.mdb").read_bytes())
    for place in range(data.rindex(b"checkpoint") + 14, data.rindex(b"checkpoint") + 18):
        data[place] ^= 0xFF
    (path / "data.mdb").write_bytes(data)

    with pytest.raises(StoreCorruptError, match="damaged where it says which records of the journal it has"):
        open_store(path, NAMES, options)


def test_no_room_for_a_new_file_is_told_and_leaves_all_as_it_was(
    path: Path, options: LmdbOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    break_leaf(path, random.Random(1))
    broken = (path / "data.mdb").read_bytes()
    monkeypatch.setattr(damage, "flush", refuse)

    with pytest.raises(StoreError, match=r"has broken pages, and there was no making it anew .* No space left"):
        open_store(path, NAMES, options)

    assert (path / "data.mdb").read_bytes() == broken
    assert sorted(one.name for one in path.iterdir() if one.name.startswith("data")) == ["data.mdb"]


@pytest.mark.usefixtures("unlooked")
def test_all_of_a_large_file_is_looked_at_when_one_start_after_the_other_was_ended(
    path: Path, options: LmdbOptions
) -> None:
    break_leaf(path, random.Random(2))  # at which LMDB may end the process
    holder = json.loads((path / "lock").read_text())
    assert holder["is_closed"]

    state = {"is_closed": False, "is_reading": False, "unclean_ends": UNCLEAN_ENDS_MAX - 2}
    (path / "lock").write_text(json.dumps({**holder, **state}))
    store = open_store(path, NAMES, options)

    assert len(set_aside_of(store)) == 1
    assert len(rows_of(store)) > 300
    store.close()
