"""Reads the messages of a coordinator: one reader for each kind, as in `zq.wire.requests`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from zq.errors import short
from zq.wire import limits, messages, steering
from zq.wire.messages import DEFAULT_OPTIONS, Accepted, Assignment, Ended, Receipt, Refused, Settled
from zq.wire.options import read_options
from zq.wire.steering import STEER_ACTIONS, WORKER_SIZE_MAX, NextTry, SteerAction, is_steer_action
from zq.wire.values import (
    BATCH_ID,
    FRACTION,
    INT_MAX,
    NUMBER,
    REQUEST,
    TOKEN,
    Malformed,
    TooLarge,
    check_ends,
    check_range,
    check_results,
    expect_fields,
    field,
    is_usual_id,
    is_usual_name,
    many,
    message,
    optional,
    part,
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
)

OUTCOMES: Final = ("done", "cancelled", "expired", "dead", "duplicate", "unknown")

_NESTING: Final = frozenset((tuple, dict))

_new: Final[Callable[..., Any]] = tuple.__new__
"""Makes a named tuple three times as fast as its own constructor, once a batch."""


# Parts of messages.


def _accepted(value: Any) -> Accepted:
    if type(value) is not tuple or len(value) != 4:
        raise Malformed("expected a receipt as [id, position, eta, duplicate_of]")
    id, position, eta, duplicate_of = value
    if type(id) is not str or not is_usual_id(id):
        read_id(id, "batch id")
    if type(position) is not int or not 0 <= position <= INT_MAX:
        read_int(position, "position")
    if eta is not None:
        eta = read_number(eta, "eta", inf)
    if duplicate_of is not None:
        read_id(duplicate_of, "duplicate_of")
    accepted: Accepted = _new(Accepted, (id, position, eta, duplicate_of))
    return accepted


def _assignment(value: Any) -> Assignment:
    if type(value) is not tuple or len(value) != 9:
        raise Malformed("expected an assignment as [token, id, size, queue, options, attempt, lo, ends, blob]")
    token, id, size, queue, options, attempt, lo, ends, blob = value
    count = check_ends(ends, blob, "the assignment")
    if type(size) is not int or not 1 <= size <= limits.BATCH_TASKS_MAX:
        read_int(size, "size", 1, limits.BATCH_TASKS_MAX)
    if type(lo) is not int or not 0 <= lo <= limits.BATCH_TASKS_MAX - count:
        check_range(lo, lo + count if type(lo) is int else None, "an assignment")
    read = DEFAULT_OPTIONS if options is None else read_options(options)
    if type(id) is not str or not is_usual_id(id):
        read_id(id, "batch id")
    if type(queue) is not str or not is_usual_name(queue):
        read_name(queue, "queue")
    if type(token) is not int or not 0 <= token <= INT_MAX:
        read_int(token, "token")
    if type(attempt) is not int or not 1 <= attempt <= INT_MAX:
        read_int(attempt, "attempt", 1)
    assignment: Assignment = _new(Assignment, (token, id, size, queue, read, attempt, lo, ends, blob))
    return assignment


def _ended(value: Any) -> Ended:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected ended as [lo, hi, outcome, reason, ends, blob]")
    lo, hi, outcome, reason, ends, blob = value
    check_range(lo, hi, "ended")
    if outcome not in OUTCOMES:
        raise Malformed(f"expected outcome as one of {', '.join(OUTCOMES)}, got {short(outcome)}")
    check_results(ends, blob, hi - lo)
    return Ended(lo, hi, outcome, read_text(reason, "reason"), ends, blob)


def _reported(value: Any) -> tuple[int, float]:
    if type(value) is not tuple or len(value) != 2:
        raise Malformed("expected a report of progress as [index, fraction]")
    return read_index(value[0]), FRACTION(value[1])


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


_TOKENS: Final = many(TOKEN, "tokens", limits.HELD_MAX)
_SPANS: Final = many(read_span, "spans", limits.HELD_MAX)
_NEXT_TRIES: Final = many(
    part(
        NextTry, "a next try", TOKEN, read_index, field(read_int, "attempts_max"), optional(field(read_number, "delay"))
    ),
    "next tries",
)
_POSITION: Final = field(read_int, "position")
_ETA: Final = optional(field(read_number, "eta", inf))
_CODE: Final = field(read_name, "code")
_QUEUE: Final = field(read_name, "queue")  # as it is called: not judged as a new one would be

_refused = part(
    Refused,
    "a refusal",
    field(read_text, "batch id"),
    _CODE,
    optional(field(read_number, "retry_after")),
    field(read_text, "reason"),
)
_stored = part(messages.Stored, "a receipt", _QUEUE, BATCH_ID, _POSITION, _ETA)
_event = part(
    messages.Event,
    "an event",
    field(read_name, "kind"),
    optional(_QUEUE),
    field(read_text, "id"),
    field(read_int, "lo"),
    field(read_int, "hi"),
    optional(field(read_text, "worker")),
    optional(TOKEN),
    field(read_text, "text"),
)


# The messages.


def read_receipt(fields: list[Any]) -> Receipt:
    expect_fields(fields, 3, "receipt")
    return Receipt(
        read_int(fields[0], "request"),
        read_many(_accepted, fields[1], "receipts"),
        read_many(_refused, fields[2], "refusals"),
    )


def read_outcome(fields: list[Any]) -> messages.Outcome:
    if len(fields) != 4:
        expect_fields(fields, 3, "outcome")
    ended = tuple(map(_ended, read_array(fields[1], limits.HELD_MAX, "ended")))
    progress = tuple(map(_reported, read_array(fields[3], limits.HELD_MAX, "reports"))) if len(fields) == 4 else ()
    return messages.Outcome(read_int(fields[0], "request"), ended, read_bool(fields[2], "is_last"), progress)


def read_answer(fields: list[Any]) -> messages.Answer:
    expect_fields(fields, 2, "answer")
    value = fields[1]
    return messages.Answer(read_int(fields[0], "request"), _lists(value, 2) if type(value) in _NESTING else value)


def read_assign(fields: list[Any]) -> messages.Assign:
    expect_fields(fields, 1, "assign")
    assign: messages.Assign = _new(
        messages.Assign, (tuple(map(_assignment, read_array(fields[0], limits.MESSAGE_BATCHES_MAX, "assignments"))),)
    )
    return assign


def read_settled(fields: list[Any]) -> Settled:
    if len(fields) != 3:
        expect_fields(fields, 2, "settled")
    return Settled(
        read_int(fields[0], "number"),
        tuple(map(read_span, read_array(fields[1], limits.HELD_MAX, "spans"))),
        _NEXT_TRIES(fields[2]) if len(fields) == 3 else (),
    )


_ASSIGNMENTS: Final = many(_assignment, "assignments")

read_tasks = message(messages.Tasks, REQUEST, _ASSIGNMENTS)
read_pong = message(messages.Pong, REQUEST, field(read_int, "epoch"))
read_welcome = message(
    messages.Welcome,
    field(read_int, "epoch"),
    field(read_number, "heartbeat_interval", limits.DELAY_MAX, 0.001),
    field(read_number, "suspect_after"),
    field(read_number, "gone_after"),
    _TOKENS,
)
_read_plain_beat = message(messages.Beat, NUMBER, field(read_int, "epoch"), _TOKENS)
read_cancelled = message(messages.Cancelled, _SPANS)
_read_plain_error = message(messages.Error, optional(REQUEST), _CODE, field(read_text, "text"))


_IDLE_INTERVAL: Final = field(read_number, "idle_interval", limits.DELAY_MAX, 0.001)


def read_beat(fields: list[Any]) -> messages.Beat:
    if len(fields) != 4:
        return _read_plain_beat(fields)
    return _read_plain_beat(fields[:3])._replace(idle_interval=_IDLE_INTERVAL(fields[3]))


def read_error(fields: list[Any]) -> messages.Error:
    if len(fields) != 4:
        return _read_plain_error(fields)
    return _read_plain_error(fields[:3])._replace(patience=read_number(fields[3], "patience"))


def _action(value: Any) -> SteerAction:
    if not is_steer_action(value):
        raise Malformed(f"expected an action of {', '.join(STEER_ACTIONS)}, got {short(value)}")
    return value


read_steer = message(steering.Steer, _action, optional(field(read_int, "size", 1, WORKER_SIZE_MAX)))
read_published = message(messages.Published, REQUEST, many(_stored, "receipts"), optional(_refused))
read_events = message(
    messages.Events,
    REQUEST,
    NUMBER,
    field(read_number, "time", inf, -inf),
    field(read_int, "dropped"),
    field(read_bool, "is_first"),
    many(_event, "events"),
)
