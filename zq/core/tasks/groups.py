"""Groups: which tasks belong together, how many are out, and how the group ended.

Theory of operation. A group is opened for `size` members. `outstanding` starts there and falls by one for each member
that ends, in the transaction of its end; at 0 the group is joined (see `zq.core.tasks.follow_up`). A completed member
whose forwards carry its group does not end: what it forwarded takes its place (`outstanding` grows by what was
forwarded, less one), so that chains, forks and flat stages inside a group are still waited for. A group that is opened
with a callback in another group is a member of that one, from its opening to the end of its callback.

A task is a member if the group was open when the task was stored; so is a group, by its opening. The roster says who
was let in, and goes with the group. What was stored before the group was opened, or outlived an earlier group of that
id, names it and is no member: it was not counted in, and is not counted out.

Invariant, which the simulation counts afresh: of an open group, outstanding = (size - joined) + its tasks that have not
ended + its groups that are open. Members that end when their group has ended change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.operation import Chore
from zq.core.state.places import FinishedKind
from zq.core.state.step import EndedMembers, Notice, Step
from zq.wire.messages import DEFAULT_OPTIONS, Accepted, Done, Ended, Group, Options, Refused
from zq.wire.messages import Batch as WireBatch

OPEN, DONE, FAILED, CANCELLED = "open", "done", "failed", "cancelled"
"""States of a group: done means that its callback was made or, without one, that its results are there."""

IS_TASK, IS_GROUP, IS_BOTH = b"\0", b"\1", b"\2"
"""What a row of the roster names; both when a task was submitted under the id of a group, which will fail by it."""

NIL = b"\xc0"
"""None in msgpack: the payload of a notice about a group, which has none."""

GROUP_OUTCOMES = {DONE: "done", FAILED: "dead", CANCELLED: "cancelled"}
"""What those are told who wait for a group as if it were a task."""


GROUP_DEPTH_MAX = 100
"""Groups around a group: when it fails they fail with it, one by the other, in one step."""

_TOO_DEEP = f"it is in more than {GROUP_DEPTH_MAX} groups, each in the next"

SWEEP, FORGET = "sweep", "forget"
"""Chores of a group that has ended: what is not needed any more goes; or all of it does."""

SWEEP_ROWS = 200
"""Rows of a group that one step deletes at once; what is behind them is left to a chore."""


@dataclass(slots=True, eq=False)
class GroupRow:
    """A group, changed and stored again within one step; all but its id is stored under that, in this order."""

    id: str
    size: int
    policy: str
    skips_none: bool
    queue: str | None
    options: Options
    opened_time: float  # wall
    state: str = OPEN
    joined: int = 0  # members that have been stored, of `size`
    outstanding: int = 0
    results_bytes: int = 0  # so far
    reason: str = ""
    finished_time: float = 0.0  # wall
    depth: int = 0  # groups around it
    stored: int = 0  # members whose results are stored
    is_packed: bool = False  # whether its results are one row, under the empty path
    owner: str | None = None  # name of the key that opened it; None without keys
    cancelled: int = 0  # tasks that were cancelled with it, itself one of them

    def record(self) -> bytes:
        options = None if self.options is DEFAULT_OPTIONS else tuple(self.options)
        head = (self.size, self.policy, self.skips_none, self.queue, options, self.opened_time)
        tail = (self.state, self.joined, self.outstanding, self.results_bytes, self.reason, self.finished_time)
        ways = (self.depth, self.stored, self.is_packed)
        last = (self.owner, self.cancelled) if self.cancelled else () if self.owner is None else (self.owner,)
        return tables.pack((*head, *tail, *ways, *last))


def read_row(id: str, value: bytes) -> GroupRow:
    """Makes a group of its record."""
    row = GroupRow(id, *tables.unpack(value))
    row.options = DEFAULT_OPTIONS if row.options is None else Options(*row.options)
    return row


def find(step: Step, id: str) -> GroupRow | None:
    """Returns a group that is known here."""
    value = step.tx.get(tables.GROUPS, id.encode())
    return None if value is None else read_row(id, value)


def save(step: Step, row: GroupRow) -> None:
    step.tx.put(tables.GROUPS, row.id.encode(), row.record())


# Opening and joining.


def open_group(books: Books, step: Step, group: Group) -> bool:
    """Stores a group that is not known yet, an empty one is joined in this step; False when it is known, and stays as
    it is.
    """
    if find(step, group.id) is not None:
        return False
    row = GroupRow(*group, step.wall, outstanding=group.size, depth=_depth(step, group), owner=step.owner)
    save(step, row)
    books.count("groups opened")
    outer = group.options.group
    if group.queue is not None and outer is not None:
        enroll(step, outer[0], group.id, IS_GROUP)
    if row.depth > GROUP_DEPTH_MAX:
        end(books, step, row, FAILED, _TOO_DEEP)
    elif not group.size:
        step.ended.append(EndedMembers((group.id, (0,)), group.id, 0, 0, "done", "", b"", b""))
    return True


def _depth(step: Step, group: Group) -> int:
    """Returns how many groups are around a new one: it is a member of the next."""
    outer = group.options.group if group.queue is not None else None
    around = None if outer is None else find(step, outer[0])
    return 0 if around is None else around.depth + 1


def admit(books: Books, step: Step, group: Group) -> Accepted | Refused:
    """Opens a group for a client, which may say so again."""
    if find(step, group.id) is None:
        refused = _refusal(step, group)
        if refused is not None:
            return refused
        open_group(books, step, group)
        if group.queue is not None and group.options.group is not None:
            join(books, step, group.options.group[0], 1)
    return Accepted(group.id, 1, None)


def _refusal(step: Step, group: Group) -> Refused | None:
    if places.find(step, group.id) is not None:
        return Refused(group.id, "invalid", None, f"{group.id} is the id of a task; give the group another")
    if step.tx.is_full:
        return Refused(group.id, "busy", 5.0, step.tx.why_full)
    outer = group.options.group if group.queue is not None else None
    reason = None if outer is None else closed_reason(step, outer[0], 1)
    if reason is None and _depth(step, group) > GROUP_DEPTH_MAX:
        reason = _TOO_DEEP
    return None if reason is None else Refused(group.id, "invalid", None, reason)


def closed_reason(step: Step, id: str, count: int) -> str | None:
    """Returns why a group cannot take more members from a client, or None when it can."""
    row = find(step, id)
    if row is None:
        return f"there is no group {id}: open it before its members are submitted"
    if row.state != OPEN:
        return f"group {id} has ended: {row.state}"
    if row.joined + count > row.size:
        return f"group {id} was opened for {row.size} members, and {row.joined} were submitted before these {count}"
    return None


def join(books: Books, step: Step, id: str, count: int) -> None:
    """Counts members that were stored, of those for which the group was opened."""
    row = find(step, id)
    if row is not None and row.state == OPEN:
        row.joined += count
        save(step, row)
        if row.joined > row.size:
            end(books, step, row, FAILED, f"it was opened for {row.size} members, and {row.joined} came")


def enroll(step: Step, id: str, member: str, kind: bytes) -> None:
    """Lets a batch or group in as a member, if the group is open."""
    row = find(step, id)
    if row is not None and row.state == OPEN:
        key = tables.roster_key(id, member)
        step.tx.put(tables.ROSTER, key, kind if step.tx.get(tables.ROSTER, key) in (None, kind) else IS_BOTH)


def is_member(step: Step, id: str, member: str, kind: bytes) -> bool:
    """Whether a batch or group was let in while this group was open: only then it is counted out when it ends."""
    return step.tx.get(tables.ROSTER, tables.roster_key(id, member)) in (kind, IS_BOTH)


def enroll_callback(step: Step, row: GroupRow) -> None:
    """Puts the callback of a group that is done in its place, in the group around it."""
    outer = row.options.group
    if outer is not None and is_member(step, outer[0], row.id, IS_GROUP):
        step.tx.put(tables.ROSTER, tables.roster_key(outer[0], row.id), IS_TASK)


def roster(step: Step, id: str) -> Iterator[tuple[str, bytes]]:
    """Yields the members that were let in, each with what it is."""
    start, stop = tables.id_bounds(id)
    for key, kind in step.tx.scan(tables.ROSTER, start, stop):
        yield key[len(start) :].decode(), kind


def pack_results(step: Step, row: GroupRow, payload: bytes) -> None:
    """Stores the joined results of a group as one row, in place of those of its members."""
    row.is_packed = True
    step.tx.put(tables.MEMBERS, tables.member_key(row.id, ()), payload)


def packed_results(step: Step, row: GroupRow) -> bytes | None:
    """Returns the joined results of a group that has them as one row."""
    return step.tx.get(tables.MEMBERS, tables.member_key(row.id, ())) if row.is_packed else None


def store_members(step: Step, id: str, path: tuple[int, ...], record: tuple[Any, ...]) -> bool:
    """Stores how a range of members ended, under the path of the first; False when there is something."""
    key = tables.member_key(id, path)
    if step.tx.get(tables.MEMBERS, key) is not None:
        return False
    step.tx.put(tables.MEMBERS, key, tables.pack(record))
    return True


# Moving.


def is_moved(batch: StoredBatch, done: Done) -> bool:
    """Whether a completion hands the membership of its tasks on to what it forwards or opens."""
    own = batch.options.group
    if own is None:
        return False
    return any(_carries(one.options, own[0]) for one in done.forwards) or any(
        group.queue is not None and _carries(group.options, own[0]) for group in done.groups
    )


def follow_moves(
    books: Books, step: Step, own: str | None, opened: Iterable[Group], forwards: Iterable[WireBatch]
) -> None:
    """Counts what a completion has forwarded and opened into the groups that it is for.

    Args:
        own: group of the completed tasks: what is for it takes their places, and is not of those that it was opened
            for.
        opened: the groups of the completion that were not known.
        forwards: what was stored of it.
    """
    for group in opened:
        if group.queue is not None and group.options.group is not None:
            _count_in(books, step, own, group.options.group[0], 1)
    for batch in forwards:
        if batch.options.group is not None:
            _count_in(books, step, own, batch.options.group[0], batch.tasks)


def _carries(options: Options, id: str) -> bool:
    return options.group is not None and options.group[0] == id


def _count_in(books: Books, step: Step, own: str | None, id: str, count: int) -> None:
    if id != own:
        join(books, step, id, count)
        return
    row = find(step, id)
    if row is not None and row.state == OPEN:
        row.outstanding += count
        save(step, row)


# Ending.


def end(books: Books, step: Step, row: GroupRow, state: str, reason: str) -> None:
    """Ends a group: those who wait are told, a group around it loses a member, and what is not needed any more is
    forgotten.
    """
    row.state, row.reason, row.finished_time = state, reason, step.wall
    save(step, row)
    books.count(f"groups {state}")
    if state != CANCELLED and sweep(step, row, SWEEP_ROWS) == SWEEP_ROWS:
        leave_to_chore(books, step, SWEEP, row.id)
    places.enter_finished(books, step, row.id, FinishedKind.GROUP)
    if state == DONE:
        return
    books.waits.note(row.id, Ended(0, 1, GROUP_OUTCOMES[state], reason, b"", b""))
    if row.queue is None:
        return
    options = row.options
    if options.group is not None:
        step.ended.append(EndedMembers(options.group, row.id, 0, 1, GROUP_OUTCOMES[state], reason, b"", b"", True))
    if options.on_dead is not None and state == FAILED:
        notice = Notice(options.on_dead, row.id, row.queue, GROUP_OUTCOMES[state], reason, 0, options.headers, NIL)
        step.notices.append(notice)


def leave_to_chore(books: Books, step: Step, verb: str, id: str) -> None:
    """Leaves to the next steps what is to be done about a group."""
    if not books.chores.is_about(verb, id):
        books.chores.save(step, Chore(verb, id))
        books.deadlines.chores.bring_forward(step.now)


def sweep(step: Step, row: GroupRow, most: int) -> int:
    """Deletes rows of a group that has ended, and that nobody needs any more; returns how many."""
    count = _delete(step, row.id, tables.ROSTER, most)
    is_kept = row.state == DONE and row.queue is None  # its results are its own
    if not is_kept:
        count += _delete(step, row.id, tables.MEMBERS, most - count)
    elif row.is_packed:
        count += _delete(step, row.id, tables.MEMBERS, most - count, tables.member_key(row.id, (0,)))
    return count


def strike(step: Step, id: str, member: str) -> None:
    """Takes a member out of the roster of a group that has ended."""
    step.tx.delete(tables.ROSTER, tables.roster_key(id, member))


def forget(books: Books, step: Step, id: str) -> None:
    """Forgets a group that has ended long ago."""
    if not forget_some(step, id, SWEEP_ROWS):
        leave_to_chore(books, step, FORGET, id)


def forget_some(step: Step, id: str, most: int) -> bool:
    """Deletes rows of a group that is to be forgotten, itself the last; returns whether nothing is left of it."""
    count = _delete(step, id, tables.ROSTER, most)
    count += _delete(step, id, tables.MEMBERS, most - count)
    if count == most:
        return False
    step.tx.delete(tables.GROUPS, id.encode())
    return True


def _delete(step: Step, id: str, table: str, most: int, start: bytes = b"") -> int:
    """Deletes the first rows that a table has of a group; returns how many."""
    first, stop = tables.id_bounds(id)
    keys = [key for key, _ in islice(step.tx.scan(table, max(first, start), stop), max(0, most))]
    for key in keys:
        if table == tables.ROSTER:
            step.tx.delete(tables.ROSTER, key)
        else:
            step.tx.delete(tables.MEMBERS, key)
    return len(keys)
