"""Reads the messages of a coordinator: one reader for each kind, as in `zq.wire.requests`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from zq.wire import limits
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Accepted,
    Answer,
    Assign,
    Assignment,
    Beat,
    Cancelled,
    Ended,
    Error,
    Event,
    Events,
    Outcome,
    Pong,
    Published,
    Receipt,
    Refused,
    Settled,
    Stored,
    Tasks,
    Welcome,
)
from zq.wire.options import read_options
from zq.wire.values import (
    Malformed,
    TooLarge,
    check_ends,
    check_range,
    check_results,
    expect_fields,
    read_array,
    read_bool,
    read_id,
    read_index,
    read_int,
    read_many,
    read_name,
    read_number,
    read_span,
    read_text,
    short,
)

OUTCOMES: Final = ("done", "cancelled", "expired", "dead", "duplicate", "unknown")

_NESTING: Final = frozenset((tuple, dict))


def _receipt(fields: list[Any]) -> Receipt:
    expect_fields(fields, 3, "receipt")
    return Receipt(
        read_int(fields[0], "request"),
        read_many(_accepted, fields[1], "receipts"),
        read_many(_refused, fields[2], "refusals"),
    )


def _accepted(value: Any) -> Accepted:
    if type(value) is not tuple or len(value) != 4:
        raise Malformed("expected a receipt as [id, position, eta, duplicate_of]")
    id, position, eta, duplicate_of = value
    return Accepted(
        read_id(id, "batch id"),
        read_int(position, "position"),
        None if eta is None else read_number(eta, "eta", inf),
        None if duplicate_of is None else read_id(duplicate_of, "duplicate_of"),
    )


def _refused(value: Any) -> Refused:
    if type(value) is not tuple or len(value) != 4:
        raise Malformed("expected a refusal as [id, code, retry_after, reason]")
    id, code, retry_after, reason = value
    after = None if retry_after is None else read_number(retry_after, "retry_after")
    return Refused(read_text(id, "batch id"), read_name(code, "code"), after, read_text(reason, "reason"))


def _assignment(value: Any) -> Assignment:
    if type(value) is not tuple or len(value) != 9:
        raise Malformed("expected an assignment as [token, id, size, queue, options, attempt, lo, ends, blob]")
    token, id, size, queue, options, attempt, lo, ends, blob = value
    count = check_ends(ends, blob, "the assignment")
    read_int(size, "size", 1, limits.BATCH_TASKS_MAX)
    check_range(lo, lo + count if type(lo) is int else None, "an assignment")
    read = DEFAULT_OPTIONS if options is None else read_options(options)
    return Assignment(
        read_int(token, "token"),
        read_id(id, "batch id"),
        size,
        read_name(queue, "queue"),
        read,
        read_int(attempt, "attempt", 1),
        lo,
        ends,
        blob,
    )


def _tasks(fields: list[Any]) -> Tasks:
    expect_fields(fields, 2, "tasks")
    return Tasks(read_int(fields[0], "request"), read_many(_assignment, fields[1], "assignments"))


def _ended(value: Any) -> Ended:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected ended as [lo, hi, outcome, reason, ends, blob]")
    lo, hi, outcome, reason, ends, blob = value
    check_range(lo, hi, "ended")
    if outcome not in OUTCOMES:
        raise Malformed(f"expected outcome as one of {', '.join(OUTCOMES)}, got {short(outcome)}")
    check_results(ends, blob, hi - lo)
    return Ended(lo, hi, outcome, read_text(reason, "reason"), ends, blob)


def _outcome(fields: list[Any]) -> Outcome:
    if len(fields) != 4:
        expect_fields(fields, 3, "outcome")
    ended = tuple(map(_ended, read_array(fields[1], limits.HELD_MAX, "ended")))
    progress = tuple(map(_reported, read_array(fields[3], limits.HELD_MAX, "reports"))) if len(fields) == 4 else ()
    return Outcome(read_int(fields[0], "request"), ended, read_bool(fields[2], "is_last"), progress)


def _reported(value: Any) -> tuple[int, float]:
    if type(value) is not tuple or len(value) != 2:
        raise Malformed("expected a report of progress as [index, fraction]")
    return read_index(value[0]), read_number(value[1], "fraction", 1.0)


def _answer(fields: list[Any]) -> Answer:
    expect_fields(fields, 2, "answer")
    value = fields[1]
    return Answer(read_int(fields[0], "request"), _lists(value, 2) if type(value) in _NESTING else value)


def _lists(value: Any, level: int) -> Any:
    """Returns the value of an answer with lists where msgpack gave tuples: people compare and print it.

    This is the only field of all messages that may be anything, and so the only one that could nest too deeply.

    Args:
        value: a tuple or map.
        level: of it; the message is the first.
    """
    if level > limits.DEPTH_MAX:
        raise TooLarge(f"expected at most {limits.DEPTH_MAX} levels of nesting in a message, got more")
    inner = level + 1
    if type(value) is tuple:
        return [_lists(one, inner) if type(one) in _NESTING else one for one in value]
    return {name: _lists(one, inner) if type(one) in _NESTING else one for name, one in value.items()}


def _pong(fields: list[Any]) -> Pong:
    expect_fields(fields, 2, "pong")
    return Pong(read_int(fields[0], "request"), read_int(fields[1], "epoch"))


def _tokens(value: Any) -> tuple[int, ...]:
    return tuple(read_int(token, "token") for token in read_array(value, limits.HELD_MAX, "tokens"))


def _welcome(fields: list[Any]) -> Welcome:
    expect_fields(fields, 5, "welcome")
    epoch, interval, suspect_after, gone_after, refused = fields
    return Welcome(
        read_int(epoch, "epoch"),
        read_number(interval, "heartbeat_interval", least=0.001),
        read_number(suspect_after, "suspect_after"),
        read_number(gone_after, "gone_after"),
        _tokens(refused),
    )


def _beat(fields: list[Any]) -> Beat:
    expect_fields(fields, 3, "beat")
    return Beat(read_int(fields[0], "number"), read_int(fields[1], "epoch"), _tokens(fields[2]))


def _assign(fields: list[Any]) -> Assign:
    expect_fields(fields, 1, "assign")
    return Assign(read_many(_assignment, fields[0], "assignments"))


def _settled(fields: list[Any]) -> Settled:
    expect_fields(fields, 2, "settled")
    return Settled(
        read_int(fields[0], "number"), tuple(map(read_span, read_array(fields[1], limits.HELD_MAX, "spans")))
    )


def _cancelled(fields: list[Any]) -> Cancelled:
    expect_fields(fields, 1, "cancelled")
    return Cancelled(tuple(map(read_span, read_array(fields[0], limits.HELD_MAX, "spans"))))


def _error(fields: list[Any]) -> Error:
    expect_fields(fields, 3, "error")
    request = None if fields[0] is None else read_int(fields[0], "request")
    return Error(request, read_name(fields[1], "code"), read_text(fields[2], "text"))


def _published(fields: list[Any]) -> Published:
    expect_fields(fields, 3, "published")
    request, stored, refused = fields
    return Published(
        read_int(request, "request"),
        read_many(_stored, stored, "receipts"),
        None if refused is None else _refused(refused),
    )


def _stored(value: Any) -> Stored:
    if type(value) is not tuple or len(value) != 4:
        raise Malformed("expected a receipt as [queue, id, position, eta]")
    return Stored(read_name(value[0], "queue"), *_accepted((*value[1:], None))[:3])


def _events(fields: list[Any]) -> Events:
    expect_fields(fields, 6, "events")
    request, number, time, dropped, is_first, events = fields
    return Events(
        read_int(request, "request"),
        read_int(number, "number"),
        read_number(time, "time", inf, -inf),
        read_int(dropped, "dropped"),
        read_bool(is_first, "is_first"),
        read_many(_event, events, "events"),
    )


def _event(value: Any) -> Event:
    if type(value) is not tuple or len(value) != 8:
        raise Malformed("expected an event as [kind, queue, id, lo, hi, worker, token, text]")
    kind, queue, id, lo, hi, worker, token, text = value
    return Event(
        read_name(kind, "kind"),
        None if queue is None else read_name(queue, "queue"),
        read_text(id, "id"),
        read_int(lo, "lo"),
        read_int(hi, "hi"),
        None if worker is None else read_text(worker, "worker"),
        None if token is None else read_int(token, "token"),
        read_text(text, "text"),
    )


READERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    40: _receipt,
    41: _tasks,
    42: _outcome,
    43: _answer,
    44: _pong,
    45: _welcome,
    46: _beat,
    47: _assign,
    48: _settled,
    49: _cancelled,
    50: _error,
    51: _published,
    52: _events,
}
