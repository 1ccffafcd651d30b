"""Namespaces: the names that a client or worker says and hears, as the coordinator knows them.

A namespace is the front of a name, `team-a` in `team-a/orders`; it may have several parts, `team-a/eu`. Whoever works
in a namespace says `orders` and means `team-a/orders`: every message that leaves is put into the namespace, and every
one that comes is taken out of it, here and nowhere else, so that sessions, faces and handlers know nothing of it. Ids,
groups, topics, patterns and the names of workers are put into it like queues, so two teams may use the same.

A name that begins with `/` is a whole name, and reaches out of the namespace: `/audit` is the queue `audit`. What is
outside is heard like that, too. This is a convention, not a wall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zq.errors import short
from zq.wire.messages import (
    Accepted,
    Answer,
    Assign,
    Assignment,
    Batch,
    Cancel,
    Command,
    Done,
    Error,
    Event,
    Events,
    Follow,
    FromCoordinator,
    Goodbye,
    Group,
    Hello,
    Open,
    Options,
    Publish,
    Published,
    Pull,
    Query,
    Receipt,
    Schedule,
    Settle,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
)
from zq.wire.questions import NAMES_IN_COMMANDS, NAMES_IN_QUERIES, NAMES_IN_SCHEDULE, Question, Shape
from zq.wire.topics import MANY, NAMESPACE_SEPARATOR, ONE

NAMESPACE_BYTES_MAX: Final = 64
"""Half of a name: something must be left for what is in it."""

HEADERS: Final = ("zq-id", "zq-queue", "zq-topic")
"""Headers that the coordinator writes, and that are names."""

ASKED_MAX: Final = 10_000
"""Questions whose answers are waited for: more than a program has callers at a time. An answer that comes later than
so many others is one that nobody waits for any more.
"""


UNKNOWN: Final = Question(frozenset(), {})
"""What only a newer coordinator knows: nothing in it is known to be a name."""


def check_namespace(text: Any) -> str:
    """Returns a namespace, if it is one.

    Raises:
        ValueError: it is not parts between slashes, or too long.
    """
    if not isinstance(text, str) or not text or len(text.encode(errors="replace")) > NAMESPACE_BYTES_MAX:
        raise ValueError(f"expected a namespace of 1 to {NAMESPACE_BYTES_MAX} bytes, got {short(text)}")
    is_clean = text.isprintable() and not any(one in text for one in (" ", "#", ONE, MANY))
    if not is_clean or not all(text.split(NAMESPACE_SEPARATOR)):
        raise ValueError(
            f"expected a namespace like team-a or team-a/eu, without spaces and wildcards, got {short(text)}"
        )
    return text


class Namespace:
    """Puts the messages of one connection into a namespace, and takes them out of it.

    An answer does not say what was asked: where there are names in it is remembered by the number of the request.

    Raises:
        ValueError: the name cannot be one.
    """

    def __init__(self, name: str) -> None:
        self.name = check_namespace(name)
        self._prefix = name + NAMESPACE_SEPARATOR
        self._asked: dict[int, Shape | None] = {}

    def whole(self, name: str) -> str:
        """Returns the whole name of what is called so in the namespace."""
        return name[1:] if name.startswith(NAMESPACE_SEPARATOR) else self._prefix + name

    def short(self, name: str) -> str:
        """Returns what a whole name is called in the namespace."""
        return name[len(self._prefix) :] if name.startswith(self._prefix) else NAMESPACE_SEPARATOR + name

    # Messages to the coordinator.

    def into(self, message: ToCoordinator) -> ToCoordinator:
        """Returns a message with whole names."""
        whole = self.whole
        match message:
            case Submit(request, batches):
                return Submit(request, tuple(map(self._whole_batch, batches)))
            case Settle(_, _, done, failed):
                ended = tuple(one._replace(id=whole(one.id)) for one in failed)
                return message._replace(done=tuple(map(self._whole_done, done)), failed=ended)
            case Hello():
                queues = tuple(map(whole, message.queues))
                return message._replace(name=whole(message.name), queues=queues)
            case Query(request, what, arguments):
                return Query(
                    request, what, self._whole_arguments(request, NAMES_IN_QUERIES.get(what, UNKNOWN), arguments)
                )
            case Command(request, verb, arguments):
                return Command(
                    request, verb, self._whole_arguments(request, NAMES_IN_COMMANDS.get(verb, UNKNOWN), arguments)
                )
            case Open(request, group):
                return Open(request, self._whole_group(group))
            case Publish():
                options = _renamed(message.options, self.whole)
                return message._replace(id=whole(message.id), topic=whole(message.topic), options=options)
            case Pull():
                return message._replace(client=whole(message.client), queue=whole(message.queue))
            case Schedule():
                self._remember(message.request, NAMES_IN_SCHEDULE)
                return message._replace(batch=self._whole_batch(message.batch))
            case Follow():  # of all queues: a name that ends with the separator stands for those of the namespace
                return message._replace(queue=self._prefix if message.queue is None else whole(message.queue))
            case Wait() | Cancel():
                return message._replace(id=whole(message.id))
            case Goodbye():
                return message._replace(name=whole(message.name))
            case _:
                return message

    def _whole_batch(self, batch: Batch) -> Batch:
        id, queue, options, ends, blob = batch
        return Batch(self.whole(id), self.whole(queue), _renamed(options, self.whole), ends, blob)

    def _whole_done(self, done: Done) -> Done:
        forwards = tuple(map(self._whole_batch, done.forwards))
        return done._replace(
            id=self.whole(done.id), forwards=forwards, groups=tuple(map(self._whole_group, done.groups))
        )

    def _whole_group(self, group: Group) -> Group:
        queue = None if group.queue is None else self.whole(group.queue)
        return group._replace(id=self.whole(group.id), queue=queue, options=_renamed(group.options, self.whole))

    def _whole_arguments(self, request: int, question: Question, arguments: dict[str, Any]) -> dict[str, Any]:
        self._remember(request, question.answer)
        named = {
            name: self.whole(value) if name in question.arguments and isinstance(value, str) else value
            for name, value in arguments.items()
        }
        return {**named, "namespace": self.name}

    def _remember(self, request: int, answer: Shape | None) -> None:
        if answer != {}:
            self._asked[request] = answer
            if len(self._asked) > ASKED_MAX:
                del self._asked[next(iter(self._asked))]

    # Messages from the coordinator.

    def out_of(self, message: FromCoordinator) -> FromCoordinator:
        """Returns a message with the names that they have in the namespace."""
        short = self.short
        match message:
            case Receipt(request, accepted, refused):
                receipts = tuple(map(self._short_accepted, accepted))
                return Receipt(request, receipts, tuple(one._replace(id=short(one.id)) for one in refused))
            case Assign(assignments):
                return Assign(tuple(map(self._short_assignment, assignments)))
            case Tasks(request, assignments):
                return Tasks(request, tuple(map(self._short_assignment, assignments)))
            case Answer(request, value):
                return Answer(request, self._short_value(value, self._asked.pop(request, {})))
            case Error():
                self._asked.pop(-1 if message.request is None else message.request, None)
                return message
            case Events():
                return message._replace(events=tuple(map(self._short_event, message.events)))
            case Published(request, stored, refused):
                kept = tuple(one._replace(queue=short(one.queue), id=short(one.id)) for one in stored)
                return Published(request, kept, None if refused is None else refused._replace(id=short(refused.id)))
            case _:
                return message

    def _short_event(self, event: Event) -> Event:
        queue, worker = [None if one is None else self.short(one) for one in (event.queue, event.worker)]
        return event._replace(queue=queue, id=self.short(event.id) if event.id else "", worker=worker)

    def _short_accepted(self, one: Accepted) -> Accepted:
        first = None if one.duplicate_of is None else self.short(one.duplicate_of)
        return one._replace(id=self.short(one.id), duplicate_of=first)

    def _short_assignment(self, one: Assignment) -> Assignment:
        return one._replace(
            id=self.short(one.id), queue=self.short(one.queue), options=self._short_options(one.options)
        )

    def _short_options(self, options: Options) -> Options:
        options = _renamed(options, self.short)
        if options.headers is not None and any(name in options.headers for name in HEADERS):
            headers = {name: self.short(text) if name in HEADERS else text for name, text in options.headers.items()}
            options = options._replace(headers=headers)
        return options

    def _short_value(self, value: Any, shape: Shape | None) -> Any:
        """Shortens the names in the value of an answer, or in a part of it."""
        if isinstance(value, list | tuple):
            return [self._short_value(one, shape) for one in value]
        if shape is None:
            if isinstance(value, dict):
                return {self.short(name): one for name, one in value.items()}
            return self.short(value) if isinstance(value, str) else value
        if isinstance(value, dict):
            return {name: self._short_value(one, shape[name]) if name in shape else one for name, one in value.items()}
        return value


def _renamed(options: Options, rename: Callable[[str], str]) -> Options:
    """Returns options with other names in them, but for those in headers."""
    if options.on_dead is not None:
        options = options._replace(on_dead=rename(options.on_dead))
    if options.group is not None:
        options = options._replace(group=(rename(options.group[0]), options.group[1]))
    return options
