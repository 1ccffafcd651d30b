"""The publisher of the guide's Clone pattern: numbered updates for all, and snapshots of last values for who comes
late.

    updates    (XPUB)    [topic NUL, UPDATE, publisher, number, key, value]
                         [topic NUL, BEAT, publisher, number of the last update]
    snapshots  (ROUTER)  <- [topic NUL]
                         -> [topic NUL, publisher, number, key, its number, value, key, its number, value, ...]

Numbers are 8 bytes, big-endian, from 1 in each topic; `publisher` is drawn at the start, so that a new one is told from
the old. The NUL ends a topic, since ZeroMQ filters by prefix. A beat follows each subscription at once, and proves to
the subscriber that its subscription works: a snapshot that it asks for after that has no gap to the updates that it
will get.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque

import zmq

from patterns.guide.device import Device
from patterns.sockets import Frames, pack_number, send_now, unpack_number
from zq import ClosedError, TimedOutError

UPDATE = b"\x01"
BEAT = b"\x02"

OUTBOX_MAX = 10_000
"""Updates that `publish` may be ahead of the socket's thread; beyond them it waits."""

TOPICS_MAX = 1000
"""Topics of one publisher: each is beaten for."""

KEYS_MAX = 10_000
"""Keys of one topic, whose last values are kept and make its snapshot: a message of three frames for each."""

TOPIC_BYTES_MAX = 128


class Publisher(Device):
    """Publishes numbered updates of topics, and keeps the last value of each key; any thread may call `publish`.

    Guarantee: each subscriber gets each update of its topics in order, or can tell exactly which ones it missed. Slow
    subscribers are never waited for. Nothing is on disk: last values go with the publisher.

    Args:
        updates: where subscribers subscribe; port `*` takes a free one.
        snapshots: where they ask for last values.
        heartbeat_interval: seconds between beats, by which a subscriber notices that the last updates are missing.
        high_water_mark: updates that wait for one subscriber; those that come on top are lost to it.

    Attributes:
        updates, snapshots: where they were bound, known once it runs.
        undeliverable: snapshots for subscribers that were gone.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, *, updates: str, snapshots: str, heartbeat_interval: float = 1.0, high_water_mark: int = 1000
    ) -> None:
        super().__init__()
        if not heartbeat_interval > 0 or high_water_mark < 1:
            raise ValueError(
                f"expected heartbeat_interval above 0 and high_water_mark from 1, got {heartbeat_interval} and {high_water_mark}"
            )
        self.updates = updates
        self.snapshots = snapshots
        self.undeliverable = 0
        self._high_water_mark = high_water_mark
        self._publisher = secrets.token_bytes(8)
        self._interval = heartbeat_interval
        self._beat_at = 0.0
        self._room = threading.Condition()  # guards the next three
        self._outbox: deque[Frames] = deque()
        self._numbers: dict[bytes, int] = {}  # by topic: its last update
        self._values: dict[bytes, dict[bytes, tuple[int, bytes]]] = {}  # by topic and key: number and last value
        self._sent: dict[bytes, int] = {}  # by topic: the last update that has left; the socket's thread alone

    def publish(self, topic: str, value: bytes, key: str = "", timeout: float | None = None) -> int:
        """Publishes an update of a key of a topic, and returns its number.

        Args:
            topic: what subscribers name; up to 128 bytes without NUL.
            value: the key's new value.
            key: what the value is of; snapshots have the last value of each.
            timeout: seconds to wait while OUTBOX_MAX updates have not left yet; None waits as long as it takes.

        Raises:
            ValueError: the topic cannot be one, or there are too many topics or keys.
            TimedOutError: the updates before it have not left in time; it was not published.
            ClosedError: the publisher was stopped.
        """
        name, key_bytes = encode_topic(topic), key.encode()
        with self._room:
            is_free = self._room.wait_for(lambda: len(self._outbox) < OUTBOX_MAX or self._is_stopping, timeout)
            if self._is_stopping:
                raise ClosedError("the publisher was stopped")
            if not is_free:
                raise TimedOutError(f"{OUTBOX_MAX} updates have not left within {timeout:g} s; does the publisher run?")
            values = self._values.get(name, {})
            if len(self._values) - (name in self._values) >= TOPICS_MAX:
                raise ValueError(f"expected at most {TOPICS_MAX} topics")
            if len(values) - (key_bytes in values) >= KEYS_MAX:
                raise ValueError(f"expected at most {KEYS_MAX} keys of topic {topic!r}")
            number = self._numbers[name] = self._numbers.get(name, 0) + 1
            values[key_bytes] = number, value
            self._values[name] = values
            self._outbox.append([name, UPDATE, self._publisher, pack_number(number), key_bytes, value])
        self.wake()
        return number

    def _open(self) -> None:
        self._updates = self._make(zmq.XPUB, self._receive_subscription, self._high_water_mark)
        self._updates.setsockopt(zmq.XPUB_VERBOSE, 1)  # every subscriber's subscription, also to a known topic
        self._snapshots = self._make(zmq.ROUTER, self._receive_request)
        self.updates = self._bind(self._updates, self.updates)
        self.snapshots = self._bind(self._snapshots, self.snapshots)

    def _close(self) -> None:
        if self._opened.is_set():
            self._send_outbox()

    def _tick(self, now: float) -> float:
        self._send_outbox()
        if now >= self._beat_at:
            self._beat_at = now + self._interval
            for topic in self._sent:
                self._beat(topic)
        return self._beat_at

    def _send_outbox(self) -> None:
        with self._room:
            updates, self._outbox = self._outbox, deque()
            self._room.notify_all()
        for frames in updates:
            send_now(self._updates, frames)  # full subscribers are left out by ZeroMQ, and see it by the numbers
            self._sent[frames[0]] = unpack_number(frames[3])

    def _beat(self, topic: bytes) -> None:
        send_now(self._updates, [topic, BEAT, self._publisher, pack_number(self._sent.get(topic, 0))])

    def _receive_subscription(self, frames: Frames) -> None:
        if frames[0][:1] == b"\x01":
            topic = frames[0][1:]
            _check_topic(topic)
            self._send_outbox()
            self._beat(topic)

    def _receive_request(self, frames: Frames) -> None:
        if len(frames) != 2:
            raise ValueError(f"expected a topic, got {len(frames) - 1} frames")
        topic = frames[1]
        _check_topic(topic)
        with self._room:
            reply = [topic, self._publisher, pack_number(self._numbers.get(topic, 0))]
            for key, (number, value) in self._values.get(topic, {}).items():
                reply += [key, pack_number(number), value]
        if not send_now(self._snapshots, [frames[0], *reply]):
            self.undeliverable += 1


def encode_topic(topic: str) -> bytes:
    """Returns a topic as it travels; raises ValueError for what can be none."""
    name = topic.encode() + b"\0"
    _check_topic(name)
    return name


def _check_topic(name: bytes) -> None:
    if not 1 < len(name) <= TOPIC_BYTES_MAX + 1 or name.index(b"\0") != len(name) - 1:
        raise ValueError(f"expected a topic of 1 to {TOPIC_BYTES_MAX} bytes that ends in NUL, and has no other")
