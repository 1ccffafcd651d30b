"""What clients publish: the calls, and the receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, overload

from zq.client.calls import Calls
from zq.client.driving import Call, understood
from zq.client.flow import Entry, Refusal
from zq.errors import BusyError, InvalidTaskError, UnroutableError
from zq.sessions.outcomes import BatchOutcome
from zq.submit_options import SubmitOptions, check_count, check_id, check_items, check_name, make_options
from zq.wire.batch import pack_payloads
from zq.wire.limits import BATCH_TASKS_MAX, PUBLICATION_ID_BYTES_MAX
from zq.wire.messages import Options, Publish, Published, Refused
from zq.wire.options import publication_fault
from zq.wire.topics import check_topic

R = TypeVar("R")

PUBLICATION_BYTES = 128 << 10
"""Payloads that publish_many puts in one publication: in 500 queues they are still within the limit of a
transaction.
"""


class Publication(NamedTuple):
    """What is on disk of one message: the batch in each queue."""

    id: str
    size: int
    entries: dict[str, Entry]  # by queue


class PublishReceipt(Generic[R]):
    """The durable answer to the publishing of one payload: it is in every queue that was bound to its topic.

    Attributes:
        id: of the publication; published again under it, nothing is stored twice.
        receipts: of its tasks, by the name of the queue.
    """

    __slots__ = ("id", "receipts")

    def __init__(self, id: str, receipts: Mapping[str, R]) -> None:
        self.id = id
        self.receipts = receipts

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it reached, sorted; empty only when it was published with is_mandatory=False."""
        return tuple(self.receipts)

    def __repr__(self) -> str:
        return f"<PublishReceipt {self.id}, queues {', '.join(self.queues) or 'none'}>"


class PublishReceipts(Sequence[PublishReceipt[R]], Generic[R]):
    """The receipts of a publish_many, in the order of its payloads; each is made when it is looked at."""

    def __init__(self, make: Callable[[Entry, int], R], publications: Sequence[Publication]) -> None:
        self._make = make
        self._publications = publications
        self._places = [(one, index) for one in publications for index in range(one.size)]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> PublishReceipt[R]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[PublishReceipt[R]]: ...

    def __getitem__(self, place: int | slice) -> PublishReceipt[R] | Sequence[PublishReceipt[R]]:
        if isinstance(place, slice):
            return [self._receipt(*one) for one in self._places[place]]
        return self._receipt(*self._places[place])

    def __repr__(self) -> str:
        return f"<PublishReceipts of {len(self)} payloads>"

    def _receipt(self, publication: Publication, index: int) -> PublishReceipt[R]:
        receipts = {queue: self._make(entry, index) for queue, entry in publication.entries.items()}
        return PublishReceipt(publication.id, receipts)


# Publishing.


def publish_one(
    calls: Calls, topic: str, payload: Any, id: str | None, options: SubmitOptions, *, is_mandatory: bool
) -> Call[Publication]:
    """Publishes one payload."""
    one = partial(_publish_one, calls, payload=payload, id=id, is_mandatory=is_mandatory)
    return calls.hooked(topic, payload, options, lambda name, made: one(name, options=made))


def _publish_one(
    calls: Calls, topic: str, payload: Any, id: str | None, options: SubmitOptions, *, is_mandatory: bool
) -> Call[Publication]:
    made = _check(topic, options)
    data = calls.pack(payload)
    if id is not None and len(check_id(id).encode()) > PUBLICATION_ID_BYTES_MAX:
        raise ValueError(f"expected the id of a publication with at most {PUBLICATION_ID_BYTES_MAX} bytes, got {id!r}")
    found = yield from _send(calls, topic, id, made, [data], is_mandatory=is_mandatory)
    if isinstance(found, Refused):
        raise _error(topic, found, ())
    return found


def publish_many(
    calls: Calls, topic: str, payloads: Iterable[Any], batch_size: int, options: SubmitOptions, *, is_mandatory: bool
) -> Call[tuple[list[Publication], Refusal | None]]:
    """Publishes payloads in batches; returns the Publications of those that were stored, and the error to raise if
    others were refused.
    """
    many = partial(_publish_many, calls, payloads=payloads, batch_size=batch_size, is_mandatory=is_mandatory)
    return calls.hooked(topic, None, options, lambda name, made: many(name, options=made))


def _publish_many(
    calls: Calls, topic: str, payloads: Iterable[Any], batch_size: int, options: SubmitOptions, *, is_mandatory: bool
) -> Call[tuple[list[Publication], Refusal | None]]:
    check_count("batch_size", batch_size, 1, BATCH_TASKS_MAX)
    check_items("payloads", payloads)
    made = _check(topic, options)
    stored: list[Publication] = []
    refused: list[int] = []
    first_refusal: Refused | None = None
    count = 0
    try:
        for part in calls.cut(payloads, batch_size, PUBLICATION_BYTES):
            found = yield from _send(calls, topic, None, made, part, is_mandatory=is_mandatory)
            if isinstance(found, Refused):
                first_refusal = first_refusal or found
                refused += range(count, count + len(part))
                if found.code == "unroutable":
                    break  # nor would the others reach anybody
            else:
                stored.append(found)
            count += len(part)
    except Exception as error:
        done = sum(one.size for one in stored)
        error.add_note(f"zq: of the first {count} payloads, {done} were published before this")
        raise
    return stored, None if first_refusal is None else _error(topic, first_refusal, tuple(refused))


def _check(topic: str, options: SubmitOptions) -> Options:
    check_topic(check_name("topic", topic))
    made = make_options(**options)
    fault = publication_fault(made)
    if fault is not None:
        raise ValueError(fault)
    return made


@understood
def _send(
    calls: Calls, topic: str, id: str | None, options: Options, part: list[bytes], *, is_mandatory: bool
) -> Call[Publication | Refused]:
    """Publishes one batch."""
    ends, blob = pack_payloads(part)
    message = Publish(0, calls.session.make_id() if id is None else id, topic, options, is_mandatory, ends, blob)
    answer: Published = yield from calls.ask(message)
    if answer.refused is not None:
        return answer.refused
    size = len(part)
    entries = {one.queue: Entry(BatchOutcome(one.id, size, 0, size), one.position, one.eta) for one in answer.stored}
    return Publication(message.id, size, entries)


def _error(topic: str, refused: Refused, positions: tuple[int, ...]) -> Refusal:
    if refused.code == "busy":
        return BusyError(refused.retry_after or 0.0, refused.reason, positions)
    if refused.code == "unroutable":
        return UnroutableError(topic, refused.reason)
    return InvalidTaskError(refused.reason, positions)
