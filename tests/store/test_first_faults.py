"""What a data file says of itself, its tables and its schema is looked at at each start, however large it is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import lmdb
import pytest

from zq.core import tables
from zq.core.storage import Damage
from zq.core.sums import SUM_BYTES
from zq.core.tables import SCHEMA, TABLES
from zq.errors import StoreCorruptError, StoreVersionError
from zq.store import LmdbStore, damage
from zq.store.carrying import put_schema, schema_rows
from zq.store.pages import read_meta
from zq.store.raw import RawFile
from zq.store.records import CHECKPOINT_TABLE

NAMES = (*TABLES, CHECKPOINT_TABLE)
PAGE = 4096
ROWS = {b"key %06d" % n: b"value %06d" % n * 9 for n in range(400)}
TEXT = b"schema%d" % SCHEMA
SEALED = b"sealed" + schema_rows(b"%d" % SCHEMA)[b"sealed"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with rows, closed, of which nothing is looked at that is not looked at of a large one."""
    monkeypatch.setattr(damage, "PAGES_MAX", 0)
    store = LmdbStore(tmp_path / "s.zq", NAMES)
    tx = store.begin()
    tx.put_many(tables.PENDING, ROWS.items())
    tx.commit()
    store.close()
    return tmp_path / "s.zq"


def change(path: Path, what: bytes, by: bytes) -> None:
    data = (path / "data.mdb").read_bytes()
    assert what in data
    (path / "data.mdb").write_bytes(data.replace(what, by))


def look_at(path: Path) -> tuple[dict[bytes, bytes], list[Damage]]:
    """Opens a directory, and returns its rows and what was found; and that nothing is any more."""
    store = LmdbStore(path, NAMES)
    tx = store.begin()
    rows, found = dict(tx.scan(tables.PENDING)), list(store.damages)
    tx.abort()
    store.close()
    LmdbStore(path, NAMES).close()
    with RawFile.open(path) as raw:
        assert [row for row in raw.rows() if row.fault] == []
        assert raw.schema_text == b"%d" % SCHEMA
    return rows, found


@pytest.mark.parametrize(
    "what",
    [
        {TEXT: b"schema15"},  # as if another version had written it
        {TEXT: b"schema1t"},
        {TEXT: b"schemb14"},
        {SEALED: SEALED[:8] + b"\x7f" + SEALED[9:]},
        {SEALED: b"sealee" + SEALED[6:]},
        {TEXT: b"schema\0\0", SEALED: b"sealed" + bytes(len(SEALED) - 6)},  # the other rows know
    ],
    ids=["other number", "no number", "other key", "its checksum", "the key of the other one", "both"],
)
def test_a_damaged_row_of_the_schema_is_put_right_and_nothing_is_lost(path: Path, what: dict[bytes, bytes]) -> None:
    for before, after in what.items():
        change(path, before, after)

    rows, found = look_at(path)

    assert rows == ROWS
    assert {(one.table, one.is_mended) for one in found} == {("zq", True)}
    assert len(found) == len(what)


def test_rows_of_an_earlier_schema_are_known_by_their_checksums_where_nothing_else_says_it(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=40) as env, env.begin(write=True) as txn:
        info, pending = (env.open_db(name, txn=txn) for name in (b"zq", tables.PENDING.encode()))
        txn.drop(info, delete=False)
        for key, value in ROWS.items():
            txn.put(key, crc32(value).to_bytes(SUM_BYTES, "big") + value, db=pending)

    rows, found = look_at(path)

    assert rows == ROWS
    assert found == []


def test_a_directory_of_another_schema_or_of_somebody_else_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    with lmdb.open(str(path), max_dbs=40) as env, env.begin(write=True, db=env.open_db(b"zq")) as txn:
        put_schema(txn, None, b"99")
    (tmp_path / "strange.zq").mkdir(mode=0o700)
    with lmdb.open(str(tmp_path / "strange.zq"), max_dbs=3) as env:
        table = env.open_db(b"theirs", dupsort=True)  # which is not written here
        with env.begin(write=True, db=table) as txn:
            txn.put(b"a", b"1")

    for directory, text in ((path, "has schema 99"), (tmp_path / "strange.zq", "that zq did not write")):
        before = (directory / "data.mdb").read_bytes()
        with pytest.raises(StoreVersionError, match=text):
            LmdbStore(directory, NAMES)
        assert (directory / "data.mdb").read_bytes() == before


def entry_of(data: bytearray, name: bytes) -> int:
    """Returns where in the list of tables the tree of one is, in the version of it that is in force."""
    page = max(
        (read_meta(bytes(data[at : at + PAGE])) for at in (0, PAGE)), key=lambda meta: meta.transaction
    ).main.root
    return data.index(name, page * PAGE, (page + 1) * PAGE) + len(name)


def many_pages(data: bytearray) -> None:
    data[entry_of(data, b"pending") + 12] |= 0x80  # its leaf pages


def no_depth(data: bytearray) -> None:
    data[entry_of(data, b"unique") + 6] = 1  # of an empty one


@pytest.mark.parametrize("damaged", [many_pages, no_depth])
def test_a_table_of_which_the_list_tells_nonsense_is_found_however_large_the_file_is(
    path: Path, damaged: Callable[[bytearray], None]
) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    damaged(data)
    (path / "data.mdb").write_bytes(data)

    rows, found = look_at(path)

    assert rows == ROWS
    assert "the list of tables" in found[0].why


def test_a_directory_whose_list_of_tables_is_gone_is_not_taken_for_an_empty_one(path: Path) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    at = entry_of(data, b"pending") // PAGE * PAGE
    data[at : at + PAGE] = bytes(PAGE)
    (path / "data.mdb").write_bytes(data)

    with pytest.raises(StoreCorruptError, match=r"which tables it has \(the list of tables: page \d+: .*zq salvage"):
        LmdbStore(path, NAMES)


def test_an_entry_that_is_there_twice_is_found_and_the_one_in_whose_place_it_is_counts_as_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "PAGES_MAX", 4096)
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.rindex(b"key 000200") // PAGE * PAGE
    first, second = struct.unpack_from("<HH", data, at + 16 + 8)
    assert first != second
    struct.pack_into("<H", data, at + 16 + 10, first)
    (path / "data.mdb").write_bytes(data)

    rows, found = look_at(path)

    [gone] = ROWS.keys() - rows.keys()
    assert rows == {key: value for key, value in ROWS.items() if key != gone}
    [part] = [one for one in found if one.is_part]
    assert (part.table, part.is_mended) == (tables.PENDING, False)
    assert part.key <= gone and (part.stop is None or gone < part.stop)


def test_pages_of_long_values_count_when_a_file_is_too_large_to_be_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(path, NAMES)
    tx = store.begin()
    tx.put(tables.RESULTS, b"long", b"y" * (60 * PAGE))
    tx.commit()
    store.close()
    change(path, b"y" * (50 * PAGE), b"y" * (50 * PAGE - 1) + b"z")
    monkeypatch.setattr(damage, "PAGES_MAX", 60)

    assert look_for(path) == []
    monkeypatch.setattr(damage, "PAGES_MAX", 200)
    assert look_for(path) == [b"long"]


def look_for(path: Path) -> list[bytes]:
    return [row.key for row in damage.look(path, is_thorough=False).rows]
