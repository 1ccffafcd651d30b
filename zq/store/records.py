"""The journal's bytes: what one turn wrote, as a record that a machine can apply again (docs/journal.md).

A record is a head and a body. The head says how long the body is, the record's place in the sequence of all that were
ever written to this directory, and the epoch of whoever wrote it; it has a checksum of its own, so that a search for
records reads each byte once, whatever somebody's payload looks like. The body is a msgpack array of changes in the
order in which they were made, by the names of their tables: nothing in it knows the engine behind the tables. Both
checksums begin with the directory's salt, which no payload knows.

What lies in a journal is a chain of records from its first place on, each one the next of the one before. Behind it
is what is left of earlier records, or of one that was not finished when the power went: both count as nothing. But a
whole record of a later sequence behind the end of the chain says that something before it is gone that was there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgpack

from zq.core import tables
from zq.core.storage import Transaction
from zq.errors import StoreCorruptError

MAGIC: Final = b"zqR1"
"""How a record begins."""

_HEAD = struct.Struct(">4sIQQII")  # magic, bytes of the body, sequence, epoch, its checksum, that of the head before
HEAD_BYTES: Final = _HEAD.size
_CHECKED = HEAD_BYTES - 4

_BEGINNING = MAGIC + b"\0"
"""How every head begins, for no body has 16 MiB. Somebody's payload may be full of MAGIC, and each place that is looked
at takes its time at a start.
"""

SALT_BYTES: Final = 16

CHECKPOINT_TABLE: Final = "journal"
"""The table with the one row that says up to where the tables are whole; nobody writes it but this room."""

CHECKPOINT_KEY: Final = b"checkpoint"

Change = tuple[str, bytes, bytes | None] | tuple[str, list[tuple[bytes, bytes]]]
"""(table, key, value) puts, and deletes when the value is None; (table, rows) puts many."""


class Checkpoint(NamedTuple):
    """What the tables know of the journal.

    Attributes:
        sequence: the last record that is in the tables; everything up to it counts as nothing where it is found.
        epoch: of who writes records since; the next opening raises it.
        salt: of the journal in use, whose checksums begin with it; empty while none is in use.
    """

    sequence: int = 0
    epoch: int = 0
    salt: bytes = b""

    def to_bytes(self) -> bytes:
        packed: bytes = msgpack.packb(tuple(self))
        return packed

    @classmethod
    def from_bytes(cls, row: bytes | None) -> Checkpoint:
        """Returns what a row says; where there is none, no journal was ever in use."""
        return cls() if row is None else cls(*msgpack.unpackb(row, use_list=False)[:3])


class RedoRecord(NamedTuple):
    """A whole record as it was found, at a place, in bytes from the first one."""

    place: int
    sequence: int
    epoch: int
    body: memoryview

    @property
    def end(self) -> int:
        return self.place + HEAD_BYTES + len(self.body)


def pack_record(salt: bytes, sequence: int, epoch: int, changes: Sequence[Change]) -> bytes:
    """Returns the bytes of a record."""
    body: bytes = msgpack.packb(changes)
    seed = crc32(salt)
    head = _HEAD.pack(MAGIC, len(body), sequence, epoch, crc32(body, seed), 0)[:_CHECKED]
    return b"".join((head, crc32(head, seed).to_bytes(4, "big"), body))


def read_record(data: memoryview, place: int, salt: bytes) -> RedoRecord | None:
    """Returns the record that begins at a place; None when there is no whole one."""
    if len(data) < place + HEAD_BYTES:
        return None
    magic, length, sequence, epoch, body_sum, head_sum = _HEAD.unpack_from(data, place)
    seed = crc32(salt)
    if magic != MAGIC or crc32(data[place : place + _CHECKED], seed) != head_sum:
        return None
    body = data[place + HEAD_BYTES : place + HEAD_BYTES + length]
    if len(body) != length or crc32(body, seed) != body_sum:
        return None
    return RedoRecord(place, sequence, epoch, body)


def read_chain(data: memoryview, salt: bytes) -> list[RedoRecord]:
    """Returns the records from the first place on, each the next of the one before."""
    chain: list[RedoRecord] = []
    found = read_record(data, 0, salt)
    while found is not None and (not chain or found.sequence == chain[-1].sequence + 1):
        chain.append(found)
        found = read_record(data, found.end, salt)
    return chain


def find_later(data: bytes, start: int, sequence: int, salt: bytes) -> RedoRecord | None:
    """Returns the first whole record from a place on whose sequence is above another; None when there is none."""
    view = memoryview(data)
    place = data.find(_BEGINNING, start)
    while place >= 0:
        if data.startswith(b"\0\0", place + 8):  # as every sequence does
            found = read_record(view, place, salt)
            if found is not None and found.sequence > sequence:
                return found
        place = data.find(_BEGINNING, place + 1)
    return None


def all_records(data: bytes, salt: bytes) -> list[RedoRecord]:
    """Returns every whole record that there is, wherever it is, in the order of their sequences."""
    found: dict[int, RedoRecord] = {}
    place = 0
    while (one := find_later(data, place, -1, salt)) is not None:
        before = found.get(one.sequence)
        if before is None or before.epoch < one.epoch:
            found[one.sequence] = one
        place = one.end
    return [found[sequence] for sequence in sorted(found)]


def records_beyond(checkpoint: Checkpoint, data: bytes, name: str) -> list[RedoRecord]:
    """Returns what the tables lack of a journal, in order.

    Args:
        checkpoint: what the tables say.
        data: all bytes of the journal, from its first place on.
        name: of the journal, for the errors.

    Raises:
        StoreCorruptError: something is gone that was answered, or the journal and the tables do not belong together.
    """
    salt, last = checkpoint.salt, checkpoint.sequence
    chain = read_chain(memoryview(data), salt)
    if chain and chain[0].sequence > last + 1:
        raise StoreCorruptError(
            f"{name} begins with record {chain[0].sequence}, and the tables end with {last}: the tables are older than their "
            "journal. Put back both from one backup; a directory is only whole with all of its files"
        )
    end = chain[-1].end if chain else 0
    last = max(last, chain[-1].sequence if chain else 0)
    later = find_later(data, end, last, salt)
    if later is not None:
        raise StoreCorruptError(
            f"{name} is damaged at byte {end}: expected record {last + 1} there, and found no whole one, while record "
            f"{later.sequence} follows at byte {later.place}. What lies between was answered and is gone: restore a backup of "
            "the whole directory, or save what is left with `zq salvage`"
        )
    beyond = [one for one in chain if one.sequence > checkpoint.sequence]
    for one in beyond:
        if one.epoch != checkpoint.epoch:
            raise StoreCorruptError(
                f"{name} has record {one.sequence} of epoch {one.epoch} at byte {one.place}, and the tables are of epoch "
                f"{checkpoint.epoch}: they do not belong together. Put back both from one backup"
            )
    return beyond


def apply(record: RedoRecord, tx: Transaction) -> int:
    """Writes into the tables what a record says; returns how many rows.

    Raises:
        StoreCorruptError: it was written for other tables.
    """
    rows = 0
    changes: list[Any] = msgpack.unpackb(record.body, use_list=False)
    try:
        for table, *change in changes:
            if len(change) == 1:
                tx.put_many(table, change[0])
                rows += len(change[0])
                continue
            key, value = change
            if value is None:
                tx.delete(table, key)
            else:
                tx.put(table, key, value)
            rows += 1
    except KeyError as error:
        raise StoreCorruptError(
            f"record {record.sequence} of the journal is for a table that is not there: {error}"
        ) from error
    return rows


def leave_log(checkpoint: Checkpoint, sequence: int, tx: Transaction) -> None:
    """Writes into tables that they need no log, and have all records up to a sequence."""
    tx.put(CHECKPOINT_TABLE, CHECKPOINT_KEY, checkpoint._replace(sequence=sequence, salt=b"").to_bytes())


# What was set aside of the tables before records were applied to them.


def noted(tx: Transaction, count: int) -> dict[bytes, bytes]:
    """Returns the rows of so many things that were set aside last, and of the recount that they need."""
    found = dict(list(tx.scan(tables.DAMAGED, *tables.damaged_bounds()))[-count:])
    recount = tx.get(tables.DAMAGED, tables.RECOUNT_KEY)
    return found if recount is None else {**found, tables.RECOUNT_KEY: recount}


def keep_noted(tx: Transaction, before: dict[bytes, bytes]) -> None:
    """Keeps what was set aside before a journal was applied, whose records are of earlier: they may have given the
    numbers to other rows, and know nothing but that an earlier recount is over.
    """
    now = dict(tx.scan(tables.DAMAGED))
    number = max((int.from_bytes(key[1:9], "big") for key in now if tables.is_damaged_key(key)), default=0)
    for key, value in before.items():
        if now.get(key) == value:
            continue
        if key != tables.RECOUNT_KEY and key in now:  # another row has its number
            number += 1
            key = tables.damaged_key(number)
        tx.put(tables.DAMAGED, key, value)
