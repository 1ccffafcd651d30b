"""A journal before the tables: what was answered is there after any end, and what failed never was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.store.behaviour import TABLES, SameBehaviour
from tests.store.memory_log import MemoryLog
from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.store import JournaledStore, LmdbOptions, MemoryStore, open_store, records
from zq.store.journal import FIRST_PLACE
from zq.store.memory import MemoryTransaction
from zq.store.records import CHECKPOINT_TABLE, pack_record, read_chain
from zq.store.seam import JournalOptions

ALL_TABLES = (*TABLES, CHECKPOINT_TABLE)


def write(store: Any, key: bytes, value: bytes = b"v", table: str = "left") -> None:
    tx = store.begin()
    tx.put(table, key, value)
    tx.commit()


def rows(store: Any, table: str = "left") -> list[tuple[bytes, bytes]]:
    tx = store.begin()
    found = list(tx.scan(table))
    tx.abort()
    return found


def crash(store: JournaledStore) -> None:
    """Ends a store as the end of its process would: nothing more is committed."""
    if store._tx is not None:
        store._tx.abort()
        store._tx = None
    if store._log is not None:
        store._log.close()
    store._tables.close()


class Kept:
    """Tables and a journal in memory, over several lives."""

    def __init__(self, **log: int) -> None:
        self.tables = MemoryStore(ALL_TABLES)
        self.log = MemoryLog(**log)

    def open(self, options: JournalOptions | None = None) -> JournaledStore:
        return JournaledStore(self.tables, self.log, options)


@pytest.fixture
def kept() -> Kept:
    return Kept()


# What is durable when.


def test_small_turn_is_one_record_and_one_flush_and_no_commit_of_the_tables(kept: Kept) -> None:
    store = kept.open()
    checkpoints = store.checkpoints

    write(store, b"a")
    write(store, b"b")

    assert kept.log.flushes == 2
    assert store.checkpoints == checkpoints
    crash(store)
    assert kept.tables.values["left"] == {}
    assert rows(kept.open()) == [(b"a", b"v"), (b"b", b"v")]


def test_turn_that_wrote_nothing_flushes_nothing(kept: Kept) -> None:
    store = kept.open()
    flushes, checkpoints = kept.log.flushes, store.checkpoints
    tx = store.begin()
    tx.get("left", b"a")
    tx.commit()

    assert (kept.log.flushes, store.checkpoints) == (flushes, checkpoints)
    assert store.commit_seconds == 0.0


def test_large_turn_commits_the_tables_with_all_that_came_before(kept: Kept) -> None:
    store = kept.open(JournalOptions(turn_bytes_max=100))
    write(store, b"a")
    flushes = kept.log.flushes

    write(store, b"b", bytes(101))

    assert kept.log.flushes == flushes
    assert kept.log.used == 0
    crash(store)
    assert list(kept.tables.values["left"]) == [b"a", b"b"]


def test_large_turn_holds_no_row_in_memory(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data", ALL_TABLES[:-1], LmdbOptions())
    tx = store.begin()
    tx.put("left", b"small", b"s")
    values = [bytes([number]) * 30_000 for number in range(20)]
    unheld = [sys.getrefcount(value) for value in values]
    for number in range(10):
        tx.put("left", b"%d" % number, values[number])
    tx.put_many("right", [(b"%d" % number, value) for number, value in enumerate(values[10:])])
    assert [sys.getrefcount(value) for value in values] == unheld
    tx.commit()
    assert len(rows(store)) == 11
    assert len(rows(store, "right")) == 10
    store.close()


def test_large_turn_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data", ALL_TABLES[:-1], LmdbOptions())
    write(store, b"before")
    tx = store.begin()
    for number in range(10):
        tx.put("left", b"%d" % number, bytes(30_000))
    tx.abort()
    assert rows(store) == [(b"before", b"v")]
    store.close()


def test_large_turns_alone_write_nothing_beside_themselves(kept: Kept) -> None:
    store = kept.open(JournalOptions(turn_bytes_max=100))
    before = kept.tables.values[CHECKPOINT_TABLE].copy()
    write(store, b"a", bytes(101))
    written = kept.tables.written_bytes
    write(store, b"b", bytes(101))

    assert kept.tables.written_bytes - written == 102
    assert kept.tables.values[CHECKPOINT_TABLE] == before


def test_every_kind_of_change_is_applied_again_in_order(kept: Kept) -> None:
    store = kept.open()
    write(store, b"gone")
    tx = store.begin()
    tx.put("left", b"a", b"1")
    tx.put_many("right", iter([(b"x", b"1"), (b"y", b"2")]))
    tx.delete("right", b"y")
    tx.put("right", b"y", b"3")
    tx.delete("left", b"gone")
    tx.delete("left", b"never was")
    tx.put("left", b"a", b"2")
    tx.commit()
    crash(store)

    store = kept.open()

    assert rows(store) == [(b"a", b"2")]
    assert rows(store, "right") == [(b"x", b"1"), (b"y", b"3")]


def test_full_store_commits_each_turn(kept: Kept) -> None:
    kept.tables.capacity_bytes = 1000
    store = kept.open()
    write(store, b"a", bytes(900))
    checkpoints = store.checkpoints

    tx = store.begin()
    tx.delete("left", b"a")
    tx.put("left", b"b", bytes(850))
    tx.commit()

    assert store.checkpoints == checkpoints + 1
    with pytest.raises(StoreFullError):
        write(store, b"c", bytes(500))


# Checkpoints.


def test_checkpoint_is_made_when_nothing_comes_but_not_too_often(kept: Kept) -> None:
    store = kept.open(JournalOptions(pause_min=0.25, idle_after=0.005))
    write(store, b"a")
    store.rest(100.0)
    made = store.checkpoints
    assert store.rest_at == 100.005

    store.rest(100.004)
    assert store.checkpoints == made
    store.rest(100.005)
    assert store.checkpoints == made + 1
    assert store.rest_at == float("inf")
    write(store, b"b")
    store.rest(100.02)
    assert store.rest_at == 100.255
    store.rest(100.2)
    assert store.checkpoints == made + 1
    store.rest(100.255)

    assert store.checkpoints == made + 2
    assert kept.log.used == 0


def test_checkpoint_is_made_by_age_while_turns_go_on() -> None:
    kept = Kept(capacity=1 << 20)
    store = kept.open(JournalOptions(age_max=1.0))
    made, now = store.checkpoints, 50.0
    while store.checkpoints == made:
        write(store, b"a")
        store.rest(now)
        now += 0.001

    assert 51.0 < now < 51.01


def test_log_that_is_nearly_full_is_emptied_after_the_answers_and_grows() -> None:
    kept = Kept(capacity=4096, most=8192)
    store = kept.open(JournalOptions(turn_bytes_max=1000))
    made = store.checkpoints
    while store.checkpoints == made:
        write(store, b"a", bytes(500))
        store.rest(1.0)

    assert kept.log.used == 0
    assert kept.log.capacity == 8192


def test_record_without_room_in_the_log_commits_the_tables() -> None:
    kept = Kept(capacity=512, most=512)
    store = kept.open()
    for n in range(20):
        write(store, b"%d" % n, bytes(100))
    crash(store)

    assert len(rows(kept.open())) == 20


def test_checkpoint_that_does_not_fit_is_put_off_and_loses_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(tx: MemoryTransaction) -> None:
        tx.abort()
        raise StoreFullError("the map is full")

    store = kept.open(JournalOptions(age_max=1.0))
    write(store, b"a")
    store.rest(1.0)
    made = store.checkpoints
    with monkeypatch.context() as full:
        full.setattr(MemoryTransaction, "commit", refuse)
        store.rest(3.0)

    assert store.rest_at == 4.0
    assert rows(store) == [(b"a", b"v")]
    store.rest(3.5)
    assert store.checkpoints == made
    store.rest(4.0)
    assert store.checkpoints == made + 1
    assert kept.tables.values["left"] == {b"a": b"v"}


def test_records_go_on_behind_those_of_a_checkpoint_that_did_not_fit(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tx: MemoryTransaction) -> None:
        tx.abort()
        raise StoreFullError("the map is full")

    store = kept.open()
    write(store, b"a")
    store.rest(1.0)
    with monkeypatch.context() as full:
        full.setattr(MemoryTransaction, "commit", refuse)
        store.rest(3.0)
        write(store, b"b")
    crash(store)

    assert rows(kept.open()) == [(b"a", b"v"), (b"b", b"v")]


def test_close_leaves_nothing_to_apply(kept: Kept) -> None:
    store = kept.open()
    write(store, b"a")
    store.close()

    assert kept.tables.values["left"] == {b"a": b"v"}


# What fails.


def test_aborted_turn_leaves_what_was_answered_before_it(kept: Kept) -> None:
    store = kept.open()
    write(store, b"a", b"1")
    write(store, b"b", b"2")
    tx = store.begin()
    tx.put("left", b"a", b"changed")
    tx.delete("left", b"b")
    tx.abort()

    assert rows(store) == [(b"a", b"1"), (b"b", b"2")]
    write(store, b"c", b"3")
    crash(store)
    assert rows(kept.open()) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


def test_turns_that_fail_one_after_the_other_read_the_journal_once(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    real = kept.log.read

    def read() -> bytes:
        reads.append(1)
        return real()

    monkeypatch.setattr(kept.log, "read", read)
    store = kept.open()
    write(store, b"a")
    for _ in range(1000):
        tx = store.begin()
        tx.put("left", b"a", b"changed")
        tx.abort()

    assert len(reads) == 1
    assert rows(store) == [(b"a", b"v")]


@pytest.mark.parametrize("error", [MemoryError(), ValueError("too long")])
def test_turn_whose_record_cannot_be_made_leaves_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> bytes:
        raise error

    store = kept.open()
    write(store, b"a")
    with monkeypatch.context() as broken, pytest.raises(type(error)):
        broken.setattr("zq.store.journaled.pack_record", fail)
        write(store, b"b")

    assert rows(store) == [(b"a", b"v")]
    write(store, b"c")
    crash(store)
    assert rows(kept.open()) == [(b"a", b"v"), (b"c", b"v")]


def test_turn_that_does_not_fit_leaves_nothing_of_it_to_read_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemoryTransaction.commit
    refusals = [True]

    def refuse(tx: MemoryTransaction) -> None:
        if refusals:
            refusals.pop()
            tx.abort()
            raise StoreFullError("the map is full")
        real(tx)

    store = kept.open()
    write(store, b"a")
    with monkeypatch.context() as full, pytest.raises(StoreFullError):
        full.setattr(MemoryTransaction, "commit", refuse)
        write(store, b"b", bytes(100_000))

    about = store.about_journal()
    assert about["sequence"] == about["checkpoint"] == 1
    assert rows(store) == [(b"a", b"v")]


def test_log_that_cannot_begin_anew_is_the_end(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*, grows: bool) -> None:
        raise StoreError("cannot flush the directory")

    store = kept.open()
    with monkeypatch.context() as broken, pytest.raises(StoreError, match="the directory"):
        broken.setattr(kept.log, "restart", fail)
        write(store, b"a", bytes(100_000))

    with pytest.raises(StoreError, match="nothing is stored any more since this failed"):
        write(store, b"b")


def test_failed_flush_ends_the_store_and_is_not_tried_again(kept: Kept) -> None:
    store = kept.open()
    write(store, b"a")
    kept.log.fails = True
    with pytest.raises(StoreError, match="it was asked to fail"):
        write(store, b"b")
    kept.log.fails = False
    flushes = kept.log.flushes

    with pytest.raises(StoreError, match="nothing is stored any more since this failed"):
        store.begin()
    store.rest(1e9)
    store.close()

    assert kept.log.flushes == flushes
    assert kept.tables.values["left"] == {}, "a commit would make of what is unknown something known"
    assert rows(kept.open()) in ([(b"a", b"v")], [(b"a", b"v"), (b"b", b"v")])


@pytest.mark.parametrize("cut", range(0, 80, 7))
def test_torn_tail_is_cut(kept: Kept, cut: int) -> None:
    store = kept.open()
    write(store, b"a")
    used = kept.log.used
    write(store, b"b", b"x" * 50)
    crash(store)
    kept.log.data[used + cut : used + 200] = bytes(200 - cut)

    store = kept.open()

    assert rows(store) == [(b"a", b"v")]
    write(store, b"c")
    crash(store)
    assert [key for key, _ in rows(kept.open())] == [b"a", b"c"]


@pytest.mark.parametrize("byte", [1, 10, 20, 30, 40])
def test_flipped_bit_before_the_tail_is_an_error_that_says_where(kept: Kept, byte: int) -> None:
    store = kept.open()
    write(store, b"a")
    used = kept.log.used
    write(store, b"b", bytes(20))
    write(store, b"c")
    last = store._sequence
    crash(store)
    kept.log.data[used + byte] ^= 1

    with pytest.raises(
        StoreCorruptError,
        match=rf"damaged at byte {used}: expected record {last - 1} there, and found no whole one, while record {last} follows",
    ):
        kept.open()


def test_records_of_before_the_checkpoint_count_as_nothing(kept: Kept) -> None:
    store = kept.open()
    for n in range(5):
        write(store, b"%d" % n)
    store.rest(1.0)
    store.rest(9.0)
    assert kept.log.used == 0
    tx = store.begin()
    tx.delete("left", b"0")
    tx.commit()
    crash(store)

    assert [key for key, _ in rows(kept.open())] == [b"1", b"2", b"3", b"4"]


def test_tables_that_are_older_than_their_journal_are_refused(kept: Kept) -> None:
    store = kept.open()
    row = kept.tables.values[CHECKPOINT_TABLE].copy()
    write(store, b"a")
    store.rest(1.0)
    store.rest(9.0)
    write(store, b"b")
    crash(store)
    (key, value), *_ = row.items()
    kept.tables.set(CHECKPOINT_TABLE, key, value)

    with pytest.raises(StoreCorruptError, match="the tables are older than their journal"):
        kept.open()


def test_payload_that_looks_like_a_record_is_none(kept: Kept) -> None:
    store = kept.open()
    forged = pack_record(b"another salt", 7, 1, [("left", b"evil", b"1")])
    write(store, b"a", forged * 3)
    crash(store)

    assert [key for key, _ in rows(kept.open())] == [b"a"]


def test_payload_full_of_what_records_begin_with_takes_no_time_at_a_start(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    monkeypatch.setattr(records, "read_record", lambda data, place, salt: places.append(place))

    for payload in (records.MAGIC, records.MAGIC + b"\0", records.MAGIC + bytes(4)):
        assert records.find_later(payload * 1000, 0, 0, kept.log.salt) is None
    assert not places


def test_each_opening_writes_under_an_epoch_of_its_own(kept: Kept) -> None:
    epochs = []
    for key in (b"a", b"b", b"c"):
        store = kept.open()
        write(store, key)
        epochs.append(read_chain(memoryview(kept.log.read()), kept.log.salt)[0].epoch)
        crash(store)

    assert len(set(epochs)) == 3
    assert epochs == sorted(epochs)


def test_record_of_another_epoch_is_refused(kept: Kept) -> None:
    store = kept.open()
    write(store, b"a")
    crash(store)
    record = read_chain(memoryview(kept.log.data), kept.log.salt)[0]
    forged = pack_record(kept.log.salt, record.sequence, record.epoch + 1, [("left", b"x", b"y")])
    kept.log.data[: len(forged)] = forged

    with pytest.raises(StoreCorruptError, match=f"record {record.sequence} of epoch {record.epoch + 1} at byte 0"):
        kept.open()


class JournaledBehaviour(SameBehaviour):
    """A store with a journal beside one in memory; it crashes, with half of a record behind its last one."""

    def make(self) -> JournaledStore:
        raise NotImplementedError

    def tear(self, place: int, data: bytes) -> None:
        """Writes what a turn that did not come to its end has left in the journal, as far as there is room."""
        raise NotImplementedError

    def left(self, place: int, size: int) -> bytes:
        """Returns what lies in the journal at a place."""
        raise NotImplementedError

    @precondition(lambda self: self.open_both is None)
    @rule(now=st.floats(0.0, 5.0))
    def rest(self, now: float) -> None:
        self.now = getattr(self, "now", 0.0) + now
        self.disk.rest(self.now)

    @rule(cut=st.floats(0.0, 1.0), size=st.integers(0, 300))
    def crash(self, cut: float, size: int) -> None:
        if self.open_both is not None:
            self.open_both[0].abort()
            self.open_both = None
        store = self.disk
        record = pack_record(
            store._checkpoint.salt, store._sequence + 1, store._checkpoint.epoch, [("left", b"torn", bytes(size))]
        )
        used = store._log.used
        crash(store)
        self.tear(used, record[: int(cut * len(record))])
        if record == self.left(used, len(record)):  # nobody was told, and it may have happened all the same
            tx = self.memory.begin()
            tx.put("left", b"torn", bytes(size))
            tx.commit()
        self.disk = self.make()


SMALL = JournalOptions(turn_bytes_max=60)


class InMemory(JournaledBehaviour):
    def make(self) -> JournaledStore:
        if not hasattr(self, "kept"):
            self.kept = Kept(capacity=256, most=4096)
        return self.kept.open(SMALL)

    def tear(self, place: int, data: bytes) -> None:
        data = data[: self.kept.log.capacity - place]
        self.kept.log.data[place : place + len(data)] = data

    def left(self, place: int, size: int) -> bytes:
        return bytes(self.kept.log.data[place : place + size])


class OnDisk(JournaledBehaviour):
    def make(self) -> JournaledStore:
        store = open_store(self.directory, TABLES, LmdbOptions(map_bytes=16 << 20, free_bytes_min=0))
        assert isinstance(store, JournaledStore)
        store._options = SMALL
        return store

    def tear(self, place: int, data: bytes) -> None:
        with (self.directory / "journal").open("r+b") as file:
            file.seek(FIRST_PLACE + place)
            file.write(data)

    def left(self, place: int, size: int) -> bytes:
        return (self.directory / "journal").read_bytes()[FIRST_PLACE + place :][:size]


@pytest.mark.parametrize(("kind", "examples"), [(InMemory, 100), (OnDisk, 25)])
def test_whatever_happens_what_was_committed_is_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[JournaledBehaviour], examples: int
) -> None:
    monkeypatch.setenv("ZQ_TEST_STORE", str(tmp_path))
    case = kind.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    case().runTest()
