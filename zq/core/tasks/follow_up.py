"""What follows from the ends of tasks, in the same transaction: groups that are complete are joined, and queues that
asked for it get a notice.

`endings` notes in the step what has ended; `follow_up` is called after each message and does the rest, until nothing
follows any more (a failed group may end the group around it). The results of members are msgpack already, and so is
what is made of them: an array header and the results as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from zq.core import tables
from zq.core.state import places
from zq.core.state.books import Books
from zq.core.state.step import MOVED, EndedMembers, Notice, Step
from zq.core.tasks import admission, cancelling, groups, outcomes
from zq.core.tasks.groups import CANCELLED, DONE, FAILED, IS_GROUP, IS_TASK, NIL, OPEN, GroupRow
from zq.wire.batch import iterate_payloads, pack_payloads
from zq.wire.limits import HEADERS_MAX, PAYLOAD_BYTES_CEILING
from zq.wire.messages import Batch, Ended, Options
from zq.wire.wholeness import are_whole_results

HEADER_REASON_CHARS = 4096
"""Of a reason in a header (protocol 1.1) or in a joined result; of a longer one both ends are kept."""

NOTICE_PREFIX = "zq.notice."


def follow_up(books: Books, step: Step) -> None:
    """Carries out what the ends of this step entail."""
    while step.ended:
        ended, step.ended = step.ended, []
        for members in ended:
            _leave(books, step, members)
    notices, step.notices = step.notices, []
    for notice in notices:
        _store_notice(books, step, notice)


# Members.


def _leave(books: Books, step: Step, members: EndedMembers) -> None:
    """Counts members out of their group, and ends it when they decide it."""
    row = groups.find(step, members.group[0])
    if row is None or row.state != OPEN:
        return
    count = members.hi - members.lo
    if count and not groups.is_member(step, row.id, members.id, IS_GROUP if members.is_group else IS_TASK):
        return
    row.outstanding -= count
    groups.save(step, row)
    if members.outcome != MOVED and count and not _decide(books, step, row, members):
        return
    if row.outstanding <= 0:
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
    if is_done or row.policy == "settled":
        if not _store(step, row, members):
            groups.end(books, step, row, FAILED, f"two members had the path {_path_at(members)}")
            return False
        if row.results_bytes > PAYLOAD_BYTES_CEILING:
            reason = f"the results of its members have more than {PAYLOAD_BYTES_CEILING} bytes together"
            groups.end(books, step, row, FAILED, reason)
            return False
    if is_done and row.policy == "any":
        _complete(books, step, row)
        return False
    return True


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
    groups.save(step, row)
    return True


def short(reason: str) -> str:
    """Returns a reason that fits a header; of a traceback the end says most."""
    half = HEADER_REASON_CHARS // 2 - 4
    return reason if len(reason) <= HEADER_REASON_CHARS else f"{reason[:half]}\n...\n{reason[-half:]}"


# Joining.


def _complete(books: Books, step: Step, row: GroupRow) -> None:
    """Joins a group whose members have all ended: its callback is stored, once, or its results are told."""
    payload = joined(step, row)
    if isinstance(payload, str):
        groups.end(books, step, row, FAILED, payload)
        return
    if row.queue is None:
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


def joined(step: Step, row: GroupRow) -> bytes | str:
    """Returns the results of the members as one msgpack array in the order of their paths, or why there is none."""
    ranges: list[tuple[tuple[int, ...], int, bytes]] = []
    count = 0
    for path, size, blob, entries in _results(step, row):
        ranges.append((path, size, blob))
        count += entries
    if _overlap(ranges):
        return "two members had the same path"
    if row.policy == "any" and not ranges:
        return "none of its members was done"
    payload = array_header(count) + b"".join(blob for _, _, blob in ranges)
    if len(payload) > PAYLOAD_BYTES_CEILING:
        return f"the results of its members have {len(payload)} bytes together, the limit is {PAYLOAD_BYTES_CEILING}"
    return payload


def _results(step: Step, row: GroupRow) -> Iterator[tuple[tuple[int, ...], int, bytes, int]]:
    """Yields path, size, joined results and number of results of each range of members."""
    for key, value in step.tx.scan(tables.MEMBERS, *tables.id_bounds(row.id)):
        size, outcome, ends, blob, reason = tables.unpack(value)
        results = list(iterate_payloads(ends, blob)) if ends else [b""] * size
        if row.skips_none:
            results = [one for one in results if (one and one != NIL) or outcome != "done"]
        if row.policy == "settled":
            head = array_header(2) + tables.pack(outcome)
            results = [head + (tables.pack(reason) if outcome != "done" else one or NIL) for one in results]
        else:
            results = [one or NIL for one in results]
        yield tables.path_of(row.id, key), size, b"".join(results), len(results)


def _overlap(ranges: list[tuple[tuple[int, ...], int, bytes]]) -> bool:
    """Whether two ranges of members cover one path; they come in order of their first paths."""
    ends: dict[tuple[int, ...], int] = {}  # path without its last number -> where the last range ended
    for path, size, _ in ranges:
        *front, lo = path
        place = tuple(front)
        if ends.get(place, 0) > lo:
            return True
        ends[place] = lo + size
    return False


def array_header(count: int) -> bytes:
    """Returns the msgpack header of an array."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 1 << 16 else b"\xdd" + count.to_bytes(4, "big")


# Asking and cancelling.


def ended_spans(books: Books, step: Step, id: str, lo: int, hi: int) -> tuple[list[Ended], int]:
    """Returns how tasks of a batch have ended, as `outcomes.ended_spans`; a group is waited for as the task that it
    will become.
    """
    found, missing = outcomes.ended_spans(books, step, id, lo, hi)
    if missing or [one.outcome for one in found] != ["unknown"]:
        return found, missing
    row = groups.find(step, id)
    if row is None or (row.state == DONE and row.queue is not None):
        return found, missing
    if row.state == OPEN:
        return [], 1 if lo == 0 else 0
    if row.state != DONE:
        return [Ended(0, 1, groups.GROUP_OUTCOMES[row.state], row.reason, b"", b"")], 0
    payload = joined(step, row)
    return [Ended(0, 1, "done", "", *pack_payloads([payload if isinstance(payload, bytes) else NIL]))], 0


def cancel(books: Books, step: Step, id: str) -> int:
    """Cancels a task, a batch, or an open group with all of its members; returns how many had not ended, a group
    counting as one more.
    """
    row = groups.find(step, id)
    if row is None or row.state != OPEN:
        return cancelling.cancel_task(books, step, id)
    members = list(groups.roster(step, id))
    groups.end(books, step, row, CANCELLED, cancelling.REASON)
    count = 1
    for member, kind in members:
        if kind != IS_TASK:
            count += cancel(books, step, member)
        if kind != IS_GROUP:
            count += cancelling.cancel_task(books, step, member)
    return count


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
    books.count("notices")
