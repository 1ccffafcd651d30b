"""Reads the messages to a coordinator: one reader for each kind, which takes the decoded fields and returns the message
or raises.

The readers of submit and settle check in bulk and inline, because every task of a busy system passes through them; most
others are put together of the readers of their fields, in the order of protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from zq.errors import short
from zq.wire import limits, messages, steering
from zq.wire.messages import DEFAULT_OPTIONS, Batch, Done, Failed, Group, Held, Settle, Submit
from zq.wire.options import GROUP_POLICIES, read_asked_options
from zq.wire.proofs import PROOF_BYTES, SECRET_BYTES_MAX, Proof
from zq.wire.topics import check_topic
from zq.wire.values import (
    BATCH_ID,
    FRACTION,
    INT_MAX,
    NUMBER,
    QUEUE_NAME,
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
    read_queue,
    read_span,
    read_text,
)
from zq.wire.wholeness import are_whole_batches, is_whole, is_whole_batch

_new: Final[Callable[..., Any]] = tuple.__new__
"""Makes a named tuple three times as fast as its own constructor, once a batch."""

# Parts of messages.


def read_batch(value: Any) -> Batch:
    if type(value) is not tuple or len(value) != 5:
        raise Malformed("expected a batch as [id, queue, options, ends, blob]")
    id, queue, options, ends, blob = value
    size = len(blob) if type(blob) is bytes else limits.BATCH_BYTES_MAX + 1
    if size > limits.BATCH_BYTES_MAX or ends != size.to_bytes(4, "little"):  # but for a single one
        count = check_ends(ends, blob, "the batch")
        most = limits.PAYLOAD_BYTES_CEILING if count == 1 else limits.BATCH_BYTES_MAX
        if len(blob) > most:
            raise TooLarge(f"expected at most {most} bytes in a batch of {count}, got {len(blob)}")
    read = DEFAULT_OPTIONS if options is None else read_asked_options(options)
    if type(queue) is not str or not is_usual_name(queue):
        read_queue(queue, "queue")
    if type(id) is not str or not is_usual_id(id):
        read_id(id, "batch id")
    batch: Batch = _new(Batch, (id, queue, read, ends, blob))
    return batch


def _check_whole(what: str, parts: Sequence[Batch | Done | messages.Publish]) -> None:
    """Checks that the payloads or results of a message are msgpack values, if that takes no time to speak of."""
    if len(parts) == 1:
        one = parts[0]
        size = len(one.blob)
        if size > limits.WHOLE_BYTES_MAX or not size or (len(one.ends) == 4 and is_whole(one.blob)):
            return
    else:
        if sum([len(one.blob) for one in parts]) > limits.WHOLE_BYTES_MAX:
            return
        if are_whole_batches([(one.ends, one.blob) for one in parts if one.blob]):
            return
    for one in parts:
        if one.blob and not is_whole_batch(one.ends, one.blob):
            raise Malformed(f"expected each {what} as one whole msgpack value, of {short(one.id)}")


def _whole_batch(value: Any) -> Batch:
    batch = read_batch(value)
    _check_whole("payload", (batch,))
    return batch


def read_group(value: Any) -> Group:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected a group as [id, size, policy, skips_none, queue, options]")
    options = DEFAULT_OPTIONS if value[5] is None else read_asked_options(value[5])
    return check_group(Group(*value[:5], options))


def check_group(group: Group) -> Group:
    """Returns a group whose options are known to be right, if the rest is right, too."""
    id, size, policy, skips_none, queue, options = group
    if policy not in GROUP_POLICIES:
        raise Malformed(f"expected policy as all, any or settled, got {short(policy)}")
    if read_int(size, "size") > limits.GROUP_MEMBERS_MAX:
        raise TooLarge(f"expected at most {limits.GROUP_MEMBERS_MAX} members in a group, got {size}")
    if queue is not None:
        read_queue(queue, "callback")
        if options.unique is not None:
            raise Malformed("a callback cannot have a unique key: it is stored once, whatever else has the key")
    read_id(id, "group id")
    read_bool(skips_none, "skips_none")
    return group


def read_held(value: Any) -> Held:
    if type(value) is not tuple or len(value) != 2:
        raise Malformed("expected a held lease as [token, started]")
    token, started = value
    if type(token) is not int or not 0 <= token <= INT_MAX:
        raise Malformed(f"expected token as a number, got {short(token)}")
    if started == ():
        return Held(token, ())
    return Held(token, tuple(read_index(index) for index in read_array(started, limits.BATCH_TASKS_MAX, "indexes")))


def _done(value: Any) -> Done:
    if type(value) is not tuple or len(value) not in (7, 8):
        raise Malformed("expected done as [token, id, lo, hi, ends, blob, forwards] or with groups behind")
    token, id, lo, hi, ends, blob, forwards = value[:7]
    if not (type(lo) is type(hi) is int and 0 <= lo < hi <= limits.BATCH_TASKS_MAX):
        check_range(lo, hi, "done")
    if ends or blob or type(ends) is not bytes or type(blob) is not bytes:
        check_results(ends, blob, hi - lo)
    if forwards != ():
        forwards = tuple(map(_forward, read_array(forwards, limits.MESSAGE_BATCHES_MAX, "forwards")))
    groups = read_many(read_group, value[7], "groups") if len(value) == 8 else ()
    if type(token) is not int or not 0 <= token <= INT_MAX:
        read_int(token, "token")
    if type(id) is not str or not is_usual_id(id):
        read_id(id, "batch id")
    done: Done = _new(Done, (token, id, lo, hi, ends, blob, forwards, groups))
    return done


def _forward(value: Any) -> Batch:
    batch = read_batch(value)
    if batch.options.unique is not None and len(batch.ends) > 4:
        raise Malformed("expected unique in a forwarded batch of one task only")
    return batch


def _read_proof_bytes(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != PROOF_BYTES:
        raise Malformed(f"expected a proof of {PROOF_BYTES} bytes, got {short(value)}")
    return value


def _helds(value: Any) -> tuple[Held, ...]:
    found = tuple(map(read_held, read_array(value, limits.HELD_MAX, "leases")))
    started = sum([len(one.started) for one in found])
    if started > limits.HELD_MAX:  # more than a worker may hold
        raise TooLarge(f"expected at most {limits.HELD_MAX} indexes of what has started, got {started}")
    return found


def _arguments(value: Any) -> dict[str, Any]:
    if type(value) is not dict or not all(type(name) is str for name in value):
        raise Malformed("expected arguments as a map with text keys")
    for name, one in value.items():
        parts = one if type(one) is tuple else (one,)
        if len(parts) > limits.ARGUMENT_PARTS_MAX:
            raise TooLarge(
                f"expected at most {limits.ARGUMENT_PARTS_MAX} values in argument {short(name)}, got {len(parts)}"
            )
        if not all(part is None or type(part) in (bool, int, float, str) for part in parts):
            raise Malformed(f"expected argument {short(name)} as text, number, truth, nil or a list of those")
    return value


def _queues(value: Any) -> tuple[str, ...]:
    names = read_many(QUEUE_NAME, value, "queues")
    if not names:
        raise Malformed("expected at least one queue in hello")
    return names


def _followed(value: Any) -> str:
    """The name of a queue, or of a namespace with a slash behind it."""
    read_queue(value[:-1] if type(value) is str and value.endswith("/") and value != "/" else value, "queue")
    return read_name(value, "queue")


def _catch_up(value: Any) -> str:
    if value not in limits.CATCH_UP:
        raise Malformed(f"expected catch_up as one of {', '.join(limits.CATCH_UP)}, got {short(value)}")
    return str(value)


_PROOFS: Final = many(part(Proof, "a proof", TOKEN, _read_proof_bytes), "proofs")
_LEASE: Final = field(read_number, "lease", limits.LEASE_MAX, 0.001)
_CREDIT: Final = field(read_int, "credit", 0, limits.CREDIT_MAX)
_NAME: Final = field(read_name, "name")
_INCARNATION: Final = field(read_name, "incarnation")

_failed = part(
    Failed,
    "failed",
    TOKEN,
    BATCH_ID,
    read_index,
    field(read_text, "error"),
    optional(field(read_number, "retry_in")),
    field(read_bool, "is_final"),
)


# From a client.


def read_submit(fields: list[Any]) -> Submit:
    expect_fields(fields, 2, "submit")
    request, values = fields
    if type(request) is not int or not 0 <= request <= INT_MAX:
        read_int(request, "request")
    if type(values) is tuple and len(values) == 1:
        batches: tuple[Batch, ...] = (read_batch(values[0]),)
    else:
        batches = read_many(read_batch, values, "batches")
    if not batches:
        raise Malformed("expected at least one batch in submit")
    _check_whole("payload", batches)
    submit: Submit = _new(Submit, (request, batches))
    return submit


def read_wait(fields: list[Any]) -> messages.Wait:
    expect_fields(fields, 4, "wait")
    check_range(fields[2], fields[3], "wait")
    return messages.Wait(REQUEST(fields[0]), BATCH_ID(fields[1]), fields[2], fields[3])


def read_publish(fields: list[Any]) -> messages.Publish:
    expect_fields(fields, 7, "publish")
    request, id, topic, options, is_mandatory, ends, blob = fields
    count = check_ends(ends, blob, "the publication")
    most = limits.PAYLOAD_BYTES_CEILING if count == 1 else limits.BATCH_BYTES_MAX
    if len(blob) > most:
        raise TooLarge(f"expected at most {most} bytes in a publication of {count}, got {len(blob)}")
    try:
        check_topic(read_name(topic, "topic"))
    except ValueError as error:
        raise Malformed(str(error)) from None
    read_name(id, "publication id", limits.PUBLICATION_ID_BYTES_MAX)
    publication = messages.Publish(
        read_int(request, "request"),
        read_id(id, "publication id"),
        topic,
        DEFAULT_OPTIONS if options is None else read_asked_options(options),
        read_bool(is_mandatory, "is_mandatory"),
        ends,
        blob,
    )
    _check_whole("payload", (publication,))
    return publication


def read_pull(fields: list[Any]) -> messages.Pull:
    pull = _read_plain_pull(fields[:6] if len(fields) in (7, 8) else fields)
    if len(fields) > 6:
        pull = pull._replace(confirms=read_bool(fields[6], "confirms"))
    if len(fields) > 7:
        pull = pull._replace(secret=read_name(fields[7], "secret", SECRET_BYTES_MAX))
    return pull


_read_plain_pull = message(
    messages.Pull,
    REQUEST,
    field(read_name, "client"),
    QUEUE_NAME,
    field(read_int, "max_tasks", 1, limits.BATCH_TASKS_MAX),
    field(read_number, "wait", limits.WAIT_MAX),
    _LEASE,
)


def read_cancel(fields: list[Any]) -> messages.Cancel:
    cancel = _read_plain_cancel(fields[:2] if len(fields) == 3 else fields)
    return cancel._replace(is_again=read_bool(fields[2], "is_again")) if len(fields) == 3 else cancel


_read_plain_cancel = message(messages.Cancel, REQUEST, field(read_name, "id", limits.ID_BYTES_MAX + 5))
read_query = message(messages.Query, REQUEST, field(read_name, "what"), _arguments)
read_command = message(messages.Command, REQUEST, field(read_name, "verb"), _arguments)
read_ping = message(messages.Ping, REQUEST)
_read_plain_extend = message(messages.Extend, REQUEST, TOKEN, _LEASE)


def read_extend(fields: list[Any]) -> messages.Extend:
    if len(fields) != 4:
        return _read_plain_extend(fields)
    return _read_plain_extend(fields[:3])._replace(proof=_read_proof_bytes(fields[3]))


read_open = message(messages.Open, REQUEST, read_group)
read_follow = message(
    messages.Follow,
    REQUEST,
    optional(_followed),
    many(field(read_name, "kind"), "kinds", limits.EVENT_KINDS_MAX),
    field(read_number, "lease", limits.FOLLOW_MAX),
    field(read_int, "seen", 0, limits.SEEN_MAX),
)
read_withdraw = message(messages.Withdraw, many(REQUEST, "requests"))
_TOKENS: Final = many(TOKEN, "tokens")


def read_confirm(fields: list[Any]) -> messages.Confirm:
    if len(fields) != 2:
        expect_fields(fields, 1, "confirm")
    return messages.Confirm(_TOKENS(fields[0]), _PROOFS(fields[1]) if len(fields) == 2 else ())


read_schedule = message(
    messages.Schedule,
    REQUEST,
    _whole_batch,
    optional(field(read_number, "every", limits.DELAY_MAX, limits.EVERY_MIN)),
    optional(field(read_text, "cron", 256)),
    field(read_text, "timezone", 64),
    _catch_up,
)


# From a worker; settle and release also from a client that pulled.


def read_settle(fields: list[Any]) -> Settle:
    if len(fields) not in (5, 6):
        expect_fields(fields, 4, "settle")
    number, credit, done, failed = fields[:4]
    completions = read_many(_done, done, "completions")
    # Fields by position: every completion passes here.
    if sum([len(one[6]) + len(one[7]) for one in completions if one[6] or one[7]]) > limits.FORWARDS_MAX:
        raise TooLarge(f"expected at most {limits.FORWARDS_MAX} batches and groups in all forwards of a settle")
    if results := [one for one in completions if one.blob]:
        _check_whole("result", results)
    if forwards := [batch for one in completions for batch in one.forwards]:
        _check_whole("payload", forwards)
    return Settle(
        read_int(number, "number"),
        None if credit is None else _CREDIT(credit),
        completions,
        read_many(_failed, failed, "failures"),
        len(fields) > 4 and read_bool(fields[4], "is_whole"),
        _PROOFS(fields[5]) if len(fields) > 5 else (),
    )


read_hello = message(
    messages.Hello, _NAME, _INCARNATION, _queues, _CREDIT, field(read_int, "concurrency", 1, limits.CREDIT_MAX), _helds
)
read_heartbeat = message(messages.Heartbeat, NUMBER, _helds)
_read_plain_release = message(messages.Release, NUMBER, optional(_CREDIT), many(read_span, "spans"))


def read_release(fields: list[Any]) -> messages.Release:
    if len(fields) != 4:
        return _read_plain_release(fields)
    return _read_plain_release(fields[:3])._replace(proofs=_PROOFS(fields[3]))


read_started = message(messages.Started, _helds)
read_progress = message(messages.Progress, TOKEN, read_index, FRACTION)


_read_plain_about = message(
    steering.About,
    field(read_text, "host", steering.HOST_CHARS_MAX),
    field(read_int, "pid"),
    field(read_int, "processes", 0, limits.CREDIT_MAX),
    field(read_int, "concurrency", 1, limits.CREDIT_MAX),
    field(read_bool, "is_draining"),
    optional(field(read_text, "trouble", steering.TROUBLE_CHARS_MAX)),
)


_TAKES_RUNS: Final = field(read_bool, "takes_runs")
_TAKES_INTERVALS: Final = field(read_bool, "takes_intervals")


def read_about(fields: list[Any]) -> steering.About:
    if not 7 <= len(fields) <= 8:
        return _read_plain_about(fields)
    takes_intervals = len(fields) == 8 and _TAKES_INTERVALS(fields[7])
    return _read_plain_about(fields[:6])._replace(takes_runs=_TAKES_RUNS(fields[6]), takes_intervals=takes_intervals)


def read_goodbye(fields: list[Any]) -> messages.Goodbye:
    if len(fields) != 3:
        expect_fields(fields, 2, "goodbye")
    name, incarnation = fields[:2]
    reason = read_text(fields[2], "reason") if len(fields) == 3 else None
    return messages.Goodbye(_NAME(name), _INCARNATION(incarnation), reason)
