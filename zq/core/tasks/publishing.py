"""Publishing: one task, or one batch, in every queue that is bound to a topic, in one transaction; and the bindings
themselves.

All or none: when one of the queues would refuse its batch, the publication is refused and nothing is stored. So a
publisher hears one of the three answers of a submit (stored, surely not stored, unknown) and can do the same about
each; with a part stored, coming back later would mean to know which. The price is that a full queue holds up who
publishes to it: its owner widens its limit, or unbinds it.

Queues that the publisher's key may not submit to are as if they were not bound: whoever binds one of his neither breaks
what others publish, nor gets what is not meant for him.

A publication is known by its id as long as any of its batches is, and a repeated one gets the same answer, whatever has
been bound since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zq.core import tables
from zq.core.accounts import BusyRequestError
from zq.core.arguments import InvalidRequestError, headers_in, judged, name_in, optional_name_in, prefix, queue_in
from zq.core.bindings import Binding, Filter
from zq.core.measures.flows import topic_origin
from zq.core.pages import Budget, Page, page
from zq.core.state import places
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.places import FinishedKind
from zq.core.state.step import Step
from zq.core.tasks import admission
from zq.wire.limits import FANOUT_BYTES_MAX, FANOUT_QUEUES_MAX, HEADERS_MAX
from zq.wire.messages import Batch, Options, Publish, Published, Refused, Stored
from zq.wire.options import publication_fault
from zq.wire.topics import check_pattern, check_topic

TOPIC_HEADER = "zq-topic"
"""The header in which a task says to which topic it was published."""

FILTERS_MAX = 1000
"""Bindings of a queue with one pattern, each by other headers: they are taken away by one command."""

CROWDED_RETRY_AFTER = 0.1
"""Seconds, when other publications have written enough in this step."""

BOUND_RETRY_AFTER = 5.0
"""Seconds, when too many queues are bound: somebody has to unbind some."""


def publish(books: Books, step: Step, peer: Peer, message: Publish) -> None:
    """Stores a publication in all queues that are bound to its topic, or in none."""
    known = find(step, message.id)
    if known is not None:
        books.count("repeated")
        step.send(peer, Published(message.request, _repeat(books, step, message, known), None))
        return
    try:
        names = _reached(books, message.topic, message.options.headers or {})
    except BusyRequestError as error:
        _refuse(books, step, peer, message, Refused(message.id, error.code, BOUND_RETRY_AFTER, str(error)))
        return
    may_submit = step.may_submit
    batches = _batches(message, names if may_submit is None else [name for name in names if may_submit(name)])
    refused = _refusal(books, step, message, batches)
    if refused is not None:
        _refuse(books, step, peer, message, refused)
        return
    step.fanout_bytes += len(message.blob) * len(batches)
    stored = []
    origin = topic_origin(message.topic)
    for batch in batches:
        books.measures.flows.note(origin, batch.queue, batch.tasks, step.wall)
        accepted = admission.store(books, step, books.queue(step, batch.queue), batch)
        stored.append(Stored(batch.queue, *accepted[:3]))
    _remember(books, step, message.id, [(batch.queue, batch.id) for batch in batches])
    books.count("published")
    step.send(peer, Published(message.request, tuple(stored), None))


def _refuse(books: Books, step: Step, peer: Peer, message: Publish, refused: Refused) -> None:
    books.count(refused.code)
    step.send(peer, Published(message.request, (), refused))


def _batches(message: Publish, names: list[str]) -> list[Batch]:
    with_topic = {**(message.options.headers or {}), TOPIC_HEADER: message.topic}
    options: Options = message.options._replace(headers=with_topic)
    return [
        Batch(f"{message.id}.{number}", name, options, message.ends, message.blob)
        for number, name in enumerate(names, 1)
    ]


def _refusal(books: Books, step: Step, message: Publish, batches: list[Batch]) -> Refused | None:
    """Returns why nothing of a publication can be stored, or None."""
    reason = _fault(message)
    if reason is not None:
        return Refused(message.id, "invalid", None, reason)
    if len(message.blob) * len(batches) > FANOUT_BYTES_MAX:  # others have bound them, and may unbind them
        reason = (
            f"{len(message.blob)} bytes in {len(batches)} queues are above the limit of {FANOUT_BYTES_MAX} together"
        )
        return Refused(message.id, "busy", BOUND_RETRY_AFTER, reason)
    if step.tx.is_full:
        return Refused(message.id, "busy", admission.STORE_RETRY_AFTER, step.tx.why_full)
    if not batches and message.is_mandatory:
        return Refused(message.id, "unroutable", None, f"no queue is bound to topic {message.topic} with these headers")
    queues = [(books.queue(step, batch.queue), batch) for batch in batches]
    # Those that make room by burying their oldest come last: in vain it would be, if another one refuses.
    for queue, batch in sorted(queues, key=lambda one: one[0].policies.overflow is not None):
        if places.find(step, batch.id) is not None:
            return Refused(message.id, "invalid", None, f"there is a task {batch.id} of another origin")
        refused = admission.refusal(books, step, queue, batch)
        if refused is not None:
            return refused._replace(id=message.id)
    reached = [queue for queue, _ in queues]
    reason = books.shares.refusal(reached, len(message.ends) >> 2, len(message.blob))
    if reason is not None:
        reason = reason if step.may_submit is None else reason.partition(":")[0]
        return Refused(message.id, "busy", admission.SHARE_RETRY_AFTER, reason)
    if step.fanout_bytes and step.fanout_bytes + len(message.blob) * len(batches) > FANOUT_BYTES_MAX:
        return Refused(message.id, "busy", CROWDED_RETRY_AFTER, "much is being published at this moment")
    return None


def _fault(message: Publish) -> str | None:
    """Returns what is wrong with a publication, whatever the queues hold."""
    options = message.options
    fault = publication_fault(options)
    if fault is not None:
        return fault
    if len(options.headers or {}) >= HEADERS_MAX:
        return f"expected at most {HEADERS_MAX - 1} headers, one is for the topic"
    return None


# What was published.


def find(step: Step, id: str) -> list[tuple[str, str]] | None:
    """Returns queue and batch id of everything that a publication became, or None when it is not known."""
    value = step.tx.get(tables.PUBLICATIONS, id.encode())
    return None if value is None else list(tables.unpack(value))


def _remember(books: Books, step: Step, id: str, parts: list[tuple[str, str]]) -> None:
    step.tx.put(tables.PUBLICATIONS, id.encode(), tables.pack(parts))
    places.enter_finished(books, step, id, FinishedKind.PUBLICATION)


def forget(books: Books, step: Step, id: str) -> bool:
    """Forgets a publication, unless a batch of it is still known: then it is looked at again later. Returns whether it
    was forgotten.
    """
    if any(places.find(step, batch_id) is not None for _, batch_id in find(step, id) or ()):
        places.enter_finished(books, step, id, FinishedKind.PUBLICATION, is_new=False)
        return False
    step.tx.delete(tables.PUBLICATIONS, id.encode())
    return True


def _repeat(books: Books, step: Step, message: Publish, known: list[tuple[str, str]]) -> tuple[Stored, ...]:
    stored = []
    for queue, id in known:
        batch = Batch(id, queue, message.options, message.ends, message.blob)
        stored.append(Stored(queue, *admission.repeat(books, batch, places.find(step, id))[:3]))
    return tuple(stored)


# Bindings.


def bind(books: Books, step: Step, arguments: dict[str, Any]) -> bool:
    """Binds a queue to a pattern; returns False when it is already bound so."""
    binding = Binding(_pattern(arguments), queue_in(arguments, "queue"), _filter(arguments) or ())
    bindings = books.bindings
    if binding in bindings.numbers:
        return False
    books.ceilings.check_store(step)
    books.ceilings.check_made(step, "bindings", len(bindings))
    if sum(1 for _ in bindings.of(binding.queue, binding.pattern)) >= FILTERS_MAX:
        raise InvalidRequestError(
            f"queue {binding.queue} is bound to {binding.pattern} {FILTERS_MAX} times, by headers"
        )
    if bindings.alike[binding.pattern, binding.headers] >= FANOUT_QUEUES_MAX:
        alike = f"{FANOUT_QUEUES_MAX} queues are bound to {binding.pattern} with the same headers or none"
        raise BusyRequestError(f"{alike}, which is the most that a publication may reach")
    books.queue_for(step, binding.queue).save_later()
    books.ceilings.note_made(step, "bindings", binding)
    bindings.add(binding, bindings.last_number + 1)
    step.tx.put(tables.BINDINGS, tables.binding_key(bindings.last_number), tables.pack(binding))
    return True


def unbind(books: Books, step: Step, arguments: dict[str, Any]) -> int:
    """Removes the bindings of a queue with a pattern: those with exactly the headers if any are given, else all;
    returns how many.
    """
    wanted = _filter(arguments)
    found = list(books.bindings.of(name_in(arguments, "queue"), _pattern(arguments)))
    return remove(books, step, [one for one in found if wanted is None or one.headers == wanted])


def remove(books: Books, step: Step, bindings: list[Binding]) -> int:
    """Removes bindings; returns how many."""
    for binding in bindings:
        step.tx.delete(tables.BINDINGS, tables.binding_key(books.bindings.remove(binding)))
        books.accounts.note_gone("bindings", binding)
    return len(bindings)


def list_bindings(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    """Answers the query `bindings`: in the order in which they were made."""
    queue, inside = optional_name_in(arguments, "queue"), prefix(arguments)

    def find(after: int, budget: Budget) -> Iterator[tuple[int, dict[str, Any] | None]]:
        found = _all_after(step, after, budget) if queue is None else _own_after(books, queue, after)
        for number, one in found:
            row = {"pattern": one.pattern, "queue": one.queue, "headers": dict(one.headers)}
            yield number, row if one.queue.startswith(inside) else None

    return page(arguments, 0, find)


def _all_after(step: Step, number: int, budget: Budget) -> Iterator[tuple[int, Binding]]:
    if not 0 <= number < tables.KEY_NUMBER_MAX:
        raise InvalidRequestError("expected cursor as an earlier answer to the same question has it")
    for key, value in step.tx.scan(tables.BINDINGS, tables.binding_key(number + 1)):
        budget.read(len(value))
        yield int.from_bytes(key, "big"), Binding(*tables.unpack(value))


def _own_after(books: Books, queue: str, number: int) -> Iterator[tuple[int, Binding]]:
    numbers = books.bindings.numbers
    return iter([(numbers[one], one) for one in books.bindings.of(queue) if numbers[one] > number])


def match(books: Books, step: Step, arguments: dict[str, Any]) -> list[str]:  # noqa: ARG001 - a query
    """Answers the query `match`: which queues a publication would reach now."""
    topic = judged(check_topic, name_in(arguments, "topic"))
    return _reached(books, topic, headers_in(arguments) or {})


def _reached(books: Books, topic: str, headers: dict[str, str]) -> list[str]:
    """Returns the queues that a publication reaches; raises BusyRequestError when others have bound too many."""
    found = books.bindings.match(topic, headers)
    if len(found) > FANOUT_QUEUES_MAX:
        raise BusyRequestError(f"topic {topic} reaches {len(found)} queues, the limit is {FANOUT_QUEUES_MAX}")
    return found


def _pattern(arguments: dict[str, Any]) -> str:
    return judged(check_pattern, name_in(arguments, "pattern"))


def _filter(arguments: dict[str, Any]) -> Filter | None:
    found = headers_in(arguments)
    return None if found is None else tuple(sorted(found.items()))
