"""What a valid message is: one reader for each kind, which takes the decoded fields and returns the message or raises.

The readers of submit, settle and assign check in bulk and inline, because every task of a busy system passes through them; the others prefer to be short.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from math import inf, isfinite
from typing import Any, Final, TypeVar

from zq.wire import limits
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Accepted,
    Answer,
    Assign,
    Assignment,
    Batch,
    Beat,
    Cancel,
    Cancelled,
    Command,
    Done,
    Ended,
    Error,
    Extend,
    Failed,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Options,
    Outcome,
    Ping,
    Pong,
    Progress,
    Pull,
    Query,
    Receipt,
    Refused,
    Release,
    Settle,
    Settled,
    Span,
    Started,
    Submit,
    Tasks,
    Wait,
    Welcome,
)

T = TypeVar("T")

INT_MAX: Final = (1 << 63) - 1
ARRAY_MAX: Final = limits.HELD_MAX
MAP_MAX: Final = 100
"""Entries of a map: headers, arguments, and the rows of answers."""
STR_MAX: Final = limits.TEXT_CHARS_MAX * 4
"""Bytes of a text: characters take up to four."""

ON_LOST: Final = ("reassign", "cancel", "dead")
OUTCOMES: Final = ("done", "cancelled", "expired", "dead", "unknown")


class Malformed(Exception):
    """The fields are not those of their kind."""


class TooLarge(Exception):
    """A field is over a limit."""


# Single values.


def _fields(fields: list[Any] | tuple[Any, ...], count: int, what: str) -> None:
    if len(fields) != count:
        raise Malformed(f"expected {count} fields in {what}, got {len(fields)}")


def _array(value: Any, most: int, what: str) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise Malformed(f"expected an array of {what}, got {type(value).__name__}")
    if len(value) > most:
        raise TooLarge(f"expected at most {most} {what}, got {len(value)}")
    return value


def _int(value: Any, what: str, least: int = 0, most: int = INT_MAX) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"expected {what} from {least} to {most}, got {_short(value)}")
    return value


def _number(value: Any, what: str, most: float = limits.DELAY_MAX, least: float = 0.0) -> float:
    if type(value) not in (int, float) or not isfinite(value) or not least <= value <= most:
        raise Malformed(f"expected {what} as a number from {least:g} to {most:g}, got {_short(value)}")
    return float(value)


def _bool(value: Any, what: str) -> bool:
    if type(value) is not bool:
        raise Malformed(f"expected {what} as true or false, got {_short(value)}")
    return value


def _text(value: Any, what: str, most: int = limits.TEXT_CHARS_MAX) -> str:
    if type(value) is not str:
        raise Malformed(f"expected {what} as text, got {_short(value)}")
    if len(value) > most:
        raise TooLarge(f"expected {what} of at most {most} characters, got {len(value)}")
    return value


def _name(value: Any, what: str, most: int = limits.NAME_BYTES_MAX) -> str:
    """A name or id: not empty, no space, nothing invisible."""
    if type(value) is not str or not value:
        raise Malformed(f"expected {what} as text that is not empty, got {_short(value)}")
    if len(value) > most or (not value.isascii() and len(value.encode()) > most):
        raise TooLarge(f"expected {what} of at most {most} bytes, got {len(value.encode())}")
    if not value.isprintable() or " " in value:
        raise Malformed(f"expected {what} without spaces and control characters, got {_short(value)}")
    return value


def _id(value: Any, what: str) -> str:
    """The id of a batch."""
    id = _name(value, what, limits.ID_BYTES_MAX)
    if limits.TASK_SEPARATOR in id:
        raise Malformed(f"expected {what} without {limits.TASK_SEPARATOR}, got {_short(value)}")
    return id


def _bytes(value: Any, what: str) -> bytes:
    if type(value) is not bytes:
        raise Malformed(f"expected {what} as bytes, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | bool | None | str) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:60]}..."


# Batches.


def _offsets(ends: bytes) -> list[int]:
    offsets = array("I", ends)
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tolist()


def _check_ends(ends: Any, blob: Any, what: str) -> int:
    """Checks offsets against payloads and returns the number of tasks; no step of it is a loop in Python."""
    if type(ends) is not bytes or type(blob) is not bytes:
        raise Malformed(f"expected ends and blob of {what} as bytes")
    count, rest = divmod(len(ends), 4)
    if rest or not count:
        raise Malformed(f"expected 4 bytes in ends for each task of {what}, got {len(ends)} bytes")
    if count == 1:
        if int.from_bytes(ends, "little") != len(blob):
            raise Malformed(f"expected the end of {what} at {len(blob)}, got {int.from_bytes(ends, 'little')}")
    elif count > limits.BATCH_TASKS_MAX:
        raise TooLarge(f"expected at most {limits.BATCH_TASKS_MAX} tasks in {what}, got {count}")
    else:
        offsets = _offsets(ends)
        if offsets[-1] != len(blob) or sorted(offsets) != offsets:
            raise Malformed(f"expected ends of {what} that never fall and close with {len(blob)}")
    return count


def _batch(value: Any) -> Batch:
    if type(value) is not tuple or len(value) != 5:
        raise Malformed("expected a batch as [id, queue, options, ends, blob]")
    id, queue, options, ends, blob = value
    count = _check_ends(ends, blob, "the batch")
    most = limits.PAYLOAD_BYTES_CEILING if count == 1 else limits.BATCH_BYTES_MAX
    if len(blob) > most:
        raise TooLarge(f"expected at most {most} bytes in a batch of {count}, got {len(blob)}")
    read = DEFAULT_OPTIONS if options is None else _options(options)
    return Batch(_id(id, "batch id"), _name(queue, "queue"), read, ends, blob)


def _options(value: Any) -> Options:
    if type(value) is not dict:
        raise Malformed(f"expected options as a map or nil, got {_short(value)}")
    read: dict[str, Any] = {}
    for name, one in value.items():
        reader = _OPTION_READERS.get(name)
        if reader is None:
            raise Malformed(f"unknown option {_short(name)}; expected one of {', '.join(_OPTION_READERS)}")
        read[name] = reader(one)
    return Options(**read)


def _on_lost(value: Any) -> str:
    if value not in ON_LOST:
        raise Malformed(f"expected on_lost as one of {', '.join(ON_LOST)}, got {_short(value)}")
    return str(value)


def _backoff(value: Any) -> tuple[float, float, float]:
    if type(value) is not tuple or len(value) != 3:
        raise Malformed("expected backoff as [first, factor, largest]")
    return (
        _number(value[0], "backoff first"),
        _number(value[1], "backoff factor", 1000.0),
        _number(value[2], "largest backoff"),
    )


def _headers(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Malformed(f"expected headers as a map, got {_short(value)}")
    if len(value) > limits.HEADERS_MAX:
        raise TooLarge(f"expected at most {limits.HEADERS_MAX} headers, got {len(value)}")
    return {_text(name, "header name", 128): _text(text, "header", 4096) for name, text in value.items()}


_OPTION_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "priority": lambda value: _int(value, "priority", 0, 9),
    "delay": lambda value: _number(value, "delay"),
    "on_lost": _on_lost,
    "key": lambda value: _text(value, "key", limits.NAME_BYTES_MAX),
    "max_attempts": lambda value: _int(value, "max_attempts", 1, 1000),
    "backoff": _backoff,
    "timeout": lambda value: _number(value, "timeout", least=0.001),
    "headers": _headers,
}


# Parts of messages.


def _index(value: Any) -> int:
    return _int(value, "an index", 0, limits.BATCH_TASKS_MAX - 1)


def _check_range(lo: Any, hi: Any, what: str) -> None:
    if type(lo) is not int or type(hi) is not int or not 0 <= lo < hi <= limits.BATCH_TASKS_MAX:
        raise Malformed(
            f"expected {what} with 0 <= lo < hi <= {limits.BATCH_TASKS_MAX}, got {_short(lo)}, {_short(hi)}"
        )


def _span(value: Any) -> Span:
    if type(value) is not tuple or len(value) != 3:
        raise Malformed("expected a span as [token, lo, hi]")
    _check_range(value[1], value[2], "a span")
    return Span(_int(value[0], "token"), value[1], value[2])


def _held(value: Any) -> Held:
    if type(value) is not tuple or len(value) != 2:
        raise Malformed("expected a held lease as [token, started]")
    token, started = value
    if type(token) is not int or not 0 <= token <= INT_MAX:
        raise Malformed(f"expected token as a number, got {_short(token)}")
    if started == ():
        return Held(token, ())
    return Held(token, tuple(_index(index) for index in _array(started, limits.BATCH_TASKS_MAX, "indexes")))


def _helds(value: Any) -> tuple[Held, ...]:
    return tuple(map(_held, _array(value, limits.HELD_MAX, "leases")))


def _check_results(ends: Any, blob: Any, count: int) -> None:
    if ends == b"" and blob == b"":
        return
    if _check_ends(ends, blob, "the results") != count:
        raise Malformed(f"expected {count} results, got {len(ends) >> 2}")


def _done(value: Any) -> Done:
    if type(value) is not tuple or len(value) != 7:
        raise Malformed("expected done as [token, id, lo, hi, ends, blob, forwards]")
    token, id, lo, hi, ends, blob, forwards = value
    _check_range(lo, hi, "done")
    _check_results(ends, blob, hi - lo)
    if forwards != ():
        forwards = tuple(map(_batch, _array(forwards, limits.MESSAGE_BATCHES_MAX, "forwards")))
    return Done(_int(token, "token"), _id(id, "batch id"), lo, hi, ends, blob, forwards)


def _failed(value: Any) -> Failed:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected failed as [token, id, index, error, retry_in, is_final]")
    token, id, index, error, retry_in, is_final = value
    return Failed(
        _int(token, "token"),
        _id(id, "batch id"),
        _index(index),
        _text(error, "error"),
        None if retry_in is None else _number(retry_in, "retry_in"),
        _bool(is_final, "is_final"),
    )


def _credit(value: Any) -> int:
    return _int(value, "credit", 0, limits.CREDIT_MAX)


def _arguments(value: Any) -> dict[str, Any]:
    if type(value) is not dict or not all(type(name) is str for name in value):
        raise Malformed("expected arguments as a map with text keys")
    for name, one in value.items():
        parts = one if type(one) is tuple else (one,)
        if not all(part is None or type(part) in (bool, int, float, str) for part in parts):
            raise Malformed(f"expected argument {_short(name)} as text, number, truth, nil or a list of those")
    return value


def _many(reader: Callable[[Any], T], value: Any, what: str) -> tuple[T, ...]:
    return tuple(map(reader, _array(value, limits.MESSAGE_BATCHES_MAX, what)))


# Messages to the coordinator.


def _submit(fields: list[Any]) -> Submit:
    _fields(fields, 2, "submit")
    batches = _many(_batch, fields[1], "batches")
    if not batches:
        raise Malformed("expected at least one batch in submit")
    return Submit(_int(fields[0], "request"), batches)


def _pull(fields: list[Any]) -> Pull:
    _fields(fields, 6, "pull")
    request, client, queue, max_tasks, wait, lease = fields
    return Pull(
        _int(request, "request"),
        _name(client, "client"),
        _name(queue, "queue"),
        _int(max_tasks, "max_tasks", 1, limits.BATCH_TASKS_MAX),
        _number(wait, "wait", limits.WAIT_MAX),
        _number(lease, "lease", limits.LEASE_MAX, 0.001),
    )


def _wait(fields: list[Any]) -> Wait:
    _fields(fields, 4, "wait")
    _check_range(fields[2], fields[3], "wait")
    return Wait(_int(fields[0], "request"), _id(fields[1], "batch id"), fields[2], fields[3])


def _cancel(fields: list[Any]) -> Cancel:
    _fields(fields, 2, "cancel")
    return Cancel(_int(fields[0], "request"), _name(fields[1], "id", limits.ID_BYTES_MAX + 5))


def _query(fields: list[Any]) -> Query:
    _fields(fields, 3, "query")
    return Query(_int(fields[0], "request"), _name(fields[1], "what"), _arguments(fields[2]))


def _command(fields: list[Any]) -> Command:
    _fields(fields, 3, "command")
    return Command(_int(fields[0], "request"), _name(fields[1], "verb"), _arguments(fields[2]))


def _ping(fields: list[Any]) -> Ping:
    _fields(fields, 1, "ping")
    return Ping(_int(fields[0], "request"))


def _extend(fields: list[Any]) -> Extend:
    _fields(fields, 3, "extend")
    lease = _number(fields[2], "lease", limits.LEASE_MAX, 0.001)
    return Extend(_int(fields[0], "request"), _int(fields[1], "token"), lease)


def _hello(fields: list[Any]) -> Hello:
    _fields(fields, 6, "hello")
    name, incarnation, queues, credit, concurrency, held = fields
    names = tuple(_name(queue, "queue") for queue in _array(queues, limits.MESSAGE_BATCHES_MAX, "queues"))
    if not names:
        raise Malformed("expected at least one queue in hello")
    return Hello(
        _name(name, "name"),
        _name(incarnation, "incarnation"),
        names,
        _credit(credit),
        _int(concurrency, "concurrency", 1, limits.CREDIT_MAX),
        _helds(held),
    )


def _heartbeat(fields: list[Any]) -> Heartbeat:
    _fields(fields, 2, "heartbeat")
    return Heartbeat(_int(fields[0], "number"), _helds(fields[1]))


def _settle(fields: list[Any]) -> Settle:
    _fields(fields, 4, "settle")
    number, credit, done, failed = fields
    return Settle(
        _int(number, "number"),
        None if credit is None else _credit(credit),
        _many(_done, done, "completions"),
        _many(_failed, failed, "failures"),
    )


def _release(fields: list[Any]) -> Release:
    _fields(fields, 3, "release")
    credit = None if fields[1] is None else _credit(fields[1])
    return Release(_int(fields[0], "number"), credit, _many(_span, fields[2], "spans"))


def _started(fields: list[Any]) -> Started:
    _fields(fields, 1, "started")
    return Started(_helds(fields[0]))


def _progress(fields: list[Any]) -> Progress:
    _fields(fields, 3, "progress")
    return Progress(_int(fields[0], "token"), _index(fields[1]), _number(fields[2], "fraction", 1.0))


def _goodbye(fields: list[Any]) -> Goodbye:
    _fields(fields, 2, "goodbye")
    return Goodbye(_name(fields[0], "name"), _name(fields[1], "incarnation"))


# Messages from the coordinator.


def _receipt(fields: list[Any]) -> Receipt:
    _fields(fields, 3, "receipt")
    return Receipt(
        _int(fields[0], "request"),
        _many(_accepted, fields[1], "receipts"),
        _many(_refused, fields[2], "refusals"),
    )


def _accepted(value: Any) -> Accepted:
    if type(value) is not tuple or len(value) != 3:
        raise Malformed("expected a receipt as [id, position, eta]")
    id, position, eta = value
    return Accepted(_id(id, "batch id"), _int(position, "position"), None if eta is None else _number(eta, "eta", inf))


def _refused(value: Any) -> Refused:
    if type(value) is not tuple or len(value) != 4:
        raise Malformed("expected a refusal as [id, code, retry_after, reason]")
    id, code, retry_after, reason = value
    after = None if retry_after is None else _number(retry_after, "retry_after")
    return Refused(_text(id, "batch id"), _name(code, "code"), after, _text(reason, "reason"))


def _assignment(value: Any) -> Assignment:
    if type(value) is not tuple or len(value) != 9:
        raise Malformed("expected an assignment as [token, id, size, queue, options, attempt, lo, ends, blob]")
    token, id, size, queue, options, attempt, lo, ends, blob = value
    count = _check_ends(ends, blob, "the assignment")
    _int(size, "size", 1, limits.BATCH_TASKS_MAX)
    _check_range(lo, lo + count if type(lo) is int else None, "an assignment")
    read = DEFAULT_OPTIONS if options is None else _options(options)
    return Assignment(
        _int(token, "token"),
        _id(id, "batch id"),
        size,
        _name(queue, "queue"),
        read,
        _int(attempt, "attempt", 1),
        lo,
        ends,
        blob,
    )


def _tasks(fields: list[Any]) -> Tasks:
    _fields(fields, 2, "tasks")
    return Tasks(_int(fields[0], "request"), _many(_assignment, fields[1], "assignments"))


def _ended(value: Any) -> Ended:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected ended as [lo, hi, outcome, reason, ends, blob]")
    lo, hi, outcome, reason, ends, blob = value
    _check_range(lo, hi, "ended")
    if outcome not in OUTCOMES:
        raise Malformed(f"expected outcome as one of {', '.join(OUTCOMES)}, got {_short(outcome)}")
    _check_results(ends, blob, hi - lo)
    return Ended(lo, hi, outcome, _text(reason, "reason"), ends, blob)


def _outcome(fields: list[Any]) -> Outcome:
    _fields(fields, 3, "outcome")
    ended = tuple(map(_ended, _array(fields[1], limits.HELD_MAX, "ended")))
    return Outcome(_int(fields[0], "request"), ended, _bool(fields[2], "is_last"))


def _answer(fields: list[Any]) -> Answer:
    _fields(fields, 2, "answer")
    return Answer(_int(fields[0], "request"), _lists(fields[1]))


def _lists(value: Any) -> Any:
    """Returns the value of an answer with lists where msgpack gave tuples: people compare and print it."""
    if type(value) is tuple:
        return [_lists(one) for one in value]
    if type(value) is dict:
        return {name: _lists(one) for name, one in value.items()}
    return value


def _pong(fields: list[Any]) -> Pong:
    _fields(fields, 2, "pong")
    return Pong(_int(fields[0], "request"), _int(fields[1], "epoch"))


def _tokens(value: Any) -> tuple[int, ...]:
    return tuple(_int(token, "token") for token in _array(value, limits.HELD_MAX, "tokens"))


def _welcome(fields: list[Any]) -> Welcome:
    _fields(fields, 5, "welcome")
    epoch, interval, suspect_after, gone_after, refused = fields
    return Welcome(
        _int(epoch, "epoch"),
        _number(interval, "heartbeat_interval", least=0.001),
        _number(suspect_after, "suspect_after"),
        _number(gone_after, "gone_after"),
        _tokens(refused),
    )


def _beat(fields: list[Any]) -> Beat:
    _fields(fields, 3, "beat")
    return Beat(_int(fields[0], "number"), _int(fields[1], "epoch"), _tokens(fields[2]))


def _assign(fields: list[Any]) -> Assign:
    _fields(fields, 1, "assign")
    return Assign(_many(_assignment, fields[0], "assignments"))


def _settled(fields: list[Any]) -> Settled:
    _fields(fields, 2, "settled")
    return Settled(_int(fields[0], "number"), tuple(map(_span, _array(fields[1], limits.HELD_MAX, "spans"))))


def _cancelled(fields: list[Any]) -> Cancelled:
    _fields(fields, 1, "cancelled")
    return Cancelled(tuple(map(_span, _array(fields[0], limits.HELD_MAX, "spans"))))


def _error(fields: list[Any]) -> Error:
    _fields(fields, 3, "error")
    request = None if fields[0] is None else _int(fields[0], "request")
    return Error(request, _name(fields[1], "code"), _text(fields[2], "text"))


FOR_COORDINATOR: Final[dict[int, Callable[[list[Any]], Any]]] = {
    1: _submit,
    2: _pull,
    3: _wait,
    4: _cancel,
    5: _query,
    6: _command,
    7: _ping,
    8: _extend,
    20: _hello,
    21: _heartbeat,
    22: _settle,
    23: _release,
    24: _started,
    25: _progress,
    26: _goodbye,
}

FROM_COORDINATOR: Final[dict[int, Callable[[list[Any]], Any]]] = {
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
}
