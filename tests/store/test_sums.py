"""Whatever of a row was changed, or where it was put, it is found when it is read."""

from pathlib import Path

import lmdb
import pytest

from zq.errors import StoreCorruptError
from zq.store import LmdbStore, damage
from zq.store.lmdb import LmdbTransaction

TABLES = ("left", "right")
KEY, VALUE = b"a key of some length", b"a value that can be found in the file"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(damage, "PAGES_MAX", 0)  # nobody looks before it is read
    store = LmdbStore(tmp_path / "s.zq", TABLES)
    tx = store.begin()
    tx.put_many("left", [(b"a", b"1"), (KEY, VALUE)])
    tx.put("left", b"b", b"2")
    tx.commit()
    store.close()
    return tmp_path / "s.zq"


def read_all(path: Path) -> None:
    store = LmdbStore(path, TABLES)
    tx: LmdbTransaction = store.begin()
    try:
        assert list(tx.scan("left"))
        assert tx.get("left", b"a") == b"1"
    finally:
        tx.abort()
        store.close()


@pytest.mark.parametrize("what", [KEY, VALUE])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_of_a_row_is_found(path: Path, what: bytes, bit: int) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    place = data.rindex(what) + 3
    data[place] ^= 1 << bit
    (path / "data.mdb").write_bytes(data)

    with pytest.raises(StoreCorruptError, match="in table left does not match its checksum") as caught:
        read_all(path)

    assert caught.value.table == "left"
    assert (caught.value.key == KEY, caught.value.stored[4:] == VALUE) == (what is VALUE, what is KEY)


def test_a_row_of_another_table_is_found(path: Path) -> None:
    with lmdb.open(str(path), max_dbs=5) as env, env.begin(write=True) as txn:
        left, right = (env.open_db(name.encode(), txn=txn) for name in TABLES)
        txn.put(KEY, txn.get(KEY, db=left) or b"", db=right)
    store = LmdbStore(path, TABLES)
    tx = store.begin()

    assert tx.get("left", KEY) == VALUE
    with pytest.raises(StoreCorruptError, match="in table right does not match"):
        tx.get("right", KEY)

    tx.abort()
    store.close()
