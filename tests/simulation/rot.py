"""Rows whose bits flip on the disk while the coordinator runs: whoever reads one meets its checksum.

What is met is set aside by the real code of the store (`zq.store.damage`), here over the simulated tables; the shell's
own code reads the books again and takes the turn once more. Each row is set aside once and named in the log, and what
was in it is told as damaged. All else is as before: the ledger knows which tasks may have been hurt, and no other is
excused.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.simulation.ledger import Ledger, Violation
from tests.simulation.world import World
from zq.core import tables
from zq.core.state.batch import StoredBatch, bits, read_batch
from zq.core.state.books import Books
from zq.core.state.leases import LeaseRecord
from zq.core.state.places import End
from zq.core.storage import Damage
from zq.core.sums import SUM_BYTES, is_whole, salt_of, sealed
from zq.errors import StoreCorruptError
from zq.store import damage, engine
from zq.store.raw import RawRow

if TYPE_CHECKING:
    from tests.simulation.disk import DiskTables

SHARE = 0.0
"""Of the seeds; in tests of rot alone, all of them."""

ROTTEN = 0.1
"""Of the turns, before which something rots."""

LOOKED_AT = 0.6
"""Of the starts, at which all of a file is looked at before it is opened; others find what they read."""

MENDS_MAX = 100
"""Of a run: more do not come to an end."""

ROTTING = (
    tables.PENDING, tables.PARKED, tables.SCHEDULED, tables.DEAD, tables.PROGRESS, tables.LEASES, tables.RESULTS,
    tables.QUEUES, tables.META,
)  # fmt: skip

OF_BATCHES = (tables.PENDING, tables.SCHEDULED, tables.PARKED, tables.DEAD)

NOTICE_ID = "zq-id"
"""The header of a notice that says what it is about."""

Place = tuple[str, bytes]


class Rot:
    """What has rotted, and what may have gone with it.

    Attributes:
        rows: by table and key: what is stored there now, its checksum first; the tables have what it was.
        set_aside: rows that were, and are to be named.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(f"rot {seed}")
        self.is_active = self._rng.random() < SHARE
        self.rows: dict[Place, bytes] = {}
        self.set_aside: list[Place] = []
        self._mends = 0

    def act(self, disk_tables: DiskTables, books: Books | None, ledger: Ledger) -> None:
        """Flips a bit of a row that is on the disk, perhaps, before a turn."""
        if not self.is_active or books is None or self._world.is_healed or self._rng.random() >= ROTTEN:
            return
        tx = disk_tables.open_tx
        fresh = set() if tx is None else {(table, key) for table, key, _ in tx.undo}
        places = [(table, key) for table in ROTTING for key in disk_tables.keys[table]]
        by_table: dict[str, list[bytes]] = {}
        for table, key in places:
            if (table, key) not in fresh and (table, key) not in self.rows:
                by_table.setdefault(table, []).append(key)
        if not by_table:
            return
        table = self._rng.choice(list(by_table))
        key = self._rng.choice(by_table[table])
        value = disk_tables.values[table][key]
        stored = bytearray(sealed(salt_of(table), key, value))
        stored[self._rng.randrange(len(stored))] ^= 1 << self._rng.randrange(8)
        self.rows[table, key] = bytes(stored)
        hurt = _hurt_by(table, key, value, disk_tables, books)
        ledger.hurt |= hurt
        ledger.unnoticed |= _noted_by(table, key, value, books) if hurt else set()
        if table == tables.LEASES:
            ledger.untraced |= _stored_of(LeaseRecord(*tables.unpack(value)).key, disk_tables, books)
        self._world.note(f"rot of {table}")

    def check(self, table: str, key: bytes) -> None:
        """Reads a row as the store does, which raises StoreCorruptError if it has rotted."""
        stored = self.rows.get((table, key))
        if stored is not None:
            self._world.note("rot met")
            engine.open_value(table, key, stored, salt_of(table))
            raise Violation(f"the row of key {key.hex()} in table {table} is damaged, and was read as if it were whole")

    def look(self, disk_tables: DiskTables) -> None:
        """Looks at all of the file before it is opened, perhaps."""
        if self.rows and self._rng.random() < LOOKED_AT:
            disk_tables.damages += self.put_aside(disk_tables, None)

    def put_aside(self, disk_tables: DiskTables, error: StoreCorruptError | None) -> list[Damage]:
        """Sets aside all that has rotted, and what an error names besides."""
        self._mends += 1
        if self._mends > MENDS_MAX:
            raise Violation("what is damaged is set aside again and again")
        rotten = list(self.rows)
        rows = [RawRow(*place, stored, "it does not match its checksum") for place, stored in self.rows.items()]
        environment: Any = _Environment(disk_tables, self.rows)
        found = damage.set_aside(environment, rows, error)
        if left := [place for place in rotten if place in self.rows]:
            raise Violation(f"{left} are damaged, and were left where they are")
        self.set_aside += rotten
        self._world.note("set aside")
        return found

    def check_named(self, disk_tables: DiskTables, told: list[str]) -> None:
        """Checks, when all is over, that each row that was set aside is named, once on the disk and in the log."""
        noted = [
            Damage(*tables.unpack(value))
            for key, value in disk_tables.values[tables.DAMAGED].items()
            if key[:1] == b"r" and key != tables.RECOUNT_KEY
        ]
        for place in set(self.set_aside):
            times = self.set_aside.count(place)
            count = sum((one.table, one.key) == place and one.stored != b"" for one in noted)
            own = sum(f"the row of key {place[1].hex()} in table {place[0]}:" in line for line in told)
            if not count or count > times + _added(noted, place):
                raise Violation(f"{place} was set aside {times} times, and table damaged has {count} rows of it")
            if not own:
                raise Violation(f"{place} was set aside, and no line in the log names it")


def _added(noted: list[Damage], place: Place) -> int:
    """Returns how often a row was set aside that was whole: what belongs to it is gone."""
    return sum((one.table, one.key) == place and one.stored[:SUM_BYTES] == bytes(SUM_BYTES) for one in noted)


def _hurt_by(table: str, key: bytes, value: bytes, disk_tables: DiskTables, books: Books) -> set[str]:
    """Returns the tasks of which nobody may know any more what has become of them."""
    if table in OF_BATCHES:
        return _tasks_of(table, key, value, books)
    task_key = key if table == tables.PROGRESS else key[:-2] if table == tables.RESULTS else None
    if task_key is None:
        return set()
    found = _stored_of(task_key, disk_tables, books)
    for id, record in disk_tables.values[tables.INDEX].items():
        fields = tables.unpack(record)
        if fields[0] == tables.AT_ENDED and End(*fields).key == task_key:
            found.add(id.decode())
    return found


def _stored_of(task_key: bytes, disk_tables: DiskTables, books: Books) -> set[str]:
    """Returns the tasks that have not ended of what is stored under a task key."""
    values = disk_tables.values
    rows = [(tables.PENDING, task_key, values[tables.PENDING].get(task_key))]
    rows += [(tables.SCHEDULED, key, value) for key, value in values[tables.SCHEDULED].items() if key[8:] == task_key]
    rows += [
        (tables.PARKED, key, value)
        for key, value in values[tables.PARKED].items()
        if tables.unpack(value)[0] == task_key
    ]
    found = (_tasks_of(table, key, value, books) for table, key, value in rows if value is not None)
    return set().union(*found)


def _tasks_of(table: str, key: bytes, value: bytes, books: Books) -> set[str]:
    batch = _batch_of(table, key, value, books)
    if batch is None:
        return set()
    return {batch.own_id, batch.id, *(batch.task_id(batch.first + bit) for bit in bits(batch.full))}


def _noted_by(table: str, key: bytes, value: bytes, books: Books) -> set[str]:
    """Returns whose notice a row has."""
    batch = _batch_of(table, key, value, books) if table in OF_BATCHES else None
    headers = {} if batch is None else batch.options.headers or {}
    return {headers[NOTICE_ID]} if NOTICE_ID in headers else set()


def _batch_of(table: str, key: bytes, value: bytes, books: Books) -> StoredBatch | None:
    task_key = key[8:] if table == tables.SCHEDULED else key
    if table == tables.PARKED:
        task_key, value = tables.unpack(value)
    elif table == tables.DEAD:
        value = tables.unpack(value)[0]
    queue = books.queues_by_number.get(tables.split_task_key(task_key)[0])
    return None if queue is None else read_batch(task_key, queue, value)


class _Environment:
    """What `zq.store.damage` needs of an environment of LMDB, over simulated tables."""

    def __init__(self, disk_tables: DiskTables, rotten: dict[Place, bytes]) -> None:
        self.tables = disk_tables
        self.rotten = rotten

    def open_db(self, name: bytes, txn: object = None) -> str:
        return name.decode()

    @contextmanager
    def begin(self, *, write: bool = False, db: str = "") -> Iterator[_Writing]:
        yield _Writing(self, db)


class _Writing:
    def __init__(self, environment: _Environment, db: str) -> None:
        self._environment = environment
        self._db = db

    def get(self, key: bytes, db: str | None = None) -> bytes | None:
        table = db or self._db
        value = self._environment.tables.values[table].get(key)
        return None if value is None else self.stored(table, key)

    def stored(self, table: str, key: bytes) -> bytes:
        rotten = self._environment.rotten.get((table, key))
        return sealed(salt_of(table), key, self._environment.tables.values[table][key]) if rotten is None else rotten

    def put(self, key: bytes, stored: bytes, *, db: str, overwrite: bool = True) -> None:
        if not is_whole(salt_of(db), key, stored):
            raise Violation(f"a row that is not whole is written to table {db}")
        if overwrite or key not in self._environment.tables.values[db]:
            self._environment.rotten.pop((db, key), None)
            self._environment.tables.set(db, key, stored[SUM_BYTES:])

    def take(self, table: str, key: bytes) -> None:
        self._environment.rotten.pop((table, key), None)
        self._environment.tables.set(table, key, None)

    @contextmanager
    def cursor(self, db: str) -> Iterator[_Cursor]:
        yield _Cursor(self, db, self._environment.tables.keys[db])


class _Cursor:
    def __init__(self, writing: _Writing, table: str, keys: list[bytes]) -> None:
        self._writing = writing
        self._table = table
        self._keys = keys
        self._at = 0

    def _is_there(self, at: int) -> bool:
        self._at = at
        return 0 <= at < len(self._keys)

    def first(self) -> bool:
        return self._is_there(0)

    def last(self) -> bool:
        return self._is_there(len(self._keys) - 1)

    def next(self) -> bool:
        return self._is_there(self._at + 1)

    def prev(self) -> bool:
        return self._is_there(self._at - 1)

    def key(self) -> bytes:
        return self._keys[self._at] if 0 <= self._at < len(self._keys) else b""

    def item(self) -> tuple[bytes, bytes]:
        key = self.key()
        return (key, self._writing.stored(self._table, key)) if key else (b"", b"")

    def delete(self) -> bool:
        self._writing.take(self._table, self.key())
        return True
