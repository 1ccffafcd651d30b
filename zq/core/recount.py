"""Counts anew what is derived from rows, after some of them were set aside because they were damaged.

The store (`zq.store.damage`) says of which tables something is gone. Before the books are read, every row is read once:
queues get the counts of the tasks that are there, the index names what is there and nothing else, and what was named by
a row that is gone is let go: lines, unique keys, times. A task of which only the index is left has *ended as dead*, for
the reason that its record was damaged, so that whoever asks or waits hears of it. A batch of which it is not known any
more which tasks have ended, or whose results are gone, is set aside as a whole: nothing is done twice. Groups of which
members are gone fail, once the books are there.

Only this module writes what others own, and only here: nothing else goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from zq.core import tables
from zq.core.counters import CountersRecord
from zq.core.recounted import CountedWrites, add_changes, notes_of
from zq.core.remains import (
    TASK_KEY_BYTES,
    Remains,
    drop_of_groups,
    has_rows,
    is_part,
    made_up_counters,
    mend_schedules,
    nameless,
    read_row,
    split_of,
    task_key_of,
)
from zq.core.state.batch import StoredBatch, mask_bytes, mask_of, read_batch
from zq.core.state.books import Books
from zq.core.state.leases import LeaseRecord
from zq.core.state.places import SIZE_UNKNOWN, End, FinishedKind
from zq.core.state.queue import PRIORITIES, Queue, QueueRecord
from zq.core.state.step import Step
from zq.core.storage import Damage, Transaction
from zq.core.sums import SUM_BYTES
from zq.core.tables import AT_DEAD, AT_ENDED, AT_PARKED, AT_PENDING, AT_SCHEDULED
from zq.core.tasks import follow_up, groups, key_turns
from zq.wire.unique import Unique

DAMAGED_RECORD: Final = "its record was damaged on the disk, and is set aside: the log names it"
DAMAGED_MEMBERS: Final = "members of it were damaged on the disk, and are set aside: the log names them"
DAMAGED_RESULT: Final = "it was done, and what is known of that was damaged on the disk: the log names it"
DAMAGED_PROGRESS: Final = "which of its tasks had ended was damaged on the disk, and it is set aside: the log names it"


class Recount:
    """One recount, in a transaction. `notes` says in words what it has found."""

    def __init__(self, tx: Transaction, wall: float) -> None:
        self._writes = CountedWrites(tx)
        self.tx: Transaction = cast("Transaction", self._writes)
        self.notes: list[str] = []
        self.remains = Remains(self.tx, self.notes)
        self._wall = wall
        self._gone: set[str] = set()  # tables of which something was set aside since the last recount
        self._queues: dict[int, Queue] = {}  # those that rows name, to read them by
        self._counts: dict[int, list[int]] = {}  # by queue: leased, scheduled, parked, dead, bytes, then `waiting`
        self._places: dict[bytes, bytes] = {}  # by id of what has not ended: its record in the index
        self._keys: set[bytes] = set()  # task keys of what waits, is scheduled or leased
        self._parked: set[bytes] = set()
        self._owners: set[bytes] = set()  # task keys under which there may be results
        self._ordered: dict[bytes, bytes] = {}  # by line: task key of the ordered batch that is out
        self._unique: dict[bytes, bytes] = {}  # rows of table `unique` that there are to be
        self._strange_leases: list[bytes] = []  # rows of those whose batch is not there
        self._sequence = 0
        self._finished: list[tuple[str, End]] = []  # what ends here, or has

    def run(self) -> bool:
        """Counts anew if something was set aside since the last time; returns whether.

        Raises:
            StoreCorruptError: another row is damaged; it is to be set aside, and all of this done again.
        """
        tx = self.tx
        marker = tx.get(tables.DAMAGED, tables.RECOUNT_KEY)
        gone, first = ((), None) if marker is None else tables.unpack(marker)
        self._gone = set(gone)
        self.remains.read(first)
        if marker is None:
            if tx.get(tables.META, tables.COUNTERS_KEY) is not None or not has_rows(tx, tables.QUEUES):
                return False
            self.notes.append("the row of counters is gone, and nobody knows why")
        self.remains.find_owners()
        self.remains.find_strange_results()
        self._set_hurt_aside()
        self._count_tasks()
        self._count_queues()
        self._mend_lines()
        self._mend_index()
        self._mend_names()
        self._drop_strays()
        mend_schedules(tx)
        self._save_counters(every=tables.FINISHED in gone)
        if changes := self._writes.changes():
            self.notes += notes_of(changes)
            self.remains.righted = add_changes(tx, changes)
        tx.delete(tables.DAMAGED, tables.RECOUNT_KEY)
        return True

    # Batches that go with it.

    def _set_hurt_aside(self) -> None:
        """Sets batches aside of whose progress or results something is gone."""
        hurt: dict[bytes, None] = {}
        for damage in self.remains.of(tables.RESULTS):
            if not damage.is_part:
                hurt[damage.key[:TASK_KEY_BYTES]] = None
                continue
            for table, key, task_key, record in self._rows_of_batches():
                is_within = damage.key[:TASK_KEY_BYTES] <= task_key and (damage.stop is None or task_key < damage.stop)
                if is_within and self._batch(table, key, task_key, record).has_results:
                    hurt[task_key] = None
        for key, value in self.tx.scan(tables.PROGRESS):
            if tables.unpack(value)[3] and self.remains.has_lost_results(key, 0):
                hurt[key] = None
        for damage in self.remains.of(tables.PROGRESS):
            hurt |= dict.fromkeys(self._doubtful(damage) if damage.is_part else (damage.key,))
        rows = [row for row in self._rows_of_batches() if row[2] in hurt] if hurt else ()
        for table, key, task_key, _ in rows:
            stored = bytes(SUM_BYTES) + (self.tx.get(table, key) or b"")
            self.remains.add(Damage(table, key, None, stored, DAMAGED_PROGRESS, self._wall))
            self.tx.delete(table, key)
            self.tx.delete(tables.PROGRESS, task_key)

    def _rows_of_batches(self) -> Iterator[tuple[str, bytes, bytes, bytes]]:
        """Yields all that waits, is leased, scheduled or parked: its table, its key there, its task key and record."""
        for key, value in self.tx.scan(tables.PENDING):
            yield tables.PENDING, key, key, value
        for key, value in self.tx.scan(tables.SCHEDULED):
            yield tables.SCHEDULED, key, key[8:], value
        for key, value in self.tx.scan(tables.PARKED):
            task_key, record = read_row(tables.PARKED, key, lambda value=value: tables.unpack(value))  # type: ignore[misc]
            yield tables.PARKED, key, task_key, record

    def _doubtful(self, lost: Damage) -> Iterator[bytes]:
        """Yields the batches of several tasks of which it is not known whether any has ended: none has in a queue in
        which as many are unfinished as it counts.
        """
        found: dict[int, int] = {}  # by queue: how many seem to be unfinished
        doubtful: list[StoredBatch] = []
        for table, key, task_key, record in self._rows_of_batches():
            batch = self._batch(table, key, task_key, record)
            found[batch.queue.number] = found.get(batch.queue.number, 0) + batch.unfinished
            is_within = lost.key <= task_key and (lost.stop is None or task_key < lost.stop)
            if is_within and batch.count > 1 and not batch.has_progress:
                doubtful.append(batch)
        is_gone = self._gone & {tables.PENDING, tables.SCHEDULED, tables.PARKED}
        for batch in doubtful:
            number = batch.queue.number
            if is_gone or found[number] > self._counted(number):
                yield batch.key

    def _counted(self, number: int) -> int:
        """Returns how many tasks of a queue are unfinished as it counts; none where that is not known."""
        value = self.tx.get(tables.QUEUES, tables.queue_key(number))
        if value is None:
            return 0
        record = QueueRecord(*tables.unpack(value))
        return sum(record.waiting) + record.leased + record.scheduled + record.parked

    # Tasks.

    def _batch(self, table: str, key: bytes, task_key: bytes, value: bytes) -> StoredBatch:
        number = int.from_bytes(task_key[:4], "big")
        queue = self._queues.setdefault(number, Queue(number, "", {}))
        batch = read_row(table, key, lambda: read_batch(task_key, queue, value))
        progress = self.tx.get(tables.PROGRESS, task_key)
        if progress is not None:
            read_row(tables.PROGRESS, task_key, lambda: batch.read_progress(progress))
        self._sequence = max(self._sequence, tables.split_task_key(task_key)[2])
        return batch

    def _unfinished(self) -> Iterator[tuple[int, bytes, StoredBatch]]:
        """Yields all that has not ended: which table it is in, its key there, and the batch."""
        places = {tables.PENDING: AT_PENDING, tables.SCHEDULED: AT_SCHEDULED, tables.PARKED: AT_PARKED}
        for table, key, task_key, record in self._rows_of_batches():
            yield places[table], key, self._batch(table, key, task_key, record)
        for key, value in self.tx.scan(tables.DEAD):
            record = read_row(tables.DEAD, key, lambda value=value: tables.unpack(value)[0])  # type: ignore[misc]
            yield AT_DEAD, key, self._batch(tables.DEAD, key, key, record)

    def _count_tasks(self) -> None:
        leased = self._leased()
        stored: list[tuple[bytes, bytes]] = []
        for where, key, batch in self._unfinished():
            counts = self._counts.setdefault(batch.queue.number, [0] * (5 + PRIORITIES))
            held = (leased.get(batch.key, 0) & batch.full & ~batch.ended).bit_count() if where == AT_PENDING else 0
            if where == AT_PENDING:
                counts[0] += held
                counts[5 + batch.priority] += batch.unfinished - held
            else:
                counts[(AT_SCHEDULED, AT_PARKED, AT_DEAD).index(where) + 1] += batch.unfinished
            if where != AT_DEAD:
                counts[4] += len(batch.blob)
                if batch.options.ttl is not None and not batch.attempts:
                    stored.append((batch.expiry_key(), b""))
            if where in (AT_PENDING, AT_SCHEDULED):
                self._keys.add(batch.key)
                if batch.options.ordered and (where == AT_PENDING or batch.attempts):
                    self._ordered.setdefault(key_turns.line_of(batch), batch.key)
            elif where == AT_PARKED:
                self._parked.add(batch.key)
            self._places[batch.own_id.encode()] = tables.pack((where, key))
            self._note_unique(where, batch, is_held=bool(leased.get(batch.key)))
        for key, value in stored if self._gone & {tables.EXPIRY, tables.LEASES} else ():  # what was leased has none
            if self.tx.get(tables.EXPIRY, key) is None:
                self.tx.put(tables.EXPIRY, key, value)
        known = self._owners = self._keys | self._parked
        for key in [key for key, _ in self.tx.scan(tables.PROGRESS) if key not in known]:
            self.tx.delete(tables.PROGRESS, key)

    def _note_unique(self, where: int, batch: StoredBatch, *, is_held: bool) -> None:
        unique = batch.options.unique
        if unique is None or where == AT_DEAD or (Unique(*unique).until == "started" and (is_held or batch.attempts)):
            return
        self._unique[tables.unique_key(batch.queue.number, unique[0])] = batch.own_id.encode()

    def _leased(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for key, value in self.tx.scan(tables.LEASES):
            lease = read_row(tables.LEASES, key, lambda value=value: LeaseRecord(*tables.unpack(value)))  # type: ignore[misc]
            found[lease.key] = found.get(lease.key, 0) | mask_of(lease.mask)
            if self.tx.get(tables.PENDING, lease.key) is None:
                self._strange_leases.append(key)
        return found

    def _count_queues(self) -> None:
        records = {int.from_bytes(key, "big"): value for key, value in self.tx.scan(tables.QUEUES)}
        lines: dict[int, int] = {}
        for line, _ in self.tx.scan(tables.LINES):
            number = int.from_bytes(line[:4], "big")
            lines[number] = lines.get(number, 0) + 1
        for number in {*records, *self._counts}:
            value = records.get(number)
            if value is None:
                record = nameless(number)
                self.notes.append(f"a queue whose record is gone is called {record.name} from now on")
            else:
                key = tables.queue_key(number)
                record = read_row(tables.QUEUES, key, lambda value=value: QueueRecord(*tables.unpack(value)))  # type: ignore[misc]
            leased, scheduled, parked, dead, size, *waiting = self._counts.get(number, [0] * (5 + PRIORITIES))
            fresh = record._replace(
                waiting=tuple(waiting), leased=leased, scheduled=scheduled, parked=parked, dead=dead, bytes=size,
                lines=lines.get(number, 0),
            )  # fmt: skip
            before, after = (
                sum(one.waiting) + one.leased + one.scheduled + one.parked + one.dead for one in (record, fresh)
            )
            if before > after and value is not None:
                self.notes.append(f"queue {record.name}: {before - after} tasks were in what is gone, {after} are left")
            if fresh != record or value is None:
                self.tx.put(tables.QUEUES, tables.queue_key(number), tables.pack(tuple(fresh)))

    # What names tasks.

    def _mend_lines(self) -> None:
        """Passes the turn of lines on whose batch is gone, and gives one to those that have none."""
        turns = dict(self.tx.scan(tables.LINES))
        for line, turn in self._ordered.items():
            if turns.get(line) not in self._keys:
                self.tx.put(tables.LINES, line, turn)
                self._change_queue(line, lines=line not in turns)
                turns[line] = turn
        first: dict[bytes, bytes] = {}
        for key, _ in self.tx.scan(tables.PARKED):
            first.setdefault(key[: -tables.POSITION_BYTES], key)
        for line in [line for line, turn in turns.items() if turn not in self._keys and line not in first]:
            self.tx.delete(tables.LINES, line)
            self._change_queue(line, lines=-1)
        for line, key in first.items():
            if turns.get(line) in self._keys:
                continue
            task_key, record = tables.unpack(self.tx.get(tables.PARKED, key) or b"")
            batch = self._batch(tables.PARKED, key, task_key, record)
            self.tx.delete(tables.PARKED, key)
            self.tx.put(tables.PENDING, task_key, record)
            self.tx.put(tables.LINES, line, task_key)
            self._places[batch.own_id.encode()] = tables.pack((AT_PENDING, task_key))
            self._change_queue(
                line, lines=line not in turns, parked=-batch.unfinished, waiting=(batch.priority, batch.unfinished)
            )

    def _change_queue(self, line: bytes, *, lines: int = 0, parked: int = 0, waiting: tuple[int, int] = (0, 0)) -> None:
        key = line[:4]
        value = self.tx.get(tables.QUEUES, key)
        if value is None:  # nothing of it is left
            return
        record = QueueRecord(*tables.unpack(value))
        priority, count = waiting
        changed = tuple(one + count if at == priority else one for at, one in enumerate(record.waiting))
        record = record._replace(lines=record.lines + lines, parked=record.parked + parked, waiting=changed)
        self.tx.put(tables.QUEUES, key, tables.pack(tuple(record)))

    def _mend_index(self) -> None:
        """Has the index name what is there; what it names that is not there has ended."""
        ended: list[tuple[bytes, End]] = []
        seen: set[bytes] = set()
        for key, value in self.tx.scan(tables.INDEX):
            record = read_row(tables.INDEX, key, lambda value=value: tables.unpack(value))  # type: ignore[misc]
            if key in self._places:
                if value == self._places[key] or tables.pack(record) == self._places[key]:
                    seen.add(key)
            elif record[0] != AT_ENDED:
                ended.append((key, self._damaged_end(key, task_key_of(*record), DAMAGED_RECORD)))
            elif record[8] and self.remains.has_lost_results(record[2], record[7]):
                ended.append((key, End(*record)._replace(outcome="dead", reason=DAMAGED_RESULT, has_results=False)))
            elif record[8]:
                self._owners.add(record[2])
        for damage in self.remains.of(tables.INDEX):
            if not damage.is_part and damage.key not in self._places and self.tx.get(tables.INDEX, damage.key) is None:
                ended.append((damage.key, self._damaged_end(damage.key, tables.task_key(0, 0, 0), DAMAGED_RECORD)))
        for key, place in self._places.items():
            if key not in seen:
                self.tx.put(tables.INDEX, key, place)
        for key, end in sorted(ended, key=lambda one: is_part(one[0]), reverse=True):  # which its batch has to know
            was_known = self.tx.get(tables.INDEX, key) is not None and end.reason == DAMAGED_RESULT
            if not is_part(key):
                end = end._replace(split=mask_bytes(mask_of(end.split) | split_of(self.tx, key)))
            self.tx.put(tables.INDEX, key, tables.pack(tuple(end)))
            if not was_known:
                self._finished.append((key.decode(errors="replace"), end))
        if ended:
            self.notes.append(f"{len(ended)} ids are told as damaged, of batches or tasks, to whoever asks for them")

    def _damaged_end(self, key: bytes, task_key: bytes, reason: str) -> End:
        size = 1 if is_part(key) else self.remains.sizes.get(key.decode(errors="replace"), SIZE_UNKNOWN)
        return End(AT_ENDED, "dead", task_key, self._wall, reason, (), b"", size, False, 0, 0)

    def _mend_names(self) -> None:
        """Frees unique keys whose tasks are gone, and gives those back that lost the row that says so."""
        for key, value in list(self.tx.scan(tables.UNIQUE)):
            if value not in self._places:
                self.tx.delete(tables.UNIQUE, key)
        for key, id in self._unique.items() if tables.UNIQUE in self._gone else ():
            if self.tx.get(tables.UNIQUE, key) is None:
                self.tx.put(tables.UNIQUE, key, id)

    def _drop_strays(self) -> None:
        """Deletes results and leases of no task, and what is kept of tasks and groups that are not there."""
        for key in self._strange_leases:
            self.tx.delete(tables.LEASES, key)
        for key in [key for key, _ in self.tx.scan(tables.RESULTS) if key[:-2] not in self._owners]:
            self.tx.delete(tables.RESULTS, key)
        for key in [key for key, _ in self.tx.scan(tables.EXPIRY) if key[8:] not in self._places]:
            self.tx.delete(tables.EXPIRY, key)
        drop_of_groups(self.tx)

    # Counters.

    def _save_counters(self, *, every: bool) -> None:
        tx = self.tx
        value = tx.get(tables.META, tables.COUNTERS_KEY)
        if value is None:
            counters = made_up_counters(tx)
            self.notes.append("the counters were made up anew, larger than all that is known")
        else:
            counters = read_row(tables.META, tables.COUNTERS_KEY, lambda: CountersRecord(*tables.unpack(value)))
        last, kept = counters.finish_sequence, 0
        known: set[str] = set()
        for key, row in tx.scan(tables.FINISHED):
            last, kept = max(last, int.from_bytes(key, "big")), kept + 1
            if every:
                known.add(read_row(tables.FINISHED, key, lambda row=row: tables.unpack(row)[1]))  # type: ignore[misc]
        if every:
            self._finished += self._forgotten(known)
        for id, end in self._finished:
            last, kept = last + 1, kept + 1
            kind = (FinishedKind.SPLIT.value,) if end.split else ()
            record = tables.pack((self._wall, id, end.key, end.has_results, *kind))
            tx.put(tables.FINISHED, tables.finished_key(last), record)
        counters = counters._replace(
            sequence=max(self._sequence, counters.sequence), finish_sequence=last, kept=kept,
            queue_number=max([counters.queue_number, *(int.from_bytes(key, "big") for key, _ in tx.scan(tables.QUEUES))]),
        )  # fmt: skip
        tx.put(tables.META, tables.COUNTERS_KEY, tables.pack(tuple(counters)))

    def _forgotten(self, known: set[str]) -> Iterator[tuple[str, End]]:
        """Yields what has ended and nobody would forget any more."""
        known |= {id for id, _ in self._finished}
        for key, value in self.tx.scan(tables.INDEX):
            record = tables.unpack(value)
            if record[0] == AT_ENDED and (id := key.decode()) not in known:
                yield id, End(*record)

    # Groups, for which the books must be there.

    def end_groups(self, books: Books, step: Step) -> None:
        """Lets groups fail of which members are gone: they would wait for ever, or be told as if they were whole."""
        rows = {
            row.id: row for row in (groups.read_row(key.decode(), value) for key, value in step.tx.scan(tables.GROUPS))
        }
        out = {row.id: row.size - row.joined for row in rows.values() if row.state == groups.OPEN}
        for where, _, batch in self._unfinished() if rows else ():
            own = batch.options.group
            is_out = where != AT_DEAD and own is not None and own[0] in out
            if is_out and own is not None and groups.is_member(step, own[0], batch.id, groups.IS_TASK):
                out[own[0]] += batch.unfinished
        for row in rows.values():
            outer = row.options.group if row.state == groups.OPEN and row.queue is not None else None
            if outer is not None and outer[0] in out and groups.is_member(step, outer[0], row.id, groups.IS_GROUP):
                out[outer[0]] += 1
        kept = self._kept_results(step)
        for row in rows.values():
            is_whole = row.is_packed or kept is None or row.stored == kept.get(row.id, 0)
            if row.is_packed and kept is not None:
                is_whole = groups.packed_results(step, row) is not None
            if row.state == groups.OPEN:
                is_stuck = not row.outstanding and not books.chores.is_about(follow_up.JOIN_GROUP, row.id)
                is_whole = is_whole and row.outstanding == out[row.id] and not is_stuck
            elif row.state != groups.DONE or row.queue is not None:
                continue
            if not is_whole:
                self.notes.append(f"group {row.id} has failed: {DAMAGED_MEMBERS}")
                groups.end(books, step, row, groups.FAILED, DAMAGED_MEMBERS)
        follow_up.follow_up(books, step)

    def _kept_results(self, step: Step) -> dict[str, int] | None:
        """Returns of how many members there are results, by group; None when nothing is gone of them."""
        if tables.MEMBERS not in self._gone:
            return None
        found: dict[str, int] = {}
        for key, value in step.tx.scan(tables.MEMBERS):
            id, _, path = key.partition(b"\0")
            if path:
                found[id.decode()] = found.get(id.decode(), 0) + int(tables.unpack(value)[0])
        return found
