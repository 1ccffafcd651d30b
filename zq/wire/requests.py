"""Reads the messages to a coordinator: one reader for each kind, which takes the decoded fields and returns the message
or raises.

The readers of submit and settle check in bulk and inline, because every task of a busy system passes through them; the
others prefer to be short.
"""

from __future__ import annotations

from typing import Any

from zq.wire import limits
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Batch,
    Cancel,
    Command,
    Done,
    Extend,
    Failed,
    Follow,
    Goodbye,
    Group,
    Heartbeat,
    Held,
    Hello,
    Open,
    Ping,
    Progress,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    Started,
    Submit,
    Wait,
)
from zq.wire.options import GROUP_POLICIES, read_options
from zq.wire.topics import check_topic
from zq.wire.values import (
    INT_MAX,
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

# From a client.


def read_submit(fields: list[Any]) -> Submit:
    expect_fields(fields, 2, "submit")
    batches = read_many(read_batch, fields[1], "batches")
    if not batches:
        raise Malformed("expected at least one batch in submit")
    return Submit(read_int(fields[0], "request"), batches)


def read_pull(fields: list[Any]) -> Pull:
    expect_fields(fields, 6, "pull")
    request, client, queue, max_tasks, wait, lease = fields
    return Pull(
        read_int(request, "request"),
        read_name(client, "client"),
        read_name(queue, "queue"),
        read_int(max_tasks, "max_tasks", 1, limits.BATCH_TASKS_MAX),
        read_number(wait, "wait", limits.WAIT_MAX),
        read_number(lease, "lease", limits.LEASE_MAX, 0.001),
    )


def read_wait(fields: list[Any]) -> Wait:
    expect_fields(fields, 4, "wait")
    check_range(fields[2], fields[3], "wait")
    return Wait(read_int(fields[0], "request"), read_id(fields[1], "batch id"), fields[2], fields[3])


def read_cancel(fields: list[Any]) -> Cancel:
    expect_fields(fields, 2, "cancel")
    return Cancel(read_int(fields[0], "request"), read_name(fields[1], "id", limits.ID_BYTES_MAX + 5))


def read_query(fields: list[Any]) -> Query:
    expect_fields(fields, 3, "query")
    return Query(read_int(fields[0], "request"), read_name(fields[1], "what"), _arguments(fields[2]))


def read_command(fields: list[Any]) -> Command:
    expect_fields(fields, 3, "command")
    return Command(read_int(fields[0], "request"), read_name(fields[1], "verb"), _arguments(fields[2]))


def read_ping(fields: list[Any]) -> Ping:
    expect_fields(fields, 1, "ping")
    return Ping(read_int(fields[0], "request"))


def read_extend(fields: list[Any]) -> Extend:
    expect_fields(fields, 3, "extend")
    lease = read_number(fields[2], "lease", limits.LEASE_MAX, 0.001)
    return Extend(read_int(fields[0], "request"), read_int(fields[1], "token"), lease)


def read_open(fields: list[Any]) -> Open:
    expect_fields(fields, 2, "open")
    return Open(read_int(fields[0], "request"), read_group(fields[1]))


def read_follow(fields: list[Any]) -> Follow:
    expect_fields(fields, 5, "follow")
    request, queue, kinds, lease, seen = fields
    return Follow(
        read_int(request, "request"),
        None if queue is None else read_name(queue, "queue"),
        tuple(read_name(kind, "kind") for kind in read_array(kinds, limits.EVENT_KINDS_MAX, "kinds")),
        read_number(lease, "lease", limits.FOLLOW_MAX),
        read_int(seen, "seen"),
    )


def read_publish(fields: list[Any]) -> Publish:
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
    return Publish(
        read_int(request, "request"),
        read_id(id, "publication id"),
        topic,
        DEFAULT_OPTIONS if options is None else read_options(options),
        read_bool(is_mandatory, "is_mandatory"),
        ends,
        blob,
    )


def read_schedule(fields: list[Any]) -> Schedule:
    expect_fields(fields, 6, "schedule")
    request, batch, every, cron, timezone, catch_up = fields
    if catch_up not in limits.CATCH_UP:
        raise Malformed(f"expected catch_up as one of {', '.join(limits.CATCH_UP)}, got {short(catch_up)}")
    return Schedule(
        read_int(request, "request"),
        read_batch(batch),
        None if every is None else read_number(every, "every", least=limits.EVERY_MIN),
        None if cron is None else read_text(cron, "cron", 256),
        read_text(timezone, "timezone", 64),
        catch_up,
    )


# From a worker; settle and release also from a client that pulled.


def read_hello(fields: list[Any]) -> Hello:
    expect_fields(fields, 6, "hello")
    name, incarnation, queues, credit, concurrency, held = fields
    names = tuple(read_name(queue, "queue") for queue in read_array(queues, limits.MESSAGE_BATCHES_MAX, "queues"))
    if not names:
        raise Malformed("expected at least one queue in hello")
    return Hello(
        read_name(name, "name"),
        read_name(incarnation, "incarnation"),
        names,
        read_credit(credit),
        read_int(concurrency, "concurrency", 1, limits.CREDIT_MAX),
        read_helds(held),
    )


def read_heartbeat(fields: list[Any]) -> Heartbeat:
    expect_fields(fields, 2, "heartbeat")
    return Heartbeat(read_int(fields[0], "number"), read_helds(fields[1]))


def read_settle(fields: list[Any]) -> Settle:
    if len(fields) != 5:
        expect_fields(fields, 4, "settle")
    number, credit, done, failed = fields[:4]
    return Settle(
        read_int(number, "number"),
        None if credit is None else read_credit(credit),
        read_many(_done, done, "completions"),
        read_many(_failed, failed, "failures"),
        len(fields) == 5 and read_bool(fields[4], "is_whole"),
    )


def read_release(fields: list[Any]) -> Release:
    expect_fields(fields, 3, "release")
    credit = None if fields[1] is None else read_credit(fields[1])
    return Release(read_int(fields[0], "number"), credit, read_many(read_span, fields[2], "spans"))


def read_started(fields: list[Any]) -> Started:
    expect_fields(fields, 1, "started")
    return Started(read_helds(fields[0]))


def read_progress(fields: list[Any]) -> Progress:
    expect_fields(fields, 3, "progress")
    return Progress(read_int(fields[0], "token"), read_index(fields[1]), read_number(fields[2], "fraction", 1.0))


def read_goodbye(fields: list[Any]) -> Goodbye:
    expect_fields(fields, 2, "goodbye")
    return Goodbye(read_name(fields[0], "name"), read_name(fields[1], "incarnation"))


# Parts of messages.


def read_batch(value: Any) -> Batch:
    if type(value) is not tuple or len(value) != 5:
        raise Malformed("expected a batch as [id, queue, options, ends, blob]")
    id, queue, options, ends, blob = value
    count = check_ends(ends, blob, "the batch")
    most = limits.PAYLOAD_BYTES_CEILING if count == 1 else limits.BATCH_BYTES_MAX
    if len(blob) > most:
        raise TooLarge(f"expected at most {most} bytes in a batch of {count}, got {len(blob)}")
    read = DEFAULT_OPTIONS if options is None else read_options(options)
    return Batch(read_id(id, "batch id"), read_name(queue, "queue"), read, ends, blob)


def read_group(value: Any) -> Group:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected a group as [id, size, policy, skips_none, queue, options]")
    options = DEFAULT_OPTIONS if value[5] is None else read_options(value[5])
    return check_group(Group(*value[:5], options))


def check_group(group: Group) -> Group:
    """Returns a group whose options are known to be right, if the rest is right, too."""
    id, size, policy, skips_none, queue, options = group
    if policy not in GROUP_POLICIES:
        raise Malformed(f"expected policy as all, any or settled, got {short(policy)}")
    if read_int(size, "size") > limits.GROUP_MEMBERS_MAX:
        raise TooLarge(f"expected at most {limits.GROUP_MEMBERS_MAX} members in a group, got {size}")
    if queue is not None:
        read_name(queue, "callback")
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


def read_helds(value: Any) -> tuple[Held, ...]:
    return tuple(map(read_held, read_array(value, limits.HELD_MAX, "leases")))


def _done(value: Any) -> Done:
    if type(value) is not tuple or len(value) not in (7, 8):
        raise Malformed("expected done as [token, id, lo, hi, ends, blob, forwards] or with groups behind")
    token, id, lo, hi, ends, blob, forwards = value[:7]
    check_range(lo, hi, "done")
    check_results(ends, blob, hi - lo)
    if forwards != ():
        forwards = tuple(map(_forward, read_array(forwards, limits.MESSAGE_BATCHES_MAX, "forwards")))
    groups = read_many(read_group, value[7], "groups") if len(value) == 8 else ()
    return Done(read_int(token, "token"), read_id(id, "batch id"), lo, hi, ends, blob, forwards, groups)


def _forward(value: Any) -> Batch:
    batch = read_batch(value)
    if batch.options.unique is not None and len(batch.ends) > 4:
        raise Malformed("expected unique in a forwarded batch of one task only")
    return batch


def _failed(value: Any) -> Failed:
    if type(value) is not tuple or len(value) != 6:
        raise Malformed("expected failed as [token, id, index, error, retry_in, is_final]")
    token, id, index, error, retry_in, is_final = value
    return Failed(
        read_int(token, "token"),
        read_id(id, "batch id"),
        read_index(index),
        read_text(error, "error"),
        None if retry_in is None else read_number(retry_in, "retry_in"),
        read_bool(is_final, "is_final"),
    )


def read_credit(value: Any) -> int:
    return read_int(value, "credit", 0, limits.CREDIT_MAX)


def _arguments(value: Any) -> dict[str, Any]:
    if type(value) is not dict or not all(type(name) is str for name in value):
        raise Malformed("expected arguments as a map with text keys")
    for name, one in value.items():
        parts = one if type(one) is tuple else (one,)
        if not all(part is None or type(part) in (bool, int, float, str) for part in parts):
            raise Malformed(f"expected argument {short(name)} as text, number, truth, nil or a list of those")
    return value
