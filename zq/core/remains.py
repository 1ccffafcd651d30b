"""What was set aside of a store, as far as anything can be made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from zq.core import tables
from zq.core.counters import EPOCH_SHIFT, CountersRecord
from zq.core.recounted import all_changes, total_of
from zq.core.state.queue import PRIORITIES, QueueRecord
from zq.core.storage import Damage, Transaction
from zq.core.sums import SUM_BYTES, is_whole, salt_of
from zq.core.tables import AT_ENDED, AT_PARKED, AT_SCHEDULED
from zq.errors import StoreCorruptError
from zq.task import split_task_id
from zq.wire.limits import BATCH_TASKS_MAX, TASK_SEPARATOR
from zq.wire.policies import DEFAULT_POLICIES, policies_record

READ_FAULTS: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What reading a record raises that is not one."""

_OF_QUEUES: Final = (
    tables.QUEUES, tables.PENDING, tables.SCHEDULED, tables.PARKED, tables.LINES, tables.DEAD, tables.PROGRESS,
    tables.RESULTS, tables.UNIQUE,
)  # fmt: skip
"""Tables in whose keys the number of a queue is."""

NEAR_BITS: Final = 8
"""By which a key that is damaged may differ from what it was, as far as anything is made of it."""

TASK_KEY_BYTES: Final = len(tables.task_key(0, 0, 0))

EPOCHS_SKIPPED: Final = 1 << 16
"""When it is not known which epoch was the last: more than a coordinator has lives."""

T = TypeVar("T")


class Remains:
    """The table `damaged`.

    Attributes:
        notes: what is done about it, in words.
        damaged: how many rows and parts of tables were ever set aside, and not put right.
        righted: how many rows recounts ever dropped, rebuilt and put right.
        sizes: by id of batches that were set aside, how many tasks they had, where their records can still be read.
    """

    def __init__(self, tx: Transaction, notes: list[str]) -> None:
        self.tx = tx
        self.notes = notes
        self.damaged = 0
        self.righted = total_of(all_changes(tx))
        self.sizes: dict[str, int] = {}
        self._damages: list[Damage] = []
        self._strange: list[Damage] = []  # results of which it is not known whose they were
        self._numbers: dict[bytes, Damage] = {}  # by their keys

    def read(self, first: int | None) -> None:
        """Reads what was set aside; what came before a number, or all where that is None, was counted before."""
        for key, value in self.tx.scan(tables.DAMAGED, *tables.damaged_bounds()):
            damage = read_row(tables.DAMAGED, key, lambda value=value: Damage(*tables.unpack(value)))  # type: ignore[misc]
            if damage.is_mended:
                continue
            self.damaged += 1
            if first is None or int.from_bytes(key[1:9], "big") < first:
                continue
            self._numbers[key] = damage
            self._note(damage)

    def find_owners(self) -> None:
        """Puts rows back whose keys are damaged, where their checksum says whose they are: of all keys that there may
        be it is right for one alone.
        """
        for at, damage in enumerate(self._damages):
            if damage.is_part or damage.table not in (tables.PROGRESS, tables.RESULTS):
                continue
            salt = salt_of(damage.table)
            candidates = self._keys_of_batches() if damage.table == tables.PROGRESS else self._keys_of_results()
            key = next((key for key in candidates if is_whole(salt, key, damage.stored)), None)
            if key is not None:
                self.tx.put(damage.table, key, damage.stored[SUM_BYTES:])
                self._damages[at] = damage._replace(is_mended=True)
                self.notes.append(f"{damage}: it was put back, since its checksum says whose it is")
        for number, damage in [*self._numbers.items()]:
            mended = damage._replace(is_mended=True)
            if mended in self._damages:
                self.tx.put(tables.DAMAGED, number, mended.record())
                self._damages.remove(mended)
                self.damaged -= 1

    def _keys_of_batches(self) -> Iterator[bytes]:
        for key, _ in self.tx.scan(tables.PENDING):
            yield key
        for key, _ in self.tx.scan(tables.SCHEDULED):
            yield key[8:]
        for _, value in self.tx.scan(tables.PARKED):
            yield tables.unpack(value)[0]

    def _keys_of_results(self) -> Iterator[bytes]:
        """Yields the keys that results may have, of batches that have some."""
        for _, value in self.tx.scan(tables.INDEX):
            record = tables.unpack(value)
            if record[0] == AT_ENDED and record[8]:
                for index in range(record[7]):
                    yield tables.result_key(record[2], index)
        for key, value in self.tx.scan(tables.PROGRESS):
            if tables.unpack(value)[3]:
                for index in range(BATCH_TASKS_MAX):
                    yield tables.result_key(key, index)

    def find_strange_results(self) -> None:
        """Finds the results that are set aside under keys that cannot be theirs, or need not: another result has it, or
        no batch. Whose they were is known no more.
        """
        rows = [one for one in self.of(tables.RESULTS) if not one.is_part]
        if not rows:
            return
        sizes = {key: BATCH_TASKS_MAX for key, value in self.tx.scan(tables.PROGRESS) if tables.unpack(value)[3]}
        for _, value in self.tx.scan(tables.INDEX):
            record = tables.unpack(value)
            if record[0] == AT_ENDED and record[8]:
                sizes[record[2]] = record[7]
        self._strange = [
            one
            for one in rows
            if int.from_bytes(one.key[-2:], "big") >= sizes.get(one.key[:-2], 0)
            or self.tx.get(tables.RESULTS, one.key) is not None
        ]

    def has_lost_results(self, task_key: bytes, size: int) -> bool:
        """Returns whether results of a batch may be gone that had some: their row is, or one that may have been its."""
        if any(has_hurt(one, task_key) for one in self.of(tables.RESULTS) if one not in self._strange):
            return True
        if not self._strange:
            return False
        start, keys = 0, list[bytes]()
        for key, value in self.tx.scan(tables.RESULTS, *tables.result_bounds(task_key)):
            keys += [tables.result_key(task_key, index) for index in range(start, int.from_bytes(key[-2:], "big"))]
            start = tables.unpack(value)[0]
        keys += [tables.result_key(task_key, index) for index in range(start, size)]
        return not start or any(_is_near(one.key, key) for one in self._strange for key in keys)

    def of(self, table: str) -> list[Damage]:
        """Returns what was set aside of a table, or cannot be read of it."""
        return [one for one in self._damages if one.table == table]

    def add(self, damage: Damage) -> None:
        """Sets something aside that is not damaged itself."""
        number = 0
        for key, _ in self.tx.scan(tables.DAMAGED, *tables.damaged_bounds()):
            number = int.from_bytes(key[1:9], "big")
        self.tx.put(tables.DAMAGED, tables.damaged_key(number + 1), damage.record())
        self.damaged += 1
        self._note(damage)
        self.notes.append(f"set aside, too: {damage}")

    def _note(self, damage: Damage) -> None:
        self._damages.append(damage)
        id_and_size = id_and_size_of(damage)
        if id_and_size is not None:
            self.sizes[id_and_size[0]] = id_and_size[1]


def read_row(table: str, key: bytes, reader: Callable[[], T]) -> T:
    """Reads a row; one that cannot be is damaged, whatever its checksum says."""
    try:
        return reader()
    except READ_FAULTS as error:
        raise StoreCorruptError(
            f"the row of key {key.hex()} in table {table} cannot be read: {error}", table, key
        ) from error


def id_and_size_of(damage: Damage) -> tuple[str, int] | None:
    """Returns the id of a batch and how many tasks it had, of a record that was set aside and can still be read."""
    try:
        record = tables.unpack(damage.stored[4:])
        if damage.table == tables.PARKED:
            record = tables.unpack(record[1])
        elif damage.table == tables.DEAD:
            record = tables.unpack(record[0])
        elif damage.table not in (tables.PENDING, tables.SCHEDULED):
            return None
        id, size, first = record[:3]
    except READ_FAULTS:
        return None
    return (id, size) if isinstance(id, str) and isinstance(size, int) and size > 0 and first == 0 else None


def queue_number_of(damage: Damage) -> int | None:
    """Returns the number of the queue of what was set aside, where its key says it."""
    start = {tables.SCHEDULED: 8}.get(damage.table, 0)
    number = damage.key[start : start + 4]
    is_told = damage.table in _OF_QUEUES and len(number) == 4
    return int.from_bytes(number, "big") if is_told else None


def has_hurt(lost: Damage, task_key: bytes) -> bool:
    """Returns whether results under a task key are among what is lost of table `results`."""
    if not lost.is_part:
        return lost.key[: len(task_key)] == task_key
    first, last = tables.result_bounds(task_key)
    return lost.key < last and (lost.stop is None or first < lost.stop)


def _is_near(one: bytes, other: bytes) -> bool:
    """Returns whether one key may have become another by what was damaged."""
    bits = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return len(one) == len(other) and bits.bit_count() <= NEAR_BITS


def ask_recount(tx: Transaction, gone: Iterable[str] = ()) -> None:
    """Has everything counted anew when the books are read next, whether or not something was set aside.

    Args:
        gone: tables of which something may not be there.
    """
    marker = tx.get(tables.DAMAGED, tables.RECOUNT_KEY)
    if marker is not None:
        before, first = tables.unpack(marker)
    else:  # a recount has gone by all that is there
        numbers = [int.from_bytes(key[1:9], "big") for key, _ in tx.scan(tables.DAMAGED, *tables.damaged_bounds())]
        before, first = (), max(numbers, default=0) + 1
    tx.put(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack((sorted({*before, *gone}), first)))


def drop_of_groups(tx: Transaction) -> None:
    """Deletes what is kept of groups that are not there."""
    known = {key for key, _ in tx.scan(tables.GROUPS)}
    for table in (tables.MEMBERS, tables.ROSTER):
        for key in [key for key, _ in tx.scan(table) if key.partition(b"\0")[0] not in known]:
            tx.delete(table, key)


def mend_schedules(tx: Transaction) -> None:
    """Lets each schedule have the row by which it fires, and no other."""
    due: dict[bytes, None] = {}
    for key, value in tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        record = read_row(tables.SCHEDULES, key, lambda value=value: tables.unpack(value))  # type: ignore[misc]
        if not record[8]:  # is_paused of a ScheduleRow; next_time is behind it
            due[tables.schedule_time_key(record[9], tables.split_schedule_key(key))] = None
    for key, _ in list(tx.scan(tables.SCHEDULES, *tables.schedule_time_bounds())):
        if key in due:
            del due[key]
        else:
            tx.delete(tables.SCHEDULES, key)
    for key in due:
        tx.put(tables.SCHEDULES, key, b"")


def has_rows(tx: Transaction, table: str) -> bool:
    """Returns whether anything is in a table."""
    return next(iter(tx.scan(table)), None) is not None


def task_key_of(where: int, key: bytes) -> bytes:
    """Returns the task key of what was at a place, or of its queue."""
    if where == AT_PARKED:
        return tables.task_key(int.from_bytes(key[:4], "big"), 0, 0)
    return key[8:] if where == AT_SCHEDULED else key


def nameless(number: int) -> QueueRecord:
    """Returns the record of a queue of which nothing is known but its number."""
    zeros = (0,) * (len(QueueRecord._fields) - 3)
    return QueueRecord(f"recovered-{number}", policies_record(DEFAULT_POLICIES), (0,) * PRIORITIES, *zeros)


def is_part(id: bytes) -> bool:
    """Returns whether an id is that of a task that is not alone in its batch."""
    return TASK_SEPARATOR.encode() in id


def split_of(tx: Transaction, id: bytes) -> int:
    """Returns which tasks of a batch have a record of their own in the index."""
    start, found = id + TASK_SEPARATOR.encode(), 0
    for key, _ in tx.scan(tables.INDEX, start, start[:-1] + bytes((start[-1] + 1,))):
        part = split_task_id(key.decode(errors="replace"))
        if part is not None and part[1] < BATCH_TASKS_MAX:
            found |= 1 << part[1]
    return found


def made_up_counters(tx: Transaction) -> CountersRecord:
    """Returns counters that are larger than all that were ever used."""
    epoch = sequence = 0
    for key, _ in tx.scan(tables.LEASES):
        epoch = max(epoch, tables.token_of(key) >> EPOCH_SHIFT)
    for key, _ in tx.scan(tables.RESULTS):
        sequence = max(sequence, tables.split_task_key(key[:TASK_KEY_BYTES])[2])
    for _, value in tx.scan(tables.FINISHED):
        task_key = tables.unpack(value)[2]
        if task_key:
            sequence = max(sequence, tables.split_task_key(task_key)[2])
    return CountersRecord(epoch + EPOCHS_SKIPPED, sequence, 0, 0, 0)
