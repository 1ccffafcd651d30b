"""A store with a journal before its tables: a small turn is durable when its record is written and flushed, once.

Theory of operation. The *tables* (LMDB, or its twin in memory) are what is read and written; their transaction stays
open over many turns. What a turn writes goes to the tables and is noted beside. At its commit the notes become one
record, which is appended to the *log* and flushed; then the commit returns, and answers leave. A *checkpoint* commits
the tables, with a row that says up to which record they are whole, and the log begins anew at its first place. A turn
that is large commits the tables at once, which makes all that came before it durable, too; so does every turn while
the store is full or short, for a record that is answered must find room in the tables later.

A turn that fails leaves nothing: the tables abort, which takes all turns since the checkpoint with it, and what the log
has of them is applied again, by the function that does so at a start.

Invariants:
- what the tables have committed is never ahead of, nor beside, the row that says up to where they are whole;
- a record is in the log only if its turn is whole; its sequence is one above that of the one before it;
- after a flush or a commit that failed, nothing is written any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import perf_counter
from typing import Any

from zq.core.storage import StoreInfo, Transaction
from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.store.records import (
    CHECKPOINT_KEY,
    CHECKPOINT_TABLE,
    Change,
    Checkpoint,
    apply,
    keep_noted,
    noted,
    pack_record,
    records_beyond,
)
from zq.store.seam import JournalOptions, RedoLog, Tables, about_journal
from zq.store.turn import JournaledTransaction

ROOM_PER_ROW = 4 * 4096
"""Bytes of room that a row needs which is not yet committed: it takes a page anew at the commit, and all pages of one
commit must be found at once. They take a quarter of what is left at most.
"""

RETRY_SECONDS = 30.0
"""Between two tries to make the log for which there was no room."""


class JournaledStore:
    """See `zq.core.storage.Store`. The thread that makes it is the one that uses it.

    Attributes:
        commit_seconds: that the last commit of a turn took; 0 when it wrote nothing.
        damages: what was found damaged, and not told yet; whoever tells it clears the list.
        rest_at: monotonic time at which `rest` has something to do if no turn writes until then, or infinity.
    """

    def __init__(
        self,
        tables: Tables,
        log: RedoLog | None,
        options: JournalOptions | None = None,
        make_log: Callable[[], RedoLog] | None = None,
    ) -> None:
        """Applies what the tables lack of the log, and commits them.

        Args:
            tables: with CHECKPOINT_TABLE among them; the store closes them.
            log: None where there is none: every turn then commits the tables.
            options: when the tables are committed.
            make_log: makes one that is missing, now and then, or raises an OSError; None: nothing does.

        Raises:
            StoreCorruptError: something is gone that was answered, or they do not belong together.
            StoreError: of the tables or the log.
        """
        self.commit_seconds, self.rest_at = 0.0, inf
        self.checkpoints = self.records = self.record_bytes = 0
        self._tables, self._log = tables, log
        self.note_read: Callable[[], None] = lambda: None  # to be called when the books are read
        self.damages = tables.damages
        self._make_log = make_log
        self._retry_at, self._reason = -inf, ""  # monotonic; why there is no log
        self._pid = os.getpid()
        self._options = options or JournalOptions()
        self._tx: Transaction | None = None  # of the tables, since the checkpoint
        self._is_in_turn = False
        self._failure: BaseException | None = None
        self._rows = 0  # changed since the checkpoint
        self._changed_at: float | None = None  # monotonic, as `rest` was told, of the first record since
        self._checkpoint_at = -inf
        self._full_until = -inf  # monotonic, when a checkpoint is tried again that did not fit
        self._told_records, self._grows = 0, False  # how many there were at the last rest; whether more room is due
        try:
            self._start()
            if log is None:
                self._try_log(0.0)
        except BaseException:
            if self._tx is not None:
                self._tx.abort()
            raise

    def _start(self) -> None:
        self._tx = tx = self._tables.begin()
        self._checkpoint = Checkpoint.from_bytes(tx.get(CHECKPOINT_TABLE, CHECKPOINT_KEY))
        self._sequence = self._checkpoint.sequence
        log = self._log
        if self._checkpoint.salt:
            if log is None or log.salt != self._checkpoint.salt:
                raise StoreError("expected the journal that these tables were written with")
            self._redo(log)
        self._use(log)

    def _use(self, log: RedoLog | None) -> None:
        """Commits the tables as those of a log, which is empty from now on, under a new epoch."""
        if log is None:
            self._commit_tables()
        else:
            self._commit_tables(Checkpoint(self._sequence, self._checkpoint.epoch + 1, log.salt))

    def _try_log(self, now: float) -> None:
        """Makes the log that is missing, if there is room by now."""
        if self._make_log is None or now < self._retry_at:
            return
        if self._tables.is_full:
            self._reason = self._tables.why_full
            return
        self._retry_at = now + RETRY_SECONDS
        try:
            log = self._make_log()
        except OSError as error:
            self._reason = str(error.strerror)
            return
        try:
            self._use(log)
        except StoreFullError:
            log.close()
        except BaseException:
            log.close()
            raise
        else:
            self._log, self._reason = log, ""

    def leave_log(self) -> None:
        """Commits the tables as those of no log, and removes it; the tables may then be used without this store."""
        self._commit_tables(Checkpoint(self._sequence, self._checkpoint.epoch))
        log, self._log = self._log, None
        if log is not None:
            log.remove()

    # Turns.

    def begin(self) -> JournaledTransaction:
        if self._failure is not None:
            raise StoreError(f"nothing is stored any more since this failed: {self._failure}") from self._failure
        if self._is_in_turn:
            raise StoreError("another transaction is open")
        if os.getpid() != self._pid:
            raise StoreError("this process was forked from the one that opened the store; start a new one instead")
        tables, tx = self._tables, self._tx
        if tx is None:
            tx = self._tx = tables.begin()
        else:
            try:
                tables.notice_room()
            except StoreError as error:  # it is not its own any more
                self._failure = error
                raise
        self._is_in_turn = True
        return JournaledTransaction(self, tx, tables.written_bytes)

    def is_large(self, begun_bytes: int) -> bool:
        """Whether the tables are to be committed for a turn. For `JournaledTransaction`."""
        return self._tables.written_bytes - begun_bytes > self._options.turn_bytes_max

    def commit_turn(self, changes: list[Change], rows: int, begun_bytes: int, *, is_full: bool) -> None:
        """Makes a turn durable. For `JournaledTransaction`, as is `abort_turn`."""
        if not self._is_in_turn:
            raise StoreError("the transaction has ended")
        self._is_in_turn = False
        if not changes:
            self.commit_seconds = 0.0
            return
        begun_at = perf_counter()
        self._rows += rows
        try:
            if is_full or self.is_large(begun_bytes) or not self._append(changes):
                self._commit_tables()
        except StoreFullError:  # which left nothing of it
            self._settle()
            raise
        self.commit_seconds = perf_counter() - begun_at

    def abort_turn(self, *, wrote: bool) -> None:
        """Leaves nothing of a turn, neither in the tables nor in the log."""
        if not self._is_in_turn:
            raise StoreError("the transaction has ended")
        self._is_in_turn = False
        if wrote and self._failure is None:
            self._undo()

    def _append(self, changes: list[Change]) -> bool:
        """Writes and flushes a record; returns whether there was room for it, in the log and later in the tables."""
        log = self._log
        if log is None or not self._has_room():
            return False
        try:
            record = pack_record(self._checkpoint.salt, self._sequence + 1, self._checkpoint.epoch, changes)
        except BaseException:  # there is no memory for it, say
            self._undo()
            raise
        if log.used + len(record) > log.capacity:
            self._grows = True
            return False
        try:
            log.append(record)
        except StoreFullError:  # nothing of it counts: the next one is written over it
            return False
        except BaseException as error:
            self._failure = error
            raise
        try:
            log.flush()
            self._check_place()
        except BaseException as error:
            self._failure = error
            raise
        self._sequence += 1
        self.records += 1
        self.record_bytes += len(record)
        return True

    def _check_place(self) -> None:
        """Looks whether what is written is found at a start; a commit of the tables looks for itself."""
        try:
            self._tables.check_place()
            if self._log is not None:
                self._log.check_place()
        except StoreError as error:
            self._failure = error
            raise

    def _has_room(self) -> bool:
        return ROOM_PER_ROW * self._rows <= self._tables.room_bytes

    # Checkpoints.

    def rest(self, now: float) -> None:
        """Makes the checkpoint that is due, if one is; to be called when answers have left, and when nothing comes.

        Args:
            now: monotonic time.
        """
        if self._failure is not None or now < self._full_until:
            return
        if self._sequence == self._checkpoint.sequence:
            if self._log is None:
                self._try_log(now)
            return
        options, log = self._options, self._log
        self._changed_at = now if self._changed_at is None else self._changed_at
        if self._told_records != self.records:
            self._told_records = self.records
            self.rest_at = max(now + options.idle_after, self._checkpoint_at + options.pause_min)
        is_long = log is not None and log.used > log.capacity - min(options.turn_bytes_max, log.capacity // 4)
        if is_long or now >= self.rest_at or now - self._changed_at >= options.age_max:
            self._grows = self._grows or is_long
            self._checkpoint_at = now
            try:
                self._check_place()  # of a directory that is gone nobody says how much room it has
                if not self._tables.takes(ROOM_PER_ROW // 4 * self._rows):
                    self._restore()  # which commits them in pieces
                self._commit_tables()
            except StoreFullError:  # the records are still there, and what goes out of the tables makes room
                self._full_until = self.rest_at = now + options.age_max

    def _commit_tables(self, checkpoint: Checkpoint | None = None) -> None:
        """Commits the tables, as whole up to the last record; the log begins anew."""
        tx = self._tx or self._tables.begin()
        if checkpoint is None:
            checkpoint = self._checkpoint._replace(sequence=self._sequence)
        try:
            if checkpoint != self._checkpoint:
                tx.put(CHECKPOINT_TABLE, CHECKPOINT_KEY, checkpoint.to_bytes())
            self._tx = None
            tx.commit()
        except StoreFullError:
            self._restore()
            raise
        except BaseException as error:
            self._failure = error
            raise
        self._checkpoint = checkpoint
        try:
            self._note_checkpoint()
        except BaseException as error:  # which file a start will find is unknown
            self._failure = error
            raise

    def _note_checkpoint(self) -> None:
        self._rows = 0
        self._changed_at = None
        self.rest_at = inf
        self.checkpoints += 1
        if self._log is not None:
            self._log.restart(grows=self._grows and not self._tables.is_full)
            self._grows = False

    # Again.

    def _undo(self) -> None:
        """Leaves nothing of the turn that is in the tables."""
        self._restore()
        self._settle()

    def mend(self, error: StoreCorruptError) -> None:
        """As `LmdbStore.mend`, of the tables as of the checkpoint; what the log has beyond comes after it."""
        tx, self._tx, self._failure = self._tx, None, error
        if tx is not None:
            tx.abort()
        self._tables.mend(error)
        self._failure = None
        self._undo()

    def _settle(self) -> None:
        """Commits what was brought back, if it fits, so that the next turn that fails has nothing to bring back: one
        that is tried again and again must not read a whole log each time.
        """
        if self._sequence != self._checkpoint.sequence:
            with suppress(StoreFullError):
                self._commit_tables()

    def _restore(self) -> None:
        """Brings the tables back to the last whole turn: as they were committed, and what the log has beyond."""
        try:
            tx, self._tx = self._tx, None
            if tx is not None:
                tx.abort()
            self._rows = 0
            self._tx = self._tables.begin()
            expected = self._sequence
            if self._log is not None and expected != self._checkpoint.sequence:
                self._redo_somehow(self._log)
            if self._sequence != expected:
                raise StoreError(f"expected records up to {expected} in the journal, found them up to {self._sequence}")
        except BaseException as error:
            self._failure = error
            raise

    def _redo_somehow(self, log: RedoLog) -> None:
        """Applies what the tables lack of a log, in pieces if need be; should the disk have no room for one, all of it
        stays in memory, where the turns that follow find it, and is safe in the log.
        """
        try:
            self._redo(log)
        except StoreFullError:
            if self._tx is not None:
                self._tx.abort()
            self._tx = self._tables.begin()
            self._rows = 0
            self._redo(log, in_pieces=False)

    def _redo(self, log: RedoLog, *, in_pieces: bool = True) -> None:
        """Applies to the open transaction what the tables lack of a log; commits them between when room is low."""
        self._sequence = self._checkpoint.sequence
        count = len(self._tables.damages)
        found = noted(self._tx, count) if count and self._tx is not None else None
        for record in records_beyond(self._checkpoint, log.read(), log.name):
            assert self._tx is not None
            self._rows += apply(record, self._tx)
            if found is not None:  # it was set aside after all of them
                keep_noted(self._tx, found)
            self._sequence = record.sequence
            if in_pieces and not self._has_room():
                self._commit_between()

    def _commit_between(self) -> None:
        """Commits the tables in the middle of what is applied again: the log stays as it is."""
        assert self._tx is not None
        checkpoint = self._checkpoint._replace(sequence=self._sequence)
        self._tx.put(CHECKPOINT_TABLE, CHECKPOINT_KEY, checkpoint.to_bytes())
        tx, self._tx = self._tx, None
        tx.commit()
        self._checkpoint = checkpoint
        self._rows = 0
        self._tx = self._tables.begin()

    # The rest.

    @property
    def is_full(self) -> bool:
        return self._tables.is_full

    @property
    def why_full(self) -> str:
        return self._tables.why_full

    def info(self) -> StoreInfo:
        return self._tables.info()

    def about_journal(self) -> dict[str, Any]:
        """Returns what `status` tells of the journal."""
        log = self._log
        return about_journal(
            is_on=log is not None, reason=self._reason, sequence=self._sequence, checkpoint=self._checkpoint.sequence,
            bytes=0 if log is None else log.used, capacity=0 if log is None else log.capacity, records=self.records,
            record_bytes=self.record_bytes, checkpoints=self.checkpoints,
        )  # fmt: skip

    def close(self) -> None:
        """Makes a checkpoint, and closes tables and log; after a failure it only closes them.

        In a process that was forked from the one that opened it, it does nothing.
        """
        if os.getpid() != self._pid:
            return
        try:
            if self._failure is None and not self._is_in_turn and self._sequence != self._checkpoint.sequence:
                with suppress(StoreFullError):  # the log has it
                    self._commit_tables()
        finally:
            tx, self._tx = self._tx, None
            if tx is not None:
                tx.abort()
            if self._log is not None:
                self._log.close()
            self._tables.close()
