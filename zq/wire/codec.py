"""The border between bytes and messages: `encode`, and two `decode` functions that let only valid messages through.

A frame is a msgpack array [version, kind, field, ...]. Decoding checks everything that docs/protocol.md says, in time
and memory bounded by the frame's own size, and raises `RemoteProtocolError` for anything else, whatever the bytes. The
core behind it needs no checks of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack

from zq.errors import RemoteProtocolError
from zq.wire import answers, requests
from zq.wire.limits import FRAME_BYTES_MAX, HELD_MAX, TEXT_CHARS_MAX, VERSION
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Assign,
    Assignment,
    Batch,
    Beat,
    Cancel,
    Cancelled,
    Command,
    Done,
    Error,
    Events,
    Extend,
    Follow,
    FromCoordinator,
    Goodbye,
    Group,
    Heartbeat,
    Hello,
    Message,
    Open,
    Options,
    Outcome,
    Ping,
    Pong,
    Progress,
    Publish,
    Published,
    Pull,
    Query,
    Receipt,
    Release,
    Schedule,
    Settle,
    Settled,
    Started,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
    Welcome,
)
from zq.wire.packing import pack
from zq.wire.values import Malformed, TooLarge

MAP_MAX: Final = 100
"""Entries of a map: headers, arguments, and the rows of answers."""

STR_MAX: Final = TEXT_CHARS_MAX * 4
"""Bytes of a text: characters take up to four."""

KINDS: Final[dict[type[Any], int]] = {
    Submit: 1,
    Pull: 2,
    Wait: 3,
    Cancel: 4,
    Query: 5,
    Command: 6,
    Ping: 7,
    Extend: 8,
    Open: 9,
    Publish: 10,
    Schedule: 11,
    Follow: 12,
    Hello: 20,
    Heartbeat: 21,
    Settle: 22,
    Release: 23,
    Started: 24,
    Progress: 25,
    Goodbye: 26,
    Receipt: 40,
    Tasks: 41,
    Outcome: 42,
    Answer: 43,
    Pong: 44,
    Welcome: 45,
    Beat: 46,
    Assign: 47,
    Settled: 48,
    Cancelled: 49,
    Error: 50,
    Published: 51,
    Events: 52,
}

_OPTION_DEFAULTS: Final = DEFAULT_OPTIONS._asdict()


# Encoding.


def encode(message: Message) -> bytes:
    """Returns the frame of a message."""
    kind = KINDS[type(message)]
    fields: tuple[Any, ...] = message
    match message:
        case Submit(request, batches):
            fields = (request, [_plain_batch(batch) for batch in batches])
        case Settle(number, credit, done, failed, is_whole):
            fields = (number, credit, [_plain_done(one) for one in done], failed, *((True,) if is_whole else ()))
        case Open(request, group):
            fields = (request, _plain_group(group))
        case Publish(request, id, topic, options):
            fields = (request, id, topic, options_map(options), *message[4:])
        case Schedule(request, batch):
            fields = (request, _plain_batch(batch), *message[2:])
        case Assign(assignments):
            fields = ([_plain_assignment(one) for one in assignments],)
        case Tasks(request, assignments):
            fields = (request, [_plain_assignment(one) for one in assignments])
        case Outcome(progress=()):
            fields = message[:3]
        case _:
            pass
    return pack((VERSION, kind, *fields))


def options_map(options: Options) -> dict[str, Any] | None:
    """Returns how options travel: only what is not the default, None when all is."""
    if options is DEFAULT_OPTIONS or options == DEFAULT_OPTIONS:
        return None
    return {
        name: value for name, value in zip(Options._fields, options, strict=True) if value != _OPTION_DEFAULTS[name]
    }


def _plain_batch(batch: Batch) -> tuple[Any, ...]:
    id, queue, options, ends, blob = batch
    return (id, queue, None if options is DEFAULT_OPTIONS else options_map(options), ends, blob)


def _plain_done(done: Done) -> tuple[Any, ...]:
    if done.groups:
        groups = [_plain_group(group) for group in done.groups]
        return (*done[:6], [_plain_batch(batch) for batch in done.forwards], groups)
    if done.forwards:
        return (*done[:6], [_plain_batch(batch) for batch in done.forwards])
    return done[:7]


def _plain_group(group: Group) -> tuple[Any, ...]:
    return (*group[:5], options_map(group.options))


def _plain_assignment(one: Assignment) -> tuple[Any, ...]:
    token, id, size, queue, options, attempt, lo, ends, blob = one
    plain = None if options is DEFAULT_OPTIONS else options_map(options)
    return (token, id, size, queue, plain, attempt, lo, ends, blob)


# Decoding.


def decode_for_coordinator(frame: bytes) -> ToCoordinator:
    """Reads a message that a client or worker sent.

    Raises:
        RemoteProtocolError: with the code of protocol 5, and the number of the request if it could be read.
    """
    return _decode(frame, requests.READERS)  # type: ignore[no-any-return]


def decode_from_coordinator(frame: bytes) -> FromCoordinator:
    """Reads a message that a coordinator sent; raises as `decode_for_coordinator`."""
    return _decode(frame, answers.READERS)  # type: ignore[no-any-return]


def _decode(frame: bytes, readers: dict[int, Callable[[list[Any]], Any]]) -> Any:
    if len(frame) > FRAME_BYTES_MAX:
        raise RemoteProtocolError("too-large", f"expected at most {FRAME_BYTES_MAX} bytes, got {len(frame)}")
    try:
        parts = msgpack.unpackb(
            frame,
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_array_len=HELD_MAX,
            max_map_len=MAP_MAX,
            max_str_len=STR_MAX,
            max_bin_len=FRAME_BYTES_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise RemoteProtocolError("malformed", f"expected a msgpack array within limits: {str(error)[:200]}") from None
    if not isinstance(parts, tuple) or len(parts) < 2 or type(parts[0]) is not int or type(parts[1]) is not int:
        raise RemoteProtocolError("malformed", "expected an array that begins with version and kind")
    version, kind, *fields = parts
    request = fields[0] if fields and type(fields[0]) is int and fields[0] >= 0 else None
    if version != VERSION:
        raise RemoteProtocolError("version", f"expected protocol version {VERSION}, got {version}", request)
    reader = readers.get(kind)
    if reader is None:
        raise RemoteProtocolError("unknown-kind", f"expected a kind of {sorted(readers)}, got {kind}", request)
    try:
        return reader(fields)
    except TooLarge as error:
        raise RemoteProtocolError("too-large", str(error), request) from None
    except Malformed as error:
        raise RemoteProtocolError("malformed", str(error), request) from None
