"""Faults that the journal before the tables could have; see `tests.simulation.plants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zq.errors import StoreError
from zq.store import records
from zq.store.journaled import JournaledStore
from zq.store.records import Change, Checkpoint, RedoRecord
from zq.store.seam import RedoLog
from zq.store.turn import JournaledTransaction


def _answered_before_the_flush(patch: pytest.MonkeyPatch) -> None:
    real = JournaledStore._append
    owed: dict[int, Callable[[], None]] = {}  # by journal, the flush of its last record

    def append(self: JournaledStore, changes: list[Change]) -> bool:
        log = self._log
        if log is None:
            return real(self, changes)
        owed.pop(id(log), lambda: None)()
        with pytest.MonkeyPatch.context() as later:
            flush = log.flush
            later.setattr(log, "flush", lambda: owed.__setitem__(id(log), flush))
            return real(self, changes)

    patch.setattr(JournaledStore, "_append", append)


def _answered_after_a_failed_flush(patch: pytest.MonkeyPatch) -> None:
    real = JournaledStore._append

    def append(self: JournaledStore, changes: list[Change]) -> bool:
        sequence = self._sequence
        try:
            return real(self, changes)
        except StoreError:  # it was written, and the next flush will do
            self._failure = None
            self._sequence = sequence + 1
            return True

    patch.setattr(JournaledStore, "_append", append)


def _checkpoint_with(patch: pytest.MonkeyPatch, change: Callable[[int], int]) -> None:
    real = Checkpoint.to_bytes
    patch.setattr(Checkpoint, "to_bytes", lambda self: real(self._replace(sequence=max(0, change(self.sequence)))))


def _checkpoint_ahead(patch: pytest.MonkeyPatch) -> None:
    _checkpoint_with(patch, lambda sequence: sequence + 1)


def _checkpoint_behind(patch: pytest.MonkeyPatch) -> None:
    _checkpoint_with(patch, lambda sequence: sequence - 1)


def _records_with(patch: pytest.MonkeyPatch, change: Callable[[list[RedoRecord]], list[RedoRecord]]) -> None:
    real = records.records_beyond
    patch.setattr(
        "zq.store.journaled.records_beyond", lambda checkpoint, data, name: change(real(checkpoint, data, name))
    )


def _record_not_applied(patch: pytest.MonkeyPatch) -> None:
    _records_with(patch, lambda found: found[1:] if len(found) > 1 else found)


def _record_applied_twice(patch: pytest.MonkeyPatch) -> None:
    """Applies the first one again, over those that came after it."""
    real = JournaledStore._redo

    def redo(self: JournaledStore, log: RedoLog, *, in_pieces: bool = True) -> None:
        checkpoint = self._checkpoint
        real(self, log, in_pieces=in_pieces)
        again = records.records_beyond(checkpoint, log.read(), log.name)
        if again and self._tx is not None:
            records.apply(again[0], self._tx)

    patch.setattr(JournaledStore, "_redo", redo)


def _tail_cut_too_far_back(patch: pytest.MonkeyPatch) -> None:
    """Takes the last record for one that was not finished."""
    _records_with(patch, lambda found: found[:-1])


def _torn_tail_kept(patch: pytest.MonkeyPatch) -> None:
    """Believes the head of a record, whatever is behind it."""
    patch.setattr(records, "crc32", lambda data, seed=0: 0)


def _hole_taken_for_the_tail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "find_later", lambda data, start, sequence, salt: None)


def _stale_record_read_as_new(patch: pytest.MonkeyPatch) -> None:
    """Goes on with whatever whole record comes next, also with one of before the checkpoint."""

    def read_chain(data: memoryview, salt: bytes) -> list[RedoRecord]:
        chain: list[RedoRecord] = []
        found = records.read_record(data, 0, salt)
        while found is not None:
            sequence = chain[-1].sequence + 1 if chain else found.sequence
            chain.append(found._replace(sequence=sequence))
            found = records.read_record(data, found.end, salt)
        return chain

    patch.setattr(records, "read_chain", read_chain)


def _journal_applied_over_newer_tables(patch: pytest.MonkeyPatch) -> None:
    """Applies all that is in it, from the first record on, whatever the tables have already."""

    def beyond(checkpoint: Checkpoint, data: bytes, name: str) -> list[RedoRecord]:
        return records.read_chain(memoryview(data), checkpoint.salt)

    patch.setattr("zq.store.journaled.records_beyond", beyond)


def _half_of_an_aborted_turn_kept(patch: pytest.MonkeyPatch) -> None:
    real = JournaledStore.abort_turn
    patch.setattr(JournaledStore, "abort_turn", lambda self, *, wrote: real(self, wrote=False))


def _turns_lost_with_an_aborted_one(patch: pytest.MonkeyPatch) -> None:
    """Takes back all turns since the checkpoint, and applies none again."""

    def restore(self: JournaledStore) -> None:
        tx, self._tx = self._tx, None
        if tx is not None:
            tx.abort()
        self._rows = 0
        self._tx = self._tables.begin()

    patch.setattr(JournaledStore, "_restore", restore)


def _deletes_not_noted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JournaledTransaction, "delete", lambda self, table, key: self._tx.delete(table, key))
    patch.setattr(JournaledTransaction, "delete_many", lambda self, table, keys: self._tx.delete_many(table, keys))


def _order_of_changes_lost(patch: pytest.MonkeyPatch) -> None:
    """Notes all deletes before all that was put."""
    real = records.pack_record

    def pack(salt: bytes, sequence: int, epoch: int, changes: list[Any]) -> bytes:
        return real(salt, sequence, epoch, sorted(changes, key=lambda one: len(one) == 2 or one[2] is not None))

    patch.setattr("zq.store.journaled.pack_record", pack)


def _record_written_before_its_turn_is_whole(patch: pytest.MonkeyPatch) -> None:
    """Writes what a turn that fails has noted by then."""
    real = JournaledTransaction.abort

    def abort(self: JournaledTransaction) -> None:
        store = self._keeper
        assert isinstance(store, JournaledStore)
        if self._noted and store._failure is None:
            store._append(self._noted)
        real(self)

    patch.setattr(JournaledTransaction, "abort", abort)


def _checkpoint_without_its_commit(patch: pytest.MonkeyPatch) -> None:
    """Begins the journal anew when a checkpoint is due, and leaves the tables to the next one."""
    real = JournaledStore.rest

    def rest(self: JournaledStore, now: float) -> None:
        with pytest.MonkeyPatch.context() as later:
            later.setattr(self, "_commit_tables", self._note_checkpoint)
            real(self, now)

    patch.setattr(JournaledStore, "rest", rest)


def _large_turn_not_committed(patch: pytest.MonkeyPatch) -> None:
    """Leaves a turn that has no record to the next checkpoint."""
    real = JournaledStore.commit_turn

    def commit_turn(self: JournaledStore, changes: list[Change], rows: int, begun_bytes: int, *, is_full: bool) -> None:
        with pytest.MonkeyPatch.context() as later:
            later.setattr(self, "_commit_tables", lambda: None)
            real(self, changes, rows, begun_bytes, is_full=is_full)

    patch.setattr(JournaledStore, "commit_turn", commit_turn)


def _journal_left_before_the_tables_have_it(patch: pytest.MonkeyPatch) -> None:
    """Removes the journal of a directory that is to have none any more, and commits nothing."""

    def leave_log(self: JournaledStore) -> None:
        log, self._log = self._log, None
        tx, self._tx = self._tx, None
        if tx is not None:
            tx.abort()
        if log is not None:
            log.remove()

    patch.setattr(JournaledStore, "leave_log", leave_log)


JOURNAL_PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "answered before the flush": _answered_before_the_flush,
    "answered after a flush that failed": _answered_after_a_failed_flush,
    "checkpoint ahead of its tables": _checkpoint_ahead,
    "checkpoint behind its tables": _checkpoint_behind,
    "checkpoint without its commit": _checkpoint_without_its_commit,
    "record not applied": _record_not_applied,
    "record applied twice": _record_applied_twice,
    "record of a turn that is not whole": _record_written_before_its_turn_is_whole,
    "order of changes lost in a record": _order_of_changes_lost,
    "deletes not in the record": _deletes_not_noted,
    "tail cut too far back": _tail_cut_too_far_back,
    "torn tail kept": _torn_tail_kept,
    "hole taken for the tail": _hole_taken_for_the_tail,
    "stale record read as new": _stale_record_read_as_new,
    "journal applied over newer tables": _journal_applied_over_newer_tables,
    "half of an aborted turn kept": _half_of_an_aborted_turn_kept,
    "turns lost with an aborted one": _turns_lost_with_an_aborted_one,
    "large turn not committed": _large_turn_not_committed,
    "journal left before the tables have it": _journal_left_before_the_tables_have_it,
}
