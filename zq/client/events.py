"""Live events as a program sees them: `for event in client.events(queue="orders"): ...`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

from zq.client.calls import Calls, D, Face
from zq.client.driving import Ask, AsyncDriver, Call, Driver
from zq.errors import ClosedError
from zq.sessions.outcomes import FOREVER
from zq.sessions.streams import Stream
from zq.submit_options import check_items, check_name, check_patience
from zq.task import task_id
from zq.wire.messages import Event as WireEvent
from zq.wire.messages import Events
from zq.wire.questions import EVENT_KINDS

DROPPED = "dropped"
"""The kind of an event that tells how many others did not come, or that the connection broke in between."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened, and is on the coordinator's disk. It is about the tasks lo <= index < hi of a batch,
    or about a worker or a queue.
    """

    time: float  # wall, seconds since 1970, of the coordinator
    kind: str
    queue: str | None = None
    id: str = ""  # of the batch, or of the task when it is one
    lo: int = 0
    hi: int = 0
    worker: str | None = None
    token: int | None = None
    text: str = ""
    dropped: int = 0  # of kind "dropped": how many events did not come; 0 when the connection broke and nobody knows

    @property
    def tasks(self) -> int:
        """How many tasks it is about."""
        return self.hi - self.lo


class _Stream(Face[D]):
    """What both streams do: turns messages into events."""

    def __init__(
        self, calls: Calls, run: D, queue: str | None, kinds: Iterable[str] | None, timeout: float | None
    ) -> None:
        if isinstance(kinds, str):
            raise TypeError(f"expected kinds as a list of texts, got {kinds!r}")
        named = () if kinds is None else tuple(check_items("kinds", kinds))
        unknown = [kind for kind in named if kind not in EVENT_KINDS]
        if unknown:
            raise ValueError(f"expected kinds of {', '.join(EVENT_KINDS)}, got {unknown[0]!r}")
        if timeout is not None and not check_patience("timeout", timeout) >= 0:
            raise ValueError(f"expected timeout as seconds from 0, got {timeout}")
        super().__init__(calls, run)
        self._timeout = timeout
        self._stream = Stream(None if queue is None else check_name("queue", queue), named)
        self._is_open = False
        self._is_closed = False
        self._firsts = 0
        self._events: deque[Event] = deque()

    def _open(self) -> Call[None]:
        """Begins to follow; what happens from its end on is told."""
        if not self._is_open:
            self._is_open = True
            now = self._calls.clock()
            deadline = now + self._calls.timeout
            start = partial(self._calls.post, self._calls.session.follow, now, self._stream, deadline)
            try:
                yield Ask(start, deadline)
            except BaseException:
                self._close()
                raise

    def _next(self) -> Call[Event | None]:
        """Returns the next event, or None when none came in time or the stream is closed."""
        yield from self._open()
        stop_at = FOREVER if self._timeout is None else self._calls.clock() + self._timeout
        while not self._events and not self._is_closed:
            start = partial(self._calls.post, self._calls.session.streams.take, self._stream, stop_at)
            give_up = partial(self._calls.session.streams.leave, self._stream)
            messages = yield Ask(start, stop_at, give_up)
            if not messages:
                return None
            for message in messages:
                self._take(message)
        return self._events.popleft() if self._events else None

    def _take(self, message: Events) -> None:
        if message.is_first:
            self._firsts += 1
            if self._firsts > 1:
                text = "the connection broke: what happened meanwhile is not known"
                self._events.append(Event(message.time, DROPPED, text=text))
        if message.dropped:
            text = f"{message.dropped} events did not fit and were dropped"
            self._events.append(Event(message.time, DROPPED, text=text, dropped=message.dropped))
        self._events += [_event(message.time, one) for one in message.events]

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if self._is_open and not self._calls.link.is_over:
                with suppress(ClosedError):  # closed in between, which ends it, too
                    self._calls.post(self._calls.session.streams.close, self._stream)

    def __del__(self) -> None:
        """Whoever follows no more need not say so: the coordinator is told all the same. Without a warning: to leave a
        loop over events is the way to end it.
        """
        if getattr(self, "_is_open", False) and not sys.is_finalizing():
            self._close()


class EventStream(_Stream[Driver]):
    """Events as they happen, from its making on; an iterator and a context manager. One thread at a time may use it."""

    def __init__(
        self,
        calls: Calls,
        run: Driver,
        queue: str | None,
        kinds: Iterable[str] | None,
        timeout: float | None,
    ) -> None:
        super().__init__(calls, run, queue, kinds, timeout)
        run(self._open())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._run(self._next())
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Ends it; the coordinator is told. An iteration that goes on ends with the events that have come."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncEventStream(_Stream[AsyncDriver]):
    """Events as they happen, from `async with` or the first `async for` on; as `EventStream`, awaited."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._run(self._next())
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Ends it; the coordinator is told."""
        self._close()

    async def __aenter__(self) -> Self:
        await self._run(self._open())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


def _event(time: float, one: WireEvent) -> Event:
    return Event(time, *one)


def shown(event: Event) -> str:
    """Returns what tasks an event is about, for people: `batch#3`, `batch#0-99`, or the id of a task."""
    if not event.id or event.tasks == 0:
        return event.id
    if event.tasks == 1:
        return event.id if event.lo == 0 else task_id(event.id, 0, event.lo)
    return f"{event.id}#{event.lo}-{event.hi - 1}"
