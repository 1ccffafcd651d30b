"""The subscriber to a `patterns.guide.Publisher`: last values first, then every update, and a report of each gap.

Per topic: subscribe; the first beat proves that the subscription works; ask for a snapshot, and hold updates meanwhile;
give out the snapshot, then the held updates after it, then what comes. `next` is the number that is expected: a higher
one, of an update or a beat, is a gap. A topic whose publisher is a new one begins anew.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import zmq

from patterns.guide.publisher import BEAT, UPDATE, encode_topic
from patterns.guide.socket_owner import SocketOwner
from patterns.sockets import HIGH_WATER_MARK, Frames, connect, make_socket, unpack_number
from zq import ClosedError, TimedOutError

SNAPSHOT_INTERVAL = 1.0
"""Seconds after which a snapshot that did not come is asked for again."""

HELD_UPDATES_MAX = 10_000
"""Updates of a topic that are kept while its snapshot is on its way; more are dropped, and reported as a gap."""


@dataclass(frozen=True, slots=True)
class Update:
    """A new value of a key; `is_snapshot` says that it is the last one from before."""

    topic: str
    key: str
    number: int
    value: bytes
    is_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """The updates `first` to `last` of a topic were missed.

    `last` is None when the publisher was started anew: of the old one, all from `first` on, if there were any.
    """

    topic: str
    first: int
    last: int | None


@dataclass(slots=True)
class _Topic:
    name: str
    publisher: bytes | None = None
    next: int | None = None  # the number that is expected; None before the first snapshot
    wants_snapshot: bool = False
    asked_at: float = 0.0
    held: deque[tuple[int, Update | None]] = field(default_factory=lambda: deque(maxlen=HELD_UPDATES_MAX))


class Subscriber(SocketOwner):
    """Follows topics of a publisher; one thread uses it, and a context manager closes it.

    Guarantee: of each topic, from its first snapshot on, updates come in order and once, and what is missing is
    reported as a `Gap` before the next update, or at the next beat: sent = received + reported.

    Args:
        updates: the publisher's address of that name.
        topics: one or more, as the publisher names them.
        high_water_mark: updates that may wait here; those that come on top are lost, and reported.

    Attributes:
        malformed: messages that were not what a publisher sends.

    Raises:
        ValueError: there is no topic, or a topic or address cannot be one.
    """

    def __init__(
        self, *, updates: str, snapshots: str, topics: Iterable[str], high_water_mark: int = HIGH_WATER_MARK
    ) -> None:
        self.malformed = 0
        self._topics = {encode_topic(name): _Topic(name) for name in topics}
        if not self._topics:
            raise ValueError("expected one or more topics, got none")
        super().__init__()
        self._events: deque[Update | Gap] = deque()
        with self._opening():
            self._updates = make_socket(self._context, zmq.SUB, high_water_mark=high_water_mark, linger=0)
            self._snapshots = make_socket(self._context, zmq.DEALER, linger=0)
            for name in self._topics:
                self._updates.setsockopt(zmq.SUBSCRIBE, name)
            connect(self._updates, updates)
            connect(self._snapshots, snapshots)
        self._poller = zmq.Poller()
        self._poller.register(self._updates, zmq.POLLIN)
        self._poller.register(self._snapshots, zmq.POLLIN)

    def receive(self, timeout: float | None = None) -> Update | Gap:
        """Returns what comes next.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimedOutError: nothing came in time.
            ClosedError: the subscriber is closed.
        """
        if self._updates.closed:
            raise ClosedError("the subscriber is closed")
        stop_at = None if timeout is None else time.monotonic() + timeout
        while not self._events:
            now = time.monotonic()
            self._ask_for_snapshots(now)
            patience = SNAPSHOT_INTERVAL if stop_at is None else min(max(stop_at - now, 0.0), SNAPSHOT_INTERVAL)
            found = self._poller.poll(int(patience * 1000 + 0.999))
            for socket, _ in found:
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                    self._take_snapshot(frames) if socket is self._snapshots else self._take_update(frames)
                except ValueError:
                    self.malformed += 1
            if not self._events and stop_at is not None and now >= stop_at:
                raise TimedOutError(f"nothing came within {timeout:g} s; is the publisher up?")
        return self._events.popleft()

    def refresh(self, topic: str) -> None:
        """Asks for the last values of a topic again, for example after a gap; they come as snapshot updates.

        Raises:
            ValueError: it is not one of the topics.
        """
        found = self._topics.get(encode_topic(topic))
        if found is None:
            raise ValueError(f"expected one of the topics that were subscribed, got {topic!r}")
        found.wants_snapshot = found.publisher is not None  # else the first one is still to come

    def _ask_for_snapshots(self, now: float) -> None:
        for name, topic in self._topics.items():
            if topic.wants_snapshot and topic.asked_at <= now - SNAPSHOT_INTERVAL:
                topic.asked_at = now
                try:
                    self._snapshots.send(name, zmq.NOBLOCK)
                except zmq.Again:  # the publisher has not answered a thousand times; asked again later
                    pass

    def _take_update(self, frames: Frames) -> None:
        topic, update = self._topics.get(frames[0]), None
        match frames[1:]:
            case [kind, publisher, number] if kind == BEAT:
                pass
            case [kind, publisher, number, key, value] if kind == UPDATE and topic is not None:
                update = Update(topic.name, key.decode(), unpack_number(number), value)
            case _:
                raise ValueError(f"expected an update or a beat, got {len(frames)} frames")
        if topic is None or len(publisher) != 8:
            raise ValueError("expected a topic that was subscribed, and a publisher of 8 bytes")
        if topic.publisher != publisher:
            self._begin(topic, publisher)
        if topic.next is None:
            topic.held.append((unpack_number(number), update))
        else:
            self._advance(topic, unpack_number(number), update)

    def _begin(self, topic: _Topic, publisher: bytes) -> None:
        if topic.next is not None:
            self._events.append(Gap(topic.name, topic.next, None))
        topic.publisher = publisher
        topic.next = None
        topic.held.clear()
        topic.wants_snapshot = True
        topic.asked_at = float("-inf")

    def _take_snapshot(self, frames: Frames) -> None:
        topic = self._topics.get(frames[0])
        if topic is None or len(frames) < 3 or len(frames) % 3:
            raise ValueError(f"expected a snapshot of a topic that was subscribed, got {len(frames)} frames")
        number = unpack_number(frames[2])
        values = [
            Update(topic.name, key.decode(), unpack_number(at), value, is_snapshot=True)
            for key, at, value in zip(frames[3::3], frames[4::3], frames[5::3], strict=True)
        ]
        if not topic.wants_snapshot or topic.publisher != frames[1]:
            return  # one that was asked for twice, or of a publisher that we have not heard yet
        topic.wants_snapshot = False
        topic.asked_at = float("-inf")
        values.sort(key=lambda value: value.number)
        self._events.extend(values)
        if topic.next is None:
            topic.next = number + 1
            while topic.held:
                self._advance(topic, *topic.held.popleft())

    def _advance(self, topic: _Topic, number: int, update: Update | None) -> None:
        """Compares the number of an update, or of the last one before a beat, with what is expected."""
        if topic.next is None or number < topic.next:
            return  # it is in the snapshot, or was reported
        last_missing = number if update is None else number - 1
        if last_missing >= topic.next:
            self._events.append(Gap(topic.name, topic.next, last_missing))
        if update is not None:
            self._events.append(update)
        topic.next = number + 1
