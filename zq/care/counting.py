"""What counting everything anew would change: the coordinator's own recount, on a draft that is thrown away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from zq.care.findings import Finding, Weight
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.recounted import STRAYS
from zq.core.remains import ask_recount
from zq.core.state.leases import LeaseRecord
from zq.core.state.queue import QueueRecord
from zq.core.tasks import groups
from zq.errors import StoreCorruptError
from zq.store.draft import DraftStore, DraftTransaction

SHOWN_MAX = 20
"""Broken things of a kind that are told one by one; of more, how many there are."""

REPAIR = "zq doctor DIR --repair, while no coordinator runs"

COUNTS = ("waiting", "leased", "scheduled", "parked", "lines", "dead", "bytes")
"""Of a queue's record: what is counted."""

OWN = (tables.META, tables.DAMAGED)
"""Tables that a start and a recount write in any case."""


def recount_draft(draft: DraftTransaction) -> None:
    """Reads the books as a start does, and has everything counted anew.

    Raises:
        StoreCorruptError: a row is damaged.
    """
    ask_recount(draft, (tables.FINISHED,))
    Machine(CoordinatorOptions(), Now(time.monotonic(), time.time()), DraftStore(draft))


def find_miscounts(draft: DraftTransaction) -> Iterator[Finding]:
    """Yields what the counts and the rows that name others have wrong."""
    try:
        recount_draft(draft)
    except StoreCorruptError as error:
        yield Finding(Weight.BROKEN, f"table {error.table}", str(error), REPAIR)
        return
    told: Counter[str] = Counter()
    changes = list(draft.changes())
    ended = {key for table, key, _, _ in changes if table in (tables.INDEX, tables.GROUPS)}
    for table, key, before, after in changes:
        text = "" if _follows(ended, table, key, after) else _text_of(table, key, before, after)
        if not text:
            continue
        told[table] += 1
        if told[table] <= SHOWN_MAX:
            yield Finding(Weight.BROKEN, f"table {table}", text, REPAIR)
    for table, count in told.items():
        if count > SHOWN_MAX:
            yield Finding(Weight.BROKEN, f"table {table}", f"{count - SHOWN_MAX} more of the same kind", REPAIR)


def _follows(ended: set[bytes], table: str, key: bytes, after: bytes | None) -> bool:
    """Returns whether a row would be another since a task or group ends by the recount, of which is told."""
    if table in (tables.MEMBERS, tables.ROSTER):
        return key.partition(b"\0")[0] in ended
    return table == tables.FINISHED and after is not None and tables.unpack(after)[1].encode() in ended


def _text_of(table: str, key: bytes, before: bytes | None, after: bytes | None) -> str:
    """Returns what is wrong with a row that would be another; nothing, when that is as it should be."""
    if table in OWN or (table == tables.EXPIRY and before is None):  # of what was leased when its time came
        return ""
    if table == tables.QUEUES and after is not None:
        return _about_queue(before, after)
    if table == tables.INDEX:
        return _about_index(key, before)
    if table == tables.LEASES and before is not None:
        return f"lease {tables.token_of(key)} of {LeaseRecord(*tables.unpack(before)).holder} is of a task that is not there"
    if table == tables.GROUPS and before is not None and after is not None:
        return _about_group(key, before)
    if table in STRAYS and after is None:
        return f"row {key.hex()} {STRAYS[table]}"
    if table in (tables.LINES, tables.SCHEDULES, tables.PARKED, tables.PENDING):
        return f"row {key.hex()} {'is missing' if before is None else 'is not what it should be'}"
    if table == tables.FINISHED and before is None:
        return f"row {key.hex()} is missing, by which {tables.unpack(after or b'')[1]} is forgotten one day"
    return ""


def _about_queue(before: bytes | None, after: bytes) -> str:
    there = QueueRecord(*tables.unpack(after))
    if before is None:
        return f"a queue has tasks and no record; it would be called {there.name}"
    told = QueueRecord(*tables.unpack(before))
    wrong = [
        f"{_sum(getattr(told, name))} {name}, and there are {_sum(getattr(there, name))}"
        for name in COUNTS
        if getattr(told, name) != getattr(there, name)
    ]
    return f"queue {told.name} tells of {'; of '.join(wrong)}"


def _sum(count: Any) -> int:
    return sum(count) if isinstance(count, tuple) else count


def _about_index(key: bytes, before: bytes | None) -> str:
    id = key.decode(errors="replace")
    if before is None:
        return f"task or batch {id} is there, and the index does not know of it"
    if tables.unpack(before)[0] == tables.AT_ENDED:
        return f"task or batch {id} is there, or its results are gone, and the index says how it has ended"
    return f"the index says where task or batch {id} is, and it is not there"


def _about_group(key: bytes, before: bytes) -> str:
    row = groups.read_row(key.decode(errors="replace"), before)
    return f"group {row.id} waits for {row.outstanding} members, and that is not how many there are"
