"""The border between bytes and messages: `encode`, and two `decode` functions that let only valid messages through.

A frame is a msgpack array [version, kind, field, ...]. Decoding checks everything that docs/protocol.md says, in time
and memory bounded by the frame's own size (`zq.wire.frames`), and raises `RemoteProtocolError` for anything else,
whatever the bytes. The core behind it needs no checks of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgpack

from zq.errors import RemoteProtocolError, cut
from zq.wire import answers, messages, requests, steering
from zq.wire.frames import COUNTED_BYTES, LOOKED_AT_BYTES, SPARE, check_frame, pack, pass_over, request_of
from zq.wire.limits import (
    ASKING_BYTES_MAX,
    FRAME_BYTES_MAX,
    HELD_MAX,
    LISTING_BYTES_MAX,
    ONE_BATCH_BYTES_MAX,
    PLAIN_BYTES_MAX,
    TEXT_CHARS_MAX,
    VERSION,
)
from zq.wire.messages import DEFAULT_OPTIONS, Batch, FromCoordinator, Message, Options, ToCoordinator
from zq.wire.values import INT_MAX, Malformed, TooLarge

MAP_MAX: Final = 100
"""Entries of a map: headers, arguments, and the rows of answers."""

STR_MAX: Final = TEXT_CHARS_MAX * 4
"""Bytes of a text: characters take up to four."""

ERROR_CHARS_MAX: Final = 2000
"""Of the text of an error: those that say what is expected are the longest, and what they repeat is cut before."""

_NESTING: Final = frozenset((list, tuple, dict))

_OPTION_DEFAULTS: Final = DEFAULT_OPTIONS._asdict()

Speaker = Literal["client", "worker", "coordinator"]


# Encoding.


def encode(message: Message) -> bytes:
    """Returns the frame of a message."""
    number, fields = _SENT[type(message)]
    return pack((VERSION, number, *(message if fields is None else fields(message))))


def encode_answer(message: FromCoordinator) -> bytes:
    """Returns the frame of a message of a coordinator, or, of one that its receiver could not read, that of an error in
    words for its request.
    """
    frame = encode(message)
    is_nested = type(message) is messages.Answer and type(message.value) in _NESTING
    if len(frame) <= PLAIN_BYTES_MAX and not is_nested:
        return frame
    request: int | None = getattr(message, "request", None)
    if request is None:
        return frame
    try:
        if len(frame) > FRAME_BYTES_MAX:
            raise RemoteProtocolError("too-large", f"it has {len(frame)} bytes, and a message {FRAME_BYTES_MAX}")
        if is_nested:
            decode_from_coordinator(frame)
    except RemoteProtocolError as error:
        text = f"the answer cannot be sent: {error.text}; ask for less, or by pages"
        return encode(messages.Error(request, "too-large", text))
    return frame


# Fields of messages that have parts, as they travel.


def _submit(message: messages.Submit) -> tuple[Any, ...]:
    return message.request, [_plain_batch(batch) for batch in message.batches]


def _pull(message: messages.Pull) -> tuple[Any, ...]:
    return message if message.secret else message[:7] if message.confirms else message[:6]


def _cancel(message: messages.Cancel) -> tuple[Any, ...]:
    return message if message.is_again else message[:2]


def _extend(message: messages.Extend) -> tuple[Any, ...]:
    return message if message.proof else message[:3]


def _confirm(message: messages.Confirm) -> tuple[Any, ...]:
    return message if message.proofs else message[:1]


def _release(message: messages.Release) -> tuple[Any, ...]:
    return message if message.proofs else message[:3]


def _settle(message: messages.Settle) -> tuple[Any, ...]:
    number, credit, done, failed, is_whole, proofs = message
    rest = (is_whole, proofs) if proofs else (True,) if is_whole else ()
    return (number, credit, [_plain_done(one) for one in done], failed, *rest)


def _goodbye(message: messages.Goodbye) -> tuple[Any, ...]:
    return message[:2] if message.reason is None else message


def _about(message: steering.About) -> tuple[Any, ...]:
    return message if message.takes_intervals else message[:7] if message.takes_runs else message[:6]


def _beat(message: messages.Beat) -> tuple[Any, ...]:
    return message if message.idle_interval else message[:3]


def _settled(message: messages.Settled) -> tuple[Any, ...]:
    return message if message.next_tries else message[:2]


def _open(message: messages.Open) -> tuple[Any, ...]:
    return message.request, _plain_group(message.group)


def _publish(message: messages.Publish) -> tuple[Any, ...]:
    return (*message[:3], options_map(message.options), *message[4:])


def _schedule(message: messages.Schedule) -> tuple[Any, ...]:
    return (message.request, _plain_batch(message.batch), *message[2:])


def _assign(message: messages.Assign) -> tuple[Any, ...]:
    return ([_plain_assignment(one) for one in message.assignments],)


def _tasks(message: messages.Tasks) -> tuple[Any, ...]:
    return message.request, [_plain_assignment(one) for one in message.assignments]


def _outcome(message: messages.Outcome) -> tuple[Any, ...]:
    return message if message.progress else message[:3]


def _error(message: messages.Error) -> tuple[Any, ...]:
    head = (message.request, message.code, cut(message.text, ERROR_CHARS_MAX))
    return head if message.patience is None else (*head, message.patience)


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


def _plain_done(done: messages.Done) -> tuple[Any, ...]:
    if done.groups:
        groups = [_plain_group(group) for group in done.groups]
        return (*done[:6], [_plain_batch(batch) for batch in done.forwards], groups)
    if done.forwards:
        return (*done[:6], [_plain_batch(batch) for batch in done.forwards])
    return done[:7]


def _plain_group(group: messages.Group) -> tuple[Any, ...]:
    return (*group[:5], options_map(group.options))


def _plain_assignment(one: messages.Assignment) -> tuple[Any, ...]:
    token, id, size, queue, options, attempt, lo, ends, blob = one
    plain = None if options is DEFAULT_OPTIONS else options_map(options)
    return (token, id, size, queue, plain, attempt, lo, ends, blob)


# The kinds.


class Kind(NamedTuple):
    """A kind of message."""

    number: int  # protocol 2 to 4
    message: type[Any]
    reader: Callable[[list[Any]], Any]  # makes the message of its fields, or raises Malformed or TooLarge
    said_by: Speaker
    fields: Callable[[Any], tuple[Any, ...]] | None = None  # as they travel; None: as they are
    bytes_max: int = PLAIN_BYTES_MAX  # of a frame of it


KINDS: Final = (
    Kind(1, messages.Submit, requests.read_submit, "client", _submit, bytes_max=FRAME_BYTES_MAX),
    Kind(2, messages.Pull, requests.read_pull, "client", _pull),
    Kind(3, messages.Wait, requests.read_wait, "client"),
    Kind(4, messages.Cancel, requests.read_cancel, "client", _cancel),
    Kind(5, messages.Query, requests.read_query, "client", bytes_max=ASKING_BYTES_MAX),
    Kind(6, messages.Command, requests.read_command, "client", bytes_max=ASKING_BYTES_MAX),
    Kind(7, messages.Ping, requests.read_ping, "client"),
    Kind(8, messages.Extend, requests.read_extend, "client", _extend),
    Kind(9, messages.Open, requests.read_open, "client", _open, bytes_max=ASKING_BYTES_MAX),
    Kind(10, messages.Publish, requests.read_publish, "client", _publish, bytes_max=ONE_BATCH_BYTES_MAX),
    Kind(11, messages.Schedule, requests.read_schedule, "client", _schedule, bytes_max=ONE_BATCH_BYTES_MAX),
    Kind(12, messages.Follow, requests.read_follow, "client"),
    Kind(13, messages.Withdraw, requests.read_withdraw, "client"),
    Kind(14, messages.Confirm, requests.read_confirm, "client", _confirm),
    Kind(20, messages.Hello, requests.read_hello, "worker", bytes_max=LISTING_BYTES_MAX),
    Kind(21, messages.Heartbeat, requests.read_heartbeat, "worker", bytes_max=LISTING_BYTES_MAX),
    Kind(22, messages.Settle, requests.read_settle, "worker", _settle, bytes_max=FRAME_BYTES_MAX),
    Kind(23, messages.Release, requests.read_release, "worker", _release),
    Kind(24, messages.Started, requests.read_started, "worker", bytes_max=LISTING_BYTES_MAX),
    Kind(25, messages.Progress, requests.read_progress, "worker"),
    Kind(26, messages.Goodbye, requests.read_goodbye, "worker", _goodbye),
    Kind(27, steering.About, requests.read_about, "worker", _about),
    Kind(40, messages.Receipt, answers.read_receipt, "coordinator", bytes_max=FRAME_BYTES_MAX),
    Kind(41, messages.Tasks, answers.read_tasks, "coordinator", _tasks, bytes_max=FRAME_BYTES_MAX),
    Kind(42, messages.Outcome, answers.read_outcome, "coordinator", _outcome, bytes_max=FRAME_BYTES_MAX),
    Kind(43, messages.Answer, answers.read_answer, "coordinator", bytes_max=FRAME_BYTES_MAX),
    Kind(44, messages.Pong, answers.read_pong, "coordinator"),
    Kind(45, messages.Welcome, answers.read_welcome, "coordinator", bytes_max=LISTING_BYTES_MAX),
    Kind(46, messages.Beat, answers.read_beat, "coordinator", _beat, bytes_max=LISTING_BYTES_MAX),
    Kind(47, messages.Assign, answers.read_assign, "coordinator", _assign, bytes_max=FRAME_BYTES_MAX),
    Kind(48, messages.Settled, answers.read_settled, "coordinator", _settled, bytes_max=LISTING_BYTES_MAX),
    Kind(49, messages.Cancelled, answers.read_cancelled, "coordinator", bytes_max=LISTING_BYTES_MAX),
    Kind(50, messages.Error, answers.read_error, "coordinator", _error),
    Kind(51, messages.Published, answers.read_published, "coordinator", bytes_max=LISTING_BYTES_MAX),
    Kind(52, messages.Events, answers.read_events, "coordinator", bytes_max=FRAME_BYTES_MAX),
    Kind(53, steering.Steer, answers.read_steer, "coordinator"),
)
"""All kinds of messages. A new one has its class and a place in a union in messages.py, its reader, a row here, and
what docs/protocol.md says about it; names in it are for namespaces.py.
"""

_SENT: Final = {kind.message: (kind.number, kind.fields) for kind in KINDS}
ASSIGN: Final = _SENT[messages.Assign][0]
SETTLED: Final = _SENT[messages.Settled][0]
_BY_COORDINATOR: Final = {kind.number: kind.reader for kind in KINDS if kind.said_by == "coordinator"}
_TO_COORDINATOR: Final = {kind.number: kind.reader for kind in KINDS if kind.said_by != "coordinator"}
_BYTES_MAX: Final = {kind.number: kind.bytes_max for kind in KINDS}
_ANSWERS: Final = frozenset(kind.number for kind in KINDS if "request" in kind.message._fields)


# Decoding.


def decode_for_coordinator(frame: bytes) -> ToCoordinator:
    """Reads a message that a client or worker sent.

    Raises:
        RemoteProtocolError: with the code of protocol 5, and the number of the request if it could be read.
    """
    return _decode(frame, _TO_COORDINATOR)  # type: ignore[no-any-return]


def decode_from_coordinator(frame: bytes) -> FromCoordinator:
    """Reads a message that a coordinator sent; raises as `decode_for_coordinator`."""
    return _decode(frame, _BY_COORDINATOR)  # type: ignore[no-any-return]


def kind_of(frame: bytes) -> int:
    """Returns the number of the kind of a frame that can be decoded; of any other, any number."""
    return frame[2] if len(frame) > 2 else -1


def unreadable(frame: bytes, error: RemoteProtocolError) -> messages.Error | None:
    """Returns what is told to whoever waits for an answer of a coordinator that could not be read: asked again, it
    would be the same. None when nobody waits for it, or it cannot be known who.
    """
    if error.request is None or kind_of(frame) not in _ANSWERS:
        return None
    return messages.Error(error.request, "unreadable", f"an answer came that cannot be read: {error.text}")


def _decode(frame: bytes, readers: dict[int, Callable[[list[Any]], Any]]) -> Any:
    size = len(frame)
    unpacker = None
    if size > COUNTED_BYTES:
        check_frame(frame, _BYTES_MAX)
    elif size > LOOKED_AT_BYTES:
        unpacker = pass_over(frame)
    try:
        parts = msgpack.unpackb(
            frame,
            use_list=False,
            raw=False,
            strict_map_key=True,
            max_array_len=size if size < HELD_MAX else HELD_MAX,
            max_map_len=MAP_MAX,
            max_str_len=STR_MAX,
            max_bin_len=FRAME_BYTES_MAX,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        text = f"expected a msgpack array within limits: {str(error)[:200]}"
        raise RemoteProtocolError("malformed", text, request_of(frame)) from None
    if unpacker is not None:
        SPARE.append(unpacker)
    if not isinstance(parts, tuple) or len(parts) < 2 or type(parts[0]) is not int or type(parts[1]) is not int:
        raise RemoteProtocolError("malformed", "expected an array that begins with version and kind")
    version, kind, *fields = parts
    try:
        if version == VERSION:
            return readers[kind](fields)
    except KeyError:
        pass
    except TooLarge as error:
        raise RemoteProtocolError("too-large", cut(str(error)), _number(fields)) from None
    except Malformed as error:
        raise RemoteProtocolError("malformed", cut(str(error)), _number(fields)) from None
    if version != VERSION:
        raise RemoteProtocolError("version", f"expected protocol version {VERSION}, got {version}", _number(fields))
    raise RemoteProtocolError("unknown-kind", f"expected a kind of {sorted(readers)}, got {kind}", _number(fields))


def _number(fields: list[Any]) -> int | None:
    """Returns the number of a request, if it can be one."""
    return fields[0] if fields and type(fields[0]) is int and 0 <= fields[0] <= INT_MAX else None
