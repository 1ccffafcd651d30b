"""Whether a key may say a message: what it names, queue by queue and id by id, before the core handles it.

Queues are refused by their names, whether they exist or not, so nothing is learned of them. Ids are not: one that the
key may not see is put out of the message, and its answer is that of an id that does not exist.

What a completion forwards to where it may not is no reason to do its task again: the task fails for good, in words.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from zq.core.rights.rights import ADMIN_ROLE, Rights
from zq.core.rights.table import COMMAND_RIGHTS, MESSAGE_ROLES, QUERY_RIGHTS, AskRow, Subject
from zq.core.rights.view import View
from zq.core.state.batch import bits
from zq.core.state.holder import pull_key
from zq.core.state.leases import Claimant, Holder, Lease
from zq.core.tasks import settling
from zq.wire.limits import BATCH_TASKS_MAX
from zq.wire.messages import (
    Batch,
    Cancel,
    Command,
    Done,
    Extend,
    Failed,
    Follow,
    Goodbye,
    Group,
    Hello,
    Open,
    Options,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    ToCoordinator,
    Wait,
)

DENIED: Final = "denied"
"""The code of an error or refusal (protocol 5)."""

HIDDEN: Final = "hidden#id"
"""Put in place of an id that may not be seen: nothing is called so, for no batch has a separator in its id, and a task
has a number behind it.
"""

REFUSED_TASKS_MAX: Final = BATCH_TASKS_MAX
"""Tasks that fail by one message, since it forwards to where it may not; what is beyond is answered as stale."""

DENIAL_CHARS: Final = 500
"""Of what is said about a refusal: names in it may be as long as somebody pleases."""


class DeniedError(Exception):
    """A key may not do what a message says; the text goes to who said it."""


def check(view: View, message: ToCoordinator) -> ToCoordinator:
    """Returns the message that may be handled: the same, or one without what may not be seen.

    Raises:
        DeniedError: the key may not say it.
    """
    rights = view.rights
    roles = MESSAGE_ROLES.get(type(message), frozenset())
    if rights.role not in roles:
        what = type(message).__name__.lower()
        raise DeniedError(f"a {rights.role}'s key may not say {what}{_who_may(roles)}")
    match message:
        case Hello() | Goodbye():
            return _check_worker(view, message)
        case Pull():
            return _check_pull(view, message)
        case Query(request, what, arguments):
            ask = _role_row(rights, "ask", what, QUERY_RIGHTS)
            return (
                Query(request, what, _arguments(view, ask, arguments, to_change=False))
                if rights.is_bounded
                else message
            )
        case Command(request, verb, arguments):
            ask = _role_row(rights, "command", verb, COMMAND_RIGHTS)
            return (
                Command(request, verb, _arguments(view, ask, arguments, to_change=True))
                if rights.is_bounded
                else message
            )
    return _check_bounded(view, message) if rights.is_bounded else message


def may_keep(view: View, worker: Holder) -> bool:
    """Whether a worker might say hello as it is now."""
    rights = view.rights
    is_admitted = rights.role in MESSAGE_ROLES[Hello] and rights.is_inside(worker.name)
    return is_admitted and worker.owner in (None, rights.name) and all(map(rights.may_work, worker.queues))


def may_follow(rights: Rights, queue: str | None) -> bool:
    """Whether a key may follow events: of a queue, of a namespace (with a slash at the end), or all that it sees."""
    return rights.role in MESSAGE_ROLES[Follow] and (queue is None or queue.endswith("/") or rights.may_see(queue))


def _check_bounded(view: View, message: ToCoordinator) -> ToCoordinator:
    match message:
        case Settle():
            return _check_settle(view, message)
        case Extend() | Release():
            return _check_tokens(view, message)
        case Wait(id=id):
            return message if view.has_task_or_group(id) else message._replace(id=HIDDEN)
        case Cancel(id=id):
            if not view.has_task_or_group(id, to_change=True):
                return message._replace(id=HIDDEN)
            fault = None if view.may_cancel_group(id) else f"group {id} was opened by another key, which may cancel it"
        case Open(group=group):
            fault = group_fault(view, group)
        case Publish():
            fault = _publication_fault(view, message)
        case Schedule(batch=batch):
            fault = batch_fault(view, batch)
            if fault is None and not view.has_schedule(batch.id, to_change=True):
                fault = f"the name {batch.id} is taken"
        case Follow(queue=queue) if not may_follow(view.rights, queue):
            fault = f"key {view.rights.name} may not look at queue {queue}"
        case _:
            return message  # a submit is checked batch by batch
    if fault is not None:
        raise DeniedError(fault)
    return message


# Batches and groups.


def batch_fault(view: View, batch: Batch) -> str | None:
    """Returns why a key may not put a batch where it says, or None."""
    rights = view.rights
    if not rights.may_submit(batch.queue):
        return _may_not(rights, "submit to", batch.queue)
    return _options_fault(view, batch.options) or _id_fault(view, batch.id)


def group_fault(view: View, group: Group) -> str | None:
    """Returns why a key may not open a group, or None."""
    rights = view.rights
    if group.queue is not None and not rights.may_submit(group.queue):
        return _may_not(rights, "submit to", group.queue)
    return _options_fault(view, group.options) or _id_fault(view, group.id)


def _id_fault(view: View, id: str) -> str | None:
    """Returns why something new may not have an id, or None."""
    if not view.rights.is_inside(id):
        return _outside(view.rights, id)
    return None if view.has_task_or_group(id, to_change=True) else f"the id {id} is taken"


def _options_fault(view: View, options: Options) -> str | None:
    rights = view.rights
    if options.on_dead is not None and not rights.may_submit(options.on_dead):
        return _may_not(rights, "submit to", options.on_dead)
    if options.group is not None:
        id = options.group[0]
        if not rights.is_inside(id) or not view.has_group(id, to_change=True):
            return f"there is no group {id}: open it before its members are submitted"
    return None


def _publication_fault(view: View, message: Publish) -> str | None:
    rights = view.rights
    for name in (message.topic, message.id):
        if not rights.is_inside(name):
            return _outside(rights, name)
    if not view.has_publication(message.id):
        return f"the id {message.id} is taken"
    return _options_fault(view, message.options)


# Those who hold tasks.


def _check_worker(view: View, message: Hello | Goodbye) -> ToCoordinator:
    rights = view.rights
    known = view.books.workers.get(message.name)
    if known is not None and known.owner not in (None, rights.name):
        raise DeniedError(f"the name {message.name} is that of a worker with another key")
    if not rights.is_inside(message.name):
        give = f"; give --namespace {rights.namespaces[0]} or namespace=" if rights.namespaces else ""
        raise DeniedError(f"{_outside(rights, message.name)}{give}")
    for queue in message.queues if isinstance(message, Hello) else ():
        if not rights.may_work(queue):
            raise DeniedError(_may_not(rights, "work on", queue))
    return message


def _check_pull(view: View, message: Pull) -> ToCoordinator:
    rights, books = view.rights, view.books
    if not rights.may_work(message.queue):
        raise DeniedError(_may_not(rights, "work on", message.queue))
    key = pull_key(view.peer, message)
    held, waiting = books.pullers.get(key), books.pulls.get(key)
    owners = [one.owner for one in (held, waiting) if one is not None]
    if not rights.is_inside(message.client) or any(owner not in (None, rights.name) for owner in owners):
        raise DeniedError(f"the name {message.client} is that of a client with another key")
    return message


def _check_settle(view: View, message: Settle) -> Settle:
    """Fails the tasks of completions that forward to where they may not, as far as they are the sender's to end; what
    is of a queue that it may not work on any more, or of a task that it may not see, is stale without a trace.
    """
    done: list[Done] = []
    failed: list[Failed] = []
    reports: list[Failed] = []
    has_task = cache(view.has_task)
    claimant = Claimant(view.peer, view.books.peers.get(view.peer), view.rights.name, message.proofs)
    for one in message.done:
        lease = settling.lease_of(view.books, claimant, one.token, one.id)
        if not (has_task(one.id) if lease is None else _may_end(view, lease)):
            done.append(one._replace(id=HIDDEN))
            continue
        fault = None if lease is None else _forward_fault(view, one)
        if lease is None or fault is None:
            done.append(one)  # what is of no lease is stale, and stores nothing
            continue
        mask = lease.mask & lease.batch.span_mask(one.lo, one.hi)
        if len(failed) + mask.bit_count() > REFUSED_TASKS_MAX:
            done.append(one._replace(id=HIDDEN))
            continue
        text = f"not stored: {fault}"[:DENIAL_CHARS]
        failed += [Failed(one.token, one.id, lease.batch.first + at, text, None, True) for at in bits(mask)]
    for report in message.failed:
        lease = settling.lease_of(view.books, claimant, report.token, report.id)
        is_seen = has_task(report.id) if lease is None else _may_end(view, lease)
        reports.append(report if is_seen else report._replace(id=HIDDEN))
    return message._replace(done=tuple(done), failed=(*reports, *failed))


def _may_end(view: View, lease: Lease) -> bool:
    return view.rights.may_work(lease.batch.queue.name)


def _check_tokens(view: View, message: Extend | Release) -> ToCoordinator:
    """Refuses what is about leases of queues that the key may not work on any more."""
    tokens = (message.token,) if isinstance(message, Extend) else tuple(span.token for span in message.spans)
    for token in tokens:
        lease = view.books.leases.get(token)
        if lease is not None and lease.holder.owner == view.rights.name and not _may_end(view, lease):
            raise DeniedError(_may_not(view.rights, "work on", lease.batch.queue.name))
    return message


def _forward_fault(view: View, done: Done) -> str | None:
    """Returns why a key may not store what a completion forwards, or None; an id that is taken is left alone anyway."""
    for group in done.groups:
        fault = group_fault(view, group)
        if fault is not None:
            return fault
    for batch in done.forwards:
        if not view.rights.may_submit(batch.queue):
            return _may_not(view.rights, "submit to", batch.queue)
        if not view.rights.is_inside(batch.id):
            return _outside(view.rights, batch.id)
        opened = {group.id for group in done.groups}
        if batch.options.group is None or batch.options.group[0] not in opened:
            fault = _options_fault(view, batch.options)
            if fault is not None:
                return fault
    return None


# Queries and commands.


def _role_row(rights: Rights, deed: str, name: str, table: dict[str, AskRow]) -> AskRow:
    row = table.get(name)
    if row is None and rights.role == ADMIN_ROLE and not rights.is_bounded:
        return AskRow(frozenset())  # there is none of the name, which the core will say
    if row is None or rights.role not in row.roles:
        roles = frozenset() if row is None else row.roles
        raise DeniedError(f"a {rights.role}'s key may not {deed} {name}{_who_may(roles)}")
    return row


def _arguments(view: View, ask: AskRow, arguments: dict[str, Any], *, to_change: bool) -> dict[str, Any]:
    """Returns the arguments without what may not be seen; what is of a wrong type is for the core to refuse."""
    rights = view.rights
    if ask.is_of_all and not rights.has_every_queue:
        raise DeniedError(f"key {rights.name} may not do this: it has the rights to some queues only")
    if ask.needs_queue and not _is_about_own(rights, arguments):
        raise DeniedError(f"key {rights.name} has to name a queue: this is about all there are")
    seen = dict(arguments)
    for argument, subject in ask.subjects:
        value = arguments.get(argument)
        if not isinstance(value, str):
            continue
        match subject:
            case Subject.QUEUE | Subject.TARGET:
                is_free = not to_change and rights.may_see(value)
                if not is_free and not rights.may_submit(value):
                    raise DeniedError(_may_not(rights, "change" if to_change else "look at", value))
            case Subject.INSIDE | Subject.TOPICS:
                if subject is Subject.TOPICS and not rights.namespaces and not rights.has_every_queue:
                    raise DeniedError(f"key {rights.name} may not bind: its topics are not bounded as its queues are")
                if not rights.is_inside(value):
                    raise DeniedError(_outside(rights, value))
            case _:
                is_new = to_change and subject in (Subject.OPERATION, Subject.REPLAY) and len(ask.subjects) > 1
                if not view.has(subject, value, to_change=to_change):
                    if is_new:
                        raise DeniedError(f"the id {value} is taken")
                    seen[argument] = HIDDEN
                elif is_new and not rights.is_inside(value):
                    raise DeniedError(_outside(rights, value))
    is_by_place = any(subject in (Subject.INSIDE, Subject.TOPICS) for _, subject in ask.subjects)
    if len(rights.namespaces) == 1 and not is_by_place and seen.get("namespace") is None:
        seen["namespace"] = rights.namespaces[0]  # what is outside would be left out of the answer anyway
    return seen


def _is_about_own(rights: Rights, arguments: dict[str, Any]) -> bool:
    if arguments.get("queue") is not None or (arguments.get("id") is not None and "rate" not in arguments):
        return True
    namespace = arguments.get("namespace")
    is_own = isinstance(namespace, str) and rights.is_inside(f"{namespace}/")
    return is_own and rights.has_every_queue and bool(rights.namespaces)


def _who_may(roles: frozenset[str]) -> str:
    return f", but that of {' or '.join(sorted(roles, reverse=True))}" if roles else ""


def _may_not(rights: Rights, deed: str, queue: str) -> str:
    return f"key {rights.name} may not {deed} queue {queue}"


def _outside(rights: Rights, name: str) -> str:
    places = " or ".join(f"{namespace}/" for namespace in rights.namespaces)
    return f"key {rights.name} may only name what is in {places}, got {name}"
