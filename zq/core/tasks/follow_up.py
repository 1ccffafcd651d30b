"""What follows from the ends of tasks, in the same transaction: groups that are complete are joined, and queues that
asked for it get a notice.

`endings` notes in the step what has ended; `follow_up` is called after each message and does the rest, until nothing
follows any more (a failed group may end the group around it). The results of members are msgpack already, and so is
what is made of them: an array header and the results as they are.
"""

from __future__ import annotations

from math import inf

from zq.core import tables
from zq.core.state import places
from zq.core.state.books import Books
from zq.core.state.outcome_waits import Found
from zq.core.state.step import MOVED, EndedMembers, Notice, Step
from zq.core.tasks import admission, groups, outcomes
from zq.core.tasks.groups import DONE, FAILED, IS_GROUP, IS_TASK, NIL, OPEN, GroupRow
from zq.wire.batch import iterate_payloads, pack_payloads, slice_tasks
from zq.wire.limits import HEADERS_MAX, PAYLOAD_BYTES_CEILING
from zq.wire.messages import Batch, Ended, Options
from zq.wire.wholeness import are_whole_results

HEADER_REASON_CHARS = 4096
"""Of a reason in a header (protocol 1.1) or in a joined result; of a longer one both ends are kept."""

JOIN_GROUP = "join"
"""The chore of a group that is joined."""

JOIN_AT_ONCE = 2000
"""Members whose results are joined in the step in which the last of them ends; more of them in the next steps."""

NOTICE_PREFIX = "zq.notice."


def follow_up(books: Books, step: Step) -> None:
    """Carries out what the ends of this step entail."""
    rows: dict[str, GroupRow] = {}  # groups that members have left; each is stored once
    while step.ended:
        ended, step.ended = step.ended, []
        for members in ended:
            _leave(books, step, members, rows)
    for row in rows.values():
        groups.save(step, row)
    notices, step.notices = step.notices, []
    for notice in notices:
        _store_notice(books, step, notice)


# Members.


def _leave(books: Books, step: Step, members: EndedMembers, rows: dict[str, GroupRow]) -> None:
    """Counts members out of their group, and ends it when they decide it."""
    id = members.group[0]
    row = rows.get(id) or groups.find(step, id)
    if row is None or row.state != OPEN:
        return
    rows[id] = row
    count = members.hi - members.lo
    if count and not groups.is_member(step, row.id, members.id, IS_GROUP if members.is_group else IS_TASK):
        return
    row.outstanding -= count
    if members.outcome != MOVED and count and not _decide(books, step, row, members):
        return
    if row.outstanding <= 0:
        _note_flow(books, step, row, members)
        _complete(books, step, row)


def _decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
    """Stores how members ended; False when that has ended the group."""
    is_done = members.outcome == "done"
    if not is_done and row.policy == "all":
        name = f"member {_path_at(members)} ended as {members.outcome}: {members.reason}"
        groups.end(books, step, row, FAILED, name)
        return False
    if not are_whole_results(members.ends, members.blob):  # they are joined as they are
        groups.end(books, step, row, FAILED, f"the result of member {_path_at(members)} is no whole msgpack value")
        return False
    if is_done and row.policy == "any":
        members = _first_of(members)
    if is_done or row.policy == "settled":
        if not _store(step, row, members):
            groups.end(books, step, row, FAILED, f"two members had the path {_path_at(members)}")
            return False
        if row.results_bytes > PAYLOAD_BYTES_CEILING:
            reason = f"the results of its members have more than {PAYLOAD_BYTES_CEILING} bytes together"
            groups.end(books, step, row, FAILED, reason)
            return False
    if is_done and row.policy == "any":
        _note_flow(books, step, row, members)
        _complete(books, step, row)
        return False
    return True


def _first_of(members: EndedMembers) -> EndedMembers:
    """Returns the first of members that were done together, as neighbours are reported: one result is enough."""
    ends, blob = slice_tasks(members.ends, members.blob, 0, 1) if members.ends else (b"", b"")
    return members._replace(hi=members.lo + 1, ends=ends, blob=blob)


def _note_flow(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> None:
    """Notes where a callback comes from: the queue of the members whose end has decided it."""
    if row.queue is not None and not members.is_group:
        origin = places.queue_of(books, places.find(step, members.id))
        if origin is not None:
            books.measures.flows.note(origin, row.queue, 1, step.wall)


def _path_at(members: EndedMembers) -> str:
    *front, last = members.group[1]
    return "/".join(map(str, (*front, last + members.lo)))


def _store(step: Step, row: GroupRow, members: EndedMembers) -> bool:
    """Stores the results of a range of members under the path of the first; False when there is something."""
    *front, last = members.group[1]
    reason = short(members.reason)
    record = (members.hi - members.lo, members.outcome, members.ends, members.blob, reason)
    if not groups.store_members(step, row.id, (*front, last + members.lo), record):
        return False
    row.results_bytes += len(members.blob) + len(reason)
    row.stored += members.hi - members.lo
    return True


def short(reason: str) -> str:
    """Returns a reason that fits a header; of a traceback the end says most."""
    half = HEADER_REASON_CHARS // 2 - 4
    return reason if len(reason) <= HEADER_REASON_CHARS else f"{reason[:half]}\n...\n{reason[-half:]}"


# Joining.


def _complete(books: Books, step: Step, row: GroupRow) -> None:
    """Joins a group whose members have all ended, at once or, if they are many, in the next steps."""
    if row.stored <= JOIN_AT_ONCE or row.policy == "any":  # of which the first decides
        _conclude(books, step, row, joined(step, row))
    else:
        groups.leave_to_chore(books, step, JOIN_GROUP, row.id)


def join_some(books: Books, step: Step, row: GroupRow, most: int) -> bool:
    """Goes on joining a group whose members have all ended; returns whether it is joined."""
    joint: Joint = books.joints.setdefault(row.id, Joint())
    if not joint.read(step, row, most):
        return False
    del books.joints[row.id]
    _conclude(books, step, row, joint.payload(row))
    return True


def _conclude(books: Books, step: Step, row: GroupRow, payload: bytes | str) -> None:
    """Ends a group by the results of its members, or by what is wrong with them: its callback is stored, once, or its
    results are told.
    """
    if isinstance(payload, str):
        groups.end(books, step, row, FAILED, payload)
        return
    if row.queue is None:
        if row.stored > JOIN_AT_ONCE and row.policy != "any":
            groups.pack_results(step, row, payload)
        groups.end(books, step, row, DONE, "")
        books.waits.note(row.id, Ended(0, 1, "done", "", *pack_payloads([payload])))
        return
    if places.find(step, row.id) is not None:
        groups.end(books, step, row, FAILED, f"a task was submitted under its id {row.id}")
        return
    groups.end(books, step, row, DONE, "")
    batch = Batch(row.id, row.queue, row.options, *pack_payloads([payload]))
    groups.enroll_callback(step, row)
    admission.store(books, step, books.queue(step, row.queue), batch)


class Joint:
    """The results of the members of a group, as far as they are joined, in the order of their paths."""

    __slots__ = ("_blobs", "_count", "_cursor", "_ends", "_is_double", "_is_empty")

    def __init__(self) -> None:
        self._blobs: list[bytes] = []
        self._count = 0  # results that are in them
        self._cursor = b""
        self._ends: dict[tuple[int, ...], int] = {}  # path without its last number -> where the last range ended
        self._is_double = False  # whether two ranges cover one path
        self._is_empty = True

    def read(self, step: Step, row: GroupRow, most: float = inf) -> bool:
        """Reads results of members, as many as may be at once; returns whether that is all."""
        start, stop = tables.id_bounds(row.id)
        size = 0
        for key, value in step.tx.scan(tables.MEMBERS, max(start, self._cursor), stop):
            if size >= most:
                return False
            self._cursor = key + b"\0"
            size += self._add(row, tables.path_of(row.id, key), value)
        return True

    def _add(self, row: GroupRow, path: tuple[int, ...], value: bytes) -> int:
        """Adds a range of members; returns how many they are."""
        size, outcome, ends, blob, reason = tables.unpack(value)
        results = list(iterate_payloads(ends, blob)) if ends else [b""] * size
        if row.skips_none:
            results = [one for one in results if (one and one != NIL) or outcome != "done"]
        if row.policy == "settled":
            head = array_header(2) + tables.pack(outcome)
            results = [head + (tables.pack(reason) if outcome != "done" else one or NIL) for one in results]
        else:
            results = [one or NIL for one in results]
        *front, lo = path
        place = tuple(front)
        self._is_double = self._is_double or self._ends.get(place, 0) > lo
        self._ends[place] = lo + size
        self._blobs.append(b"".join(results))
        self._count += len(results)
        self._is_empty = False
        return int(size)

    def payload(self, row: GroupRow) -> bytes | str:
        """Returns the results as one msgpack array, or why there is none."""
        if self._is_double:
            return "two members had the same path"
        if row.policy == "any" and self._is_empty:
            return "none of its members was done"
        payload = array_header(self._count) + b"".join(self._blobs)
        if len(payload) > PAYLOAD_BYTES_CEILING:
            size = len(payload)
            return f"the results of its members have {size} bytes together, the limit is {PAYLOAD_BYTES_CEILING}"
        return payload


def joined(step: Step, row: GroupRow) -> bytes | str:
    """Returns the results of the members as one msgpack array in the order of their paths, or why there is none."""
    packed = groups.packed_results(step, row)
    if packed is not None:
        return packed
    joint = Joint()
    joint.read(step, row)
    return joint.payload(row)


def array_header(count: int) -> bytes:
    """Returns the msgpack header of an array."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


# Asking.


def ended_spans(books: Books, step: Step, id: str, asked: int) -> Found:
    """Returns how tasks of a batch have ended, as `outcomes.ended_spans`; a group is waited for as the task that it
    will become.
    """
    found = outcomes.ended_spans(books, step, id, asked)
    if found.missing or [one.outcome for one in found.spans] != ["unknown"]:
        return found
    row = groups.find(step, id)
    if row is None or (row.state == DONE and row.queue is not None):
        return found
    if row.state == OPEN:
        return Found([], asked & 1, 0)
    if row.state != DONE:
        return Found([Ended(0, 1, groups.GROUP_OUTCOMES[row.state], row.reason, b"", b"")], 0, 0)
    payload = joined(step, row)
    results = pack_payloads([payload if isinstance(payload, bytes) else NIL])
    return Found([Ended(0, 1, "done", "", *results)], 0, 0)


# Notices.


def _store_notice(books: Books, step: Step, notice: Notice) -> None:
    headers = {
        "zq-id": notice.id,
        "zq-queue": notice.of,
        "zq-outcome": notice.outcome,
        "zq-reason": short(notice.reason),
        "zq-attempts": str(notice.attempts),
    }
    for name, text in (notice.headers or {}).items():
        if len(headers) < HEADERS_MAX:
            headers.setdefault(name, text)
    number, jump = books.sequence + 1, 1  # the sequence is stored and never falls
    while places.find(step, id := f"{NOTICE_PREFIX}{number:x}") is not None:
        number, jump = number + jump, 2 * jump  # somebody gave such an id to a task, and perhaps to thousands
    batch = Batch(id, notice.queue, Options(headers=headers), *pack_payloads([notice.payload]))
    admission.store(books, step, books.queue(step, notice.queue), batch)
    if notice.of:  # a group without a callback is in no queue
        books.measures.flows.note(notice.of, notice.queue, 1, step.wall)
    books.count("notices")
