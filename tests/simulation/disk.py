"""The simulated disk: tables, and before them a journal or none, as the real code uses them.

A power cut loses what was not flushed: the record that was just written is there, or a part of it up to any byte, or
any of its sectors; the tables' last commit has happened, or has not. A process that is killed loses nothing of what it
wrote. Both strike at each point of a commit. At each crash the disk notes which states of the tables may come back, and
compares them with what the next start makes of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from tests.simulation.ledger import Violation
from tests.simulation.rot import Rot
from tests.simulation.space import SCALE, Space
from tests.simulation.world import World
from zq.core.storage import Store, StoreInfo, Transaction
from zq.core.tables import DAMAGED, PENDING, TABLES
from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.store.gauge import Gauge
from zq.store.journaled import JournaledStore
from zq.store.memory import MemoryStore, MemoryTransaction
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint, read_chain
from zq.store.seam import JournalOptions, RedoLog

Rows = dict[str, dict[bytes, bytes]]

POINT_SHARE = 0.5
"""Of the crashes that a seed draws, at each point of a commit: there are many of them in a turn."""

POWER_CUTS = 0.7
"""Of all crashes; the others leave what was written."""

ROT = 0.2
"""Of starts that find a journal, before which a bit of it flips."""


class Crash(Exception):
    """The process ends here."""


class FlushError(StoreError):
    """A flush has failed, upon which the process ends, too."""


class Disk:
    """What is left of a process when it ends, and how the next one opens it.

    Attributes:
        tables: rows, as the process sees them.
        store: as it was opened.
        has_lost_turn: at the last start, whether the turn in whose commit the process had ended has not happened.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(f"disk {seed}")  # not the world's: what a seed draws there stays as it is
        self.space = Space(world, seed)
        self.damaged = Rot(world, seed)
        self._set_aside = 0  # rows, when the process before had ended
        self.tables = DiskTables(self)
        self.log: SimulatedLog | None = None
        self.store: JournaledStore | DiskTables = self.tables
        self.fails_in_turns = self.rng.choice((0.0, 0.0, 0.02))
        self.fails_to_flush = self.rng.choice((0.0, 0.0, 0.04))
        self.has_lost_turn = False
        self.is_read = False  # by the coordinator, and not by whoever checks it
        self.deletes_early = False  # planted fault
        self.stops = self.rng.choice((0.0, 0.0, 0.02))
        self._journal = self.rng.choice(("on", "on", "off", "changing"))
        self._capacity = self.rng.choice((800, 4096, 1 << 16))
        self._options = JournalOptions(
            turn_bytes_max=self.rng.choice((300, 3000, 128 << 10)),
            age_max=self.rng.choice((0.3, 1.0, 30.0)),
            pause_min=0.25,
            idle_after=self.rng.choice((0.005, 0.3)),
        )
        self._may_return: list[Rows] | None = None  # after a crash
        self._after: Rows | None = None  # what a turn made that may have happened, or not
        self._is_opening = False
        self.is_redoing = False  # what a failed turn has taken from the tables, and the log has
        self._before_turn: Rows = {}  # of one that failed
        self._set_aside_before = 0
        self._mark: tuple[MemoryTransaction | None, int] = (None, 0)  # of the tables, when the turn began

    def may(self, share: float) -> bool:
        """Draws whether something of this disk happens, as `World.strikes`."""
        return not self.world.is_healed and self.rng.random() < share

    # Opening.

    def open(self) -> Store:
        """Opens it as a start does, and checks what the start has made of it."""
        self.damaged.look(self.tables)
        self.space.open(self.tables)
        wants_journal = self._journal == "on" or (self._journal == "changing" and self.rng.random() < 0.6)
        if self.log is not None:
            self._rot(self.log)
            self.log.begin_life()
        self._is_opening = True
        if self.log is not None or wants_journal:
            self.store = self._open_journaled(keeps_log=wants_journal)
        self._is_opening = False
        self._check(self._rows(), self._may_return, "a start")
        self.has_lost_turn = self._after is None or not self._is_same(self._rows(), self._after)
        self._may_return = None
        return self.store

    def _open_journaled(self, *, keeps_log: bool) -> JournaledStore | DiskTables:
        if self.log is not None and self._beyond() > 0:
            self.world.note("journal applied")
        store = _Journaled(self, self.log, self._options, self._make_log if keeps_log else None)
        if keeps_log:
            return store
        store.leave_log()
        return self.tables

    def _make_log(self) -> SimulatedLog:
        self.log = SimulatedLog(self, self._capacity, self.rng.randbytes(16))
        return self.log

    def _beyond(self) -> int:
        """Returns how many records a start has to apply."""
        assert self.log is not None
        checkpoint = self._checkpoint()
        chain = read_chain(memoryview(bytes(self.log.data)), checkpoint.salt)
        return sum(record.sequence > checkpoint.sequence for record in chain)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint.from_bytes(self.tables.values[CHECKPOINT_TABLE].get(CHECKPOINT_KEY))

    def _rot(self, log: SimulatedLog) -> None:
        """Flips a bit of a record that others follow: that is no tail, and must be an error."""
        if not self.may(ROT):
            return
        checkpoint = self._checkpoint()
        chain = read_chain(memoryview(bytes(log.data)), checkpoint.salt)
        new = [record for record in chain if record.sequence > checkpoint.sequence]
        if len(new) < 2 or new[0].sequence != checkpoint.sequence + 1:
            return
        record = self.rng.choice(new[:-1])
        place, bit = self.rng.randrange(record.place, record.end), 1 << self.rng.randrange(8)
        log.data[place] ^= bit
        self.world.note("rot")
        self._is_opening = True
        try:
            JournaledStore(self.tables, log, self._options)
        except StoreCorruptError:
            pass
        else:
            raise Violation(f"record {record.sequence} of the journal is damaged, and nobody has noticed")
        finally:
            self._is_opening = False
            self.tables.lose()
            log.data[place] ^= bit

    # What happens.

    def begin(self) -> Transaction:
        """Begins a turn of the machine."""
        self.space.has_refused = False
        tx = EagerDeletes(self.store) if self.deletes_early else self.store.begin()
        self.mark()
        if self.is_troubled:
            self.note_before()
        return tx

    @property
    def is_troubled(self) -> bool:
        """Whether any turn may fail."""
        return self.space.kind in ("loose", "map") or self.damaged.is_active

    def info(self) -> StoreInfo:
        return self.store.info()

    def close(self) -> None:
        """Ends it as a coordinator that is stopped does; nothing may be left to apply, if there is room for it."""
        self.mark()
        self.space.has_refused = False
        self._note_end([self._rows()])
        self.store.close()
        if self.log is not None and self._beyond() and not self.space.has_refused:
            raise Violation("the store was closed, and a start has records to apply")

    def mark(self) -> None:
        """Notes that the tables are as the last turn left them."""
        tx = self.tables.open_tx
        self._mark = tx, 0 if tx is None else len(tx.undo)

    def rest(self, now: float) -> None:
        self.mark()
        if not self.is_troubled:
            self.store.rest(now)
            return
        self.note_before()
        self.store.rest(now)
        self._check(self._rows(), [self._before_turn], "a rest")

    def point(self, *, before: bool, after: bool) -> None:
        """Ends the process here, perhaps; a start may then find what was before the turn, and what is after it."""
        if not self.may(self.world.faults.crash * POINT_SHARE):
            return
        self.world.note("crash")
        self.world.note("crash in a commit")
        self.note_doubt(before=before, after=after)
        raise Crash

    def note_doubt(self, *, before: bool, after: bool) -> None:
        if self.is_redoing and self.is_troubled and not self._is_opening:  # the tables are on their way to it
            self._after = None
            self._note_end([self._before_turn])
            self._set_aside = self._set_aside_before
        elif not self._is_opening:  # then it is still the crash before that counts
            self._after = self._rows() if after else None
            self._note_end(
                [*([self._rows_before()] if before else ()), *([] if self._after is None else [self._after])]
            )

    def _note_end(self, may_return: list[Rows]) -> None:
        """Notes what may be there when this process has ended: it may take several to start again."""
        self._may_return = may_return
        self._set_aside = len(self.damaged.set_aside)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the process has ended in a commit."""
        return self._may_return is not None

    def crash(self) -> None:
        """Ends the process that uses it; a turn that was under way has been aborted."""
        if self._may_return is None:
            self._note_end([self._rows()])
        self._is_opening = self.is_redoing = False
        if self.log is not None and self.rng.random() < POWER_CUTS:
            self.log.lose()
        self.tables.lose()
        self.store = self.tables

    def check_aborted(self) -> None:
        """Checks, after a turn that failed, that nothing of it is left."""
        self._check(self._rows(), [self._before_turn], "a turn that failed")

    # Rows.

    def note_before(self) -> None:
        """Remembers what a turn that is about to fail must leave."""
        self._before_turn = self._rows_before()
        self._set_aside_before = len(self.damaged.set_aside)

    def _rows(self) -> Rows:
        return {table: dict(self.tables.values[table]) for table in TABLES}

    def _rows_before(self) -> Rows:
        """Returns what the turn found that is under way."""
        rows = self._rows()
        tx, count = self._mark
        now = self.tables.open_tx
        if now is None or (tx is not None and tx is not now):
            return rows
        for table, key, old in reversed(now.undo[count:]):
            if table in rows:
                if old is None:
                    rows[table].pop(key, None)
                else:
                    rows[table][key] = old
        return rows

    def _is_same(self, found: Rows, rows: Rows) -> bool:
        """Whether rows are the same, but for what was set aside since the process before had ended."""
        aside = self.damaged.set_aside[self._set_aside :]
        if found == rows or not aside:
            return found == rows
        one, other = _places(found), _places(rows)
        left_out = {place for place in (*one, *other) if place[0] == DAMAGED} | set(aside)
        return all(one.get(place) == other.get(place) for place in {*one, *other} - left_out)

    def _check(self, found: Rows, allowed: list[Rows] | None, what: str) -> None:
        if allowed is None or any(self._is_same(found, rows) for rows in allowed):
            return
        differing = [table for table in TABLES if found[table] not in [rows[table] for rows in allowed]]
        raise Violation(f"{what} left something else than a turn: see tables {differing}")


def _places(rows: Rows) -> dict[tuple[str, bytes], bytes]:
    return {(table, key): value for table, values in rows.items() for key, value in values.items()}


class _Journaled(JournaledStore):
    """The real one, which says when its tables are on their way to what they were."""

    def __init__(
        self, disk: Disk, log: SimulatedLog | None, options: JournalOptions, make_log: Callable[[], SimulatedLog] | None
    ) -> None:
        self._disk = disk
        super().__init__(disk.tables, log, options, make_log=make_log)

    def _redo_somehow(self, log: RedoLog) -> None:
        self._disk.is_redoing = True
        try:
            super()._redo_somehow(log)
        finally:
            self._disk.is_redoing = False


class EagerDeletes:
    """A planted fault: a transaction whose deletes from pending stay, even if it does not commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tx = store.begin()
        self._deleted: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def delete(self, table: str, key: bytes) -> bool:
        if table == PENDING:
            self._deleted.append(key)
        return self._tx.delete(table, key)

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        return [self.delete(table, key) for key in keys]

    def abort(self) -> None:
        self._tx.abort()
        tx = self._store.begin()
        for key in self._deleted:
            tx.delete(PENDING, key)
        tx.commit()


class DiskTransaction(MemoryTransaction):
    """Of the tables; a crash may come before it has happened, and when it has."""

    __slots__ = ()

    @property
    def undo(self) -> list[tuple[str, bytes, bytes | None]]:
        return self._undo

    @property
    def _gauge(self) -> Gauge | None:
        return cast("DiskTables", self._store).gauge

    @property
    def is_short(self) -> bool:
        return super().is_short or ((gauge := self._gauge) is not None and gauge.is_short)

    @property
    def is_spent(self) -> bool:
        return super().is_spent or ((gauge := self._gauge) is not None and gauge.is_spent)

    @property
    def way_out_bytes(self) -> float:
        return super().way_out_bytes if (gauge := self._gauge) is None else gauge.way_out_bytes

    @property
    def room_bytes(self) -> float:
        return super().room_bytes if (gauge := self._gauge) is None else gauge.room_bytes

    def get(self, table: str, key: bytes) -> bytes | None:
        disk = cast("DiskTables", self._store).disk
        if disk.is_read and disk.damaged.rows:
            disk.damaged.check(table, key)
        return super().get(table, key)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        disk = cast("DiskTables", self._store).disk
        if not (disk.is_read and disk.damaged.rows):
            return super().scan(table, start, stop)
        return self._scan_checked(table, start, stop)

    def _scan_checked(self, table: str, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        disk = cast("DiskTables", self._store).disk
        for key, value in super().scan(table, start, stop):
            disk.damaged.check(table, key)
            yield key, value

    def _note_healed(self, table: str, key: bytes) -> None:
        """Notes what is written over or taken away, and is as it was when this is aborted."""
        tables = cast("DiskTables", self._store)
        if tables.disk.damaged.rows and (rotten := tables.disk.damaged.rows.pop((table, key), None)) is not None:
            tables.healed[table, key] = rotten

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._note_healed(table, key)
        super().put(table, key, value)
        space, used = cast("DiskTables", self._store).disk.space, self._store.used_bytes
        if used > space.most:
            space.most = used

    def delete(self, table: str, key: bytes) -> bool:
        self._note_healed(table, key)
        is_there = super().delete(table, key)
        space, used = cast("DiskTables", self._store).disk.space, self._store.used_bytes
        if used < space.least:
            space.least = used
        return is_there

    def commit(self) -> None:
        tables = self._store
        assert isinstance(tables, DiskTables)
        tables.disk.point(before=True, after=False)
        if tables.refuses_commit():
            MemoryTransaction.abort(self)
            tables.open_tx = None
            tables.take_back_healed()
            tables.note_end()
            raise StoreFullError(f"cannot commit: {tables.why_full}")
        super().commit()
        tables.healed.clear()
        tables.note_commit()
        tables.open_tx = None
        tables.disk.point(before=False, after=True)

    def abort(self) -> None:
        tables = self._store
        assert isinstance(tables, DiskTables)
        super().abort()
        tables.open_tx = None
        tables.take_back_healed()
        tables.note_end()


class DiskTables(MemoryStore):
    """See `zq.store.seam.Tables`."""

    def __init__(self, disk: Disk) -> None:
        super().__init__((*TABLES, CHECKPOINT_TABLE))
        self.disk = disk
        self.open_tx: DiskTransaction | None = None
        self.healed: dict[tuple[str, bytes], bytes] = {}  # rotten rows that the open transaction has written over
        self._used_before = self._written_before = 0

    @property
    def gauge(self) -> Gauge | None:
        """How full the disk is, where others fill it."""
        gauge = self.disk.space.gauge
        if gauge is not None:
            gauge.written_bytes = SCALE * self.written_bytes
        return gauge

    @property
    def is_full(self) -> bool:
        gauge = self.gauge
        return super().is_full or (gauge is not None and gauge.is_full)

    @property
    def why_full(self) -> str:
        gauge = self.gauge
        return super().why_full if gauge is None or super().is_full or not gauge.is_full else gauge.why_full

    @property
    def room_bytes(self) -> float:
        gauge = self.gauge
        return super().room_bytes if gauge is None else min(super().room_bytes, gauge.room_bytes)

    def takes(self, count: float) -> bool:
        gauge = self.gauge
        if gauge is None or gauge.takes(count):
            return True
        gauge.look()
        return False

    def refuses_commit(self) -> bool:
        """Returns whether the commit of the open transaction finds no room."""
        return self.disk.space.refuses(self._used_before, self.written_bytes - self._written_before)

    def notice_room(self) -> None:
        if (gauge := self.gauge) is not None:
            gauge.note_turn()

    def take_back_healed(self) -> None:
        self.disk.damaged.rows.update(self.healed)
        self.healed.clear()

    def mend(self, error: StoreCorruptError) -> None:
        """See `zq.store.seam.Tables`."""
        count = len(self.damages)
        self.damages += self.disk.damaged.put_aside(self, error)
        if len(self.damages) == count:
            raise error

    def note_commit(self) -> None:
        self.disk.space.note_commit(self._used_before, self.written_bytes - self._written_before)
        self.note_end()

    def note_end(self) -> None:
        if (gauge := self.gauge) is not None:
            gauge.note_end()

    def begin(self) -> DiskTransaction:
        if self.is_busy:
            raise StoreError("another transaction is open")
        self.is_busy = True
        self.notice_room()
        self._used_before, self._written_before = self.used_bytes, self.written_bytes
        self.open_tx = DiskTransaction(self)
        return self.open_tx

    def lose(self) -> None:
        """Takes back what was not committed."""
        if self.open_tx is not None:
            self.open_tx.abort()


class SimulatedLog:
    """See `zq.store.seam.RedoLog`.

    Attributes:
        data: what whoever reads it finds.
    """

    def __init__(self, disk: Disk, capacity: int, salt: bytes) -> None:
        self.name = "the simulated journal"
        self.salt = salt
        self.capacity = capacity
        self.used = 0
        self.data = bytearray(capacity)
        self._disk = disk
        self._is_anothers = False  # what is not flushed
        self._flushed = bytearray(capacity)  # what a power cut leaves for sure
        self._unflushed: tuple[int, bytes] | None = None

    def begin_life(self) -> None:
        """Opens it again; what another process has written and not flushed is still in the system's memory."""
        self.used = 0
        self._is_anothers = self._unflushed is not None

    def append(self, record: bytes) -> None:
        disk = self._disk
        disk.point(before=True, after=False)
        if self._is_anothers:
            self.flush_now()
        if disk.space.refuses_record():
            raise StoreFullError("the simulated journal finds no room")
        if self._unflushed is not None:
            raise Violation("a record was written while the one before it was not flushed")
        self.data[self.used : self.used + len(record)] = record
        self._unflushed = self.used, record
        self.used += len(record)
        disk.point(before=True, after=True)

    def flush(self) -> None:
        disk = self._disk
        if disk.may(disk.fails_to_flush):
            disk.world.note("flush failed")
            self._unflushed = None  # the system has forgotten that it is not on disk
            disk.note_doubt(before=True, after=True)
            raise FlushError("cannot flush the simulated journal")
        self.flush_now()
        disk.point(before=False, after=True)

    def flush_now(self) -> None:
        if self._unflushed is not None:
            place, record = self._unflushed
            self._flushed[place : place + len(record)] = record
            self._unflushed = None
        self._is_anothers = False

    def lose(self) -> None:
        """Loses what was not flushed, or parts of it."""
        rng = self._disk.rng
        self.data = bytearray(self._flushed)
        if self._unflushed is None:
            return
        place, record = self._unflushed
        self._unflushed = None
        style = rng.choice(("none", "cut", "sectors"))
        self._disk.world.note("torn")
        if style == "cut":
            count = rng.randint(0, len(record))
            self.data[place : place + count] = record[:count]
        elif style == "sectors":
            size = rng.choice((16, 64, 512))
            for start in range(0, len(record), size):
                if rng.random() < 0.5:
                    self.data[place + start : place + start + size] = record[start : start + size]
        self._flushed = bytearray(self.data)

    def read(self) -> bytes:
        return bytes(self.data)

    def check_place(self) -> None:
        """Does nothing: its place is this object."""

    def restart(self, *, grows: bool) -> None:
        self.used = 0
        if grows and self.capacity < 1 << 17:
            for data in (self.data, self._flushed):
                data += bytes(self.capacity)
            self.capacity *= 2
            self._disk.world.note("journal grew")

    def remove(self) -> None:
        self._disk.log = None

    def close(self) -> None:
        """Does nothing: it is what is left of a process."""
