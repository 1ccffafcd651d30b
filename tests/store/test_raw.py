"""What can be read of a data file is read, and what cannot is named, whatever is broken."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from tests.images.damaging import PAGE, random_page, swapped_pages, zeroed_page
from zq.errors import StoreCorruptError, StoreError
from zq.store import LmdbStore
from zq.store.raw import RawFile, RawRow

TABLES = ("left", "right", "empty")
Row = tuple[str, bytes, bytes]
SEED = 20261129


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, set[Row]]:
    """A data file with trees of three levels, values in pages of their own and free pages; and its rows."""
    path = tmp_path_factory.mktemp("raw") / "s.zq"
    draw = random.Random(SEED)
    store = LmdbStore(path, TABLES)
    for _ in range(4):
        tx = store.begin()
        for _ in range(300):
            key, size = draw.randbytes(draw.randint(4, 300)), draw.choice((0, 10, 100, 1000, 6000))
            tx.put(draw.choice(TABLES[:2]), key, draw.randbytes(size))
        for key, _ in list(tx.scan("left"))[::3]:
            tx.delete("left", key)
        tx.commit()
    tx = store.begin()
    rows = {(table, key, value) for table in TABLES for key, value in tx.scan(table)}
    tx.abort()
    store.close()
    return (path / "data.mdb").read_bytes(), rows


def read(path: Path, data: bytes) -> list[RawRow]:
    path.mkdir(exist_ok=True)
    (path / "data.mdb").write_bytes(data)
    with RawFile.open(path) as raw:
        return list(raw.rows())


def whole(rows: list[RawRow]) -> list[Row]:
    return [(row.table, row.key, row.value) for row in rows if row.fault is None and row.table in TABLES]


def test_a_file_that_is_whole_has_all_rows_and_no_fault(tmp_path: Path, original: tuple[bytes, set[Row]]) -> None:
    data, expected = original

    rows = read(tmp_path, data)

    assert [row for row in rows if row.fault] == []
    assert len(whole(rows)) == len(expected)
    assert set(whole(rows)) == expected
    with RawFile.open(tmp_path) as raw:
        assert raw.tables()["right"].depth == 3
        assert raw.meta.free.entries > 0


def flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(2 * PAGE, len(data))] ^= 1 << draw.randrange(8)


def flip_in_head(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(2, len(data) // PAGE) * PAGE + draw.randrange(40)] ^= 1 << draw.randrange(8)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(2 * PAGE, len(data)) :]


@pytest.mark.parametrize("damage", [flip, flip_in_head, zeroed_page, random_page, swapped_pages, cut])
def test_what_is_damaged_is_named_and_the_rest_is_read(
    damage: Callable[[bytearray, random.Random], None], tmp_path: Path, original: tuple[bytes, set[Row]]
) -> None:
    data, expected = original
    bitten = 0
    for seed in range(SEED, SEED + 15):
        changed = bytearray(data)
        damage(changed, random.Random(seed))

        rows = read(tmp_path, bytes(changed))

        found = whole(rows)
        assert set(found) <= expected, seed
        assert len(found) == len(set(found)), seed
        faults = [row for row in rows if row.fault]
        assert faults or len(found) == len(expected), seed
        bitten += len(found) < len(expected)
        lost = expected - set(found)
        for table, key, _ in lost:  # each of which is in a part that is said to be lost, or said to be damaged
            assert any(
                not row.table
                or (
                    row.table == table
                    and (not row.is_part or (row.key <= key and (row.stop is None or key < row.stop)))
                )
                for row in faults
            ), (seed, table, key)
    assert bitten > 2


def test_one_meta_page_is_enough_and_its_loss_is_named(tmp_path: Path, original: tuple[bytes, set[Row]]) -> None:
    for page in (0, 1):
        data = bytearray(original[0])
        data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)

        faults = [row.fault for row in read(tmp_path, bytes(data)) if row.fault]

        assert f"meta page {page}: it is no meta page of LMDB" in str(faults[0]) or "meta page 1: not found" in str(
            faults[0]
        )


def test_no_meta_page_is_an_error_in_words(tmp_path: Path, original: tuple[bytes, set[Row]]) -> None:
    with pytest.raises(StoreCorruptError, match="no meta page that can be read"):
        read(tmp_path, bytes(2 * PAGE) + original[0][2 * PAGE :])
    with pytest.raises(StoreError, match="No such file"):
        RawFile.open(tmp_path / "nowhere")


def test_pages_that_a_shorter_value_was_left_are_its_own_and_a_wrong_count_of_them_costs_no_row(tmp_path: Path) -> None:
    sizes = [(long, short) for long in (5000, 40_000) for short in (0, 10, 3000, 4500, long - 1)]
    store = LmdbStore(tmp_path / "s.zq", TABLES)
    tx = store.begin()
    for number, size in enumerate(size for pair in zip(*sizes, strict=True) for size in pair):
        tx.put("left", b"%d" % (number % len(sizes)), b"%d" % (number % 10) * size)
    expected = dict(tx.scan("left"))
    tx.commit()
    store.close()
    data = (tmp_path / "s.zq" / "data.mdb").read_bytes()

    rows = read(tmp_path, data)

    assert [row for row in rows if row.fault] == []
    with RawFile.open(tmp_path) as raw:
        assert raw.tables()["left"].overflow_pages == sum((16 + 4 + long - 1) // PAGE + 1 for long, _ in sizes)
        assert sum((16 + 4 + len(value) - 1) // PAGE + 1 for value in expected.values()) < 40
    heads = [
        at for at in range(2 * PAGE, len(data), PAGE) if data[at : at + 12] == struct.pack("<QI", at // PAGE, 4 << 16)
    ]
    assert len(heads) == len(sizes)
    for at in heads:
        for bit in (0, 1, 2, 3, 4, 5, 6, 20, 31):
            changed = bytearray(data)
            changed[at + 12 + bit // 8] ^= 1 << bit % 8

            rows = read(tmp_path, bytes(changed))

            assert any(row.fault for row in rows), (at, bit)
            is_more = changed[at + 12 : at + 16][::-1] > data[at + 12 : at + 16][::-1]
            assert len(whole(rows)) == len(sizes) or not is_more, (at, bit)
            assert len(whole(rows)) >= len(sizes) - 1, (at, bit)


def test_rows_are_those_of_lmdb(tmp_path: Path, original: tuple[bytes, set[Row]]) -> None:
    rows = read(tmp_path, original[0])

    with lmdb.open(str(tmp_path), max_dbs=5, readonly=True, lock=False) as env:
        for table in TABLES:
            with env.begin(db=env.open_db(table.encode(), create=False)) as txn:
                assert [(row.key, row.stored) for row in rows if row.table == table] == list(txn.cursor())
