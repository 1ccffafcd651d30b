"""Publisher and subscriber: each against bare sockets with frames written out by hand, then with each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from patterns.guide import Gap, Publisher, Subscriber, Update
from patterns.guide.publisher import KEYS_MAX, OUTBOX_MAX
from tests.patterns.raw_peers import PATIENCE, RawPeers, Socket, receive, wait_until
from zq import ClosedError, TimedOutError

OLD, NEW = b"publish1", b"publish2"
TOPIC = b"prices\0"


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def quick_publisher(high_water_mark: int = 1000) -> Publisher:
    return Publisher(
        updates="tcp://127.0.0.1:*",
        snapshots="tcp://127.0.0.1:*",
        heartbeat_interval=0.1,
        high_water_mark=high_water_mark,
    )


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with quick_publisher() as one:
        yield one


# The publisher.


def subscribe(peers: RawPeers, publisher: Publisher, topic: bytes = TOPIC) -> Socket:
    socket = peers.connect(zmq.SUB, publisher.updates)
    socket.setsockopt(zmq.SUBSCRIBE, topic)
    return socket


def test_updates_are_numbered_in_each_topic(peers: RawPeers, publisher: Publisher) -> None:
    prices, sizes = subscribe(peers, publisher), subscribe(peers, publisher, b"sizes\0")
    beat = receive(prices)
    assert beat[:2] == [TOPIC, b"\x02"]
    assert beat[3] == number(0)
    assert receive(sizes)[3] == number(0)

    assert [publisher.publish("prices", b"9", "margherita"), publisher.publish("sizes", b"30")] == [1, 1]
    assert publisher.publish("prices", b"10", "funghi") == 2
    name = beat[2]
    assert receive(prices, skip=beat) == [TOPIC, b"\x01", name, number(1), b"margherita", b"9"]
    assert receive(prices, skip=[TOPIC, b"\x02", name, number(1)]) == [
        *[TOPIC, b"\x01", name, number(2)],
        *[b"funghi", b"10"],
    ]
    assert receive(prices) == [TOPIC, b"\x02", name, number(2)]  # a beat has the number of the last update


def test_a_topic_is_not_a_prefix(peers: RawPeers, publisher: Publisher) -> None:
    prices = subscribe(peers, publisher)
    beat = receive(prices)
    publisher.publish("prices2", b"9")
    publisher.publish("prices", b"10")
    assert receive(prices, skip=beat)[-1] == b"10"


def test_every_subscription_is_answered_by_a_beat_at_once(peers: RawPeers) -> None:
    with Publisher(updates="tcp://127.0.0.1:*", snapshots="tcp://127.0.0.1:*", heartbeat_interval=1000.0) as publisher:
        for _ in range(3):
            assert receive(subscribe(peers, publisher))[:2] == [TOPIC, b"\x02"]


def test_a_snapshot_has_the_last_value_of_each_key(peers: RawPeers, publisher: Publisher) -> None:
    for value, key in ((b"9", "margherita"), (b"10", "funghi"), (b"11", "margherita")):
        publisher.publish("prices", value, key)
    asker = peers.connect(zmq.DEALER, publisher.snapshots)
    asker.send(TOPIC)
    topic, _, *rest = receive(asker)
    assert topic == TOPIC
    assert rest == [number(3), b"margherita", number(3), b"11", b"funghi", number(2), b"10"]
    asker.send(b"unknown\0")
    assert receive(asker)[2:] == [number(0)]


@pytest.mark.parametrize("frames", [[b"prices"], [b"\0"], [b"a\0b\0"], [b""], [b"x" * 200 + b"\0"], [TOPIC, b"more"]])
def test_a_malformed_request_is_counted(peers: RawPeers, publisher: Publisher, frames: list[bytes]) -> None:
    peers.connect(zmq.DEALER, publisher.snapshots).send_multipart(frames)
    wait_until(lambda: publisher.malformed == 1)
    asker = peers.connect(zmq.DEALER, publisher.snapshots)
    asker.send(TOPIC)
    assert receive(asker)[0] == TOPIC


def test_what_was_published_leaves_before_a_stop(peers: RawPeers) -> None:
    with quick_publisher() as publisher:
        prices = subscribe(peers, publisher)
        receive(prices)
        for value in range(500):
            publisher.publish("prices", b"%d" % value)
    values: list[bytes] = []
    while len(values) < 500:
        frames = receive(prices)
        if frames[1] == b"\x01":
            values.append(frames[-1])
    assert values == [b"%d" % value for value in range(500)]
    with pytest.raises(ClosedError, match="the publisher was stopped"):
        publisher.publish("prices", b"x")


def test_limits_of_a_publisher_are_kept() -> None:
    publisher = Publisher(updates="tcp://127.0.0.1:*", snapshots="tcp://127.0.0.1:*")
    for topic in ("", "a\0b", "x" * 129):
        with pytest.raises(ValueError, match="expected a topic of 1 to 128 bytes"):
            publisher.publish(topic, b"x")
    for key in range(OUTBOX_MAX):  # it does not run: nothing leaves
        publisher.publish("prices", b"x", f"{key}")
    with pytest.raises(TimedOutError, match="does the publisher run"):
        publisher.publish("prices", b"x", timeout=0.01)
    assert len(publisher._values[TOPIC]) == KEYS_MAX
    publisher._outbox.clear()
    with pytest.raises(ValueError, match=f"expected at most {KEYS_MAX} keys of topic 'prices'"):
        publisher.publish("prices", b"x", "one more")
    with pytest.raises(ValueError, match="expected heartbeat_interval above 0"):
        Publisher(updates="tcp://127.0.0.1:*", snapshots="tcp://127.0.0.1:*", heartbeat_interval=0)


# The subscriber, with a publisher of bare sockets.


class RawPublisher:
    def __init__(self, peers: RawPeers) -> None:
        self.updates, updates = peers.bind(zmq.XPUB)
        self.snapshots, snapshots = peers.bind(zmq.ROUTER)
        self.subscriber = Subscriber(updates=updates, snapshots=snapshots, topics=["prices"])
        assert receive(self.updates) == [b"\x01" + TOPIC]

    def update(self, value: int, publisher: bytes = OLD) -> None:
        self.updates.send_multipart([TOPIC, b"\x01", publisher, number(value), b"key", b"%d" % value])

    def beat(self, value: int, publisher: bytes = OLD) -> None:
        self.updates.send_multipart([TOPIC, b"\x02", publisher, number(value)])

    def take_request(self) -> bytes:
        """Lets the subscriber work until it asks for a snapshot; returns its address."""

        def has_asked() -> bool:
            try:
                raise AssertionError(f"nothing was to come, got {self.subscriber.receive(0.01)}")
            except TimedOutError:
                return bool(self.snapshots.poll(0))

        wait_until(has_asked)
        asker, topic = receive(self.snapshots)
        assert topic == TOPIC
        return asker

    def snapshot(self, value: int, *values: bytes, publisher: bytes = OLD) -> None:
        """Answers one request for a snapshot."""
        self.snapshots.send_multipart([self.take_request(), TOPIC, publisher, number(value), *values])


@pytest.fixture
def raw(peers: RawPeers) -> Iterator[RawPublisher]:
    one = RawPublisher(peers)
    yield one
    one.subscriber.close()


def update(value: int) -> Update:
    return Update("prices", "key", value, b"%d" % value)


def test_the_snapshot_comes_first_and_what_it_holds_is_not_repeated(raw: RawPublisher) -> None:
    for value in (4, 5, 6, 7):
        raw.update(value)
    raw.snapshot(5, b"a", number(5), b"five", b"b", number(2), b"two")
    assert [raw.subscriber.receive(PATIENCE) for _ in range(4)] == [
        Update("prices", "b", 2, b"two", is_snapshot=True),
        Update("prices", "a", 5, b"five", is_snapshot=True),
        *[update(6), update(7)],
    ]


def test_missing_numbers_are_reported_exactly(raw: RawPublisher) -> None:
    raw.beat(2)
    raw.snapshot(2)
    for value in (3, 6, 7, 9):
        raw.update(value)
    raw.beat(9)
    raw.beat(12)
    raw.update(13)
    assert [raw.subscriber.receive(PATIENCE) for _ in range(8)] == [
        *[update(3), Gap("prices", 4, 5), update(6), update(7), Gap("prices", 8, 8), update(9)],
        *[Gap("prices", 10, 12), update(13)],
    ]


def test_updates_between_snapshot_and_subscription_are_a_gap(raw: RawPublisher) -> None:
    raw.update(9)
    raw.snapshot(5)
    assert raw.subscriber.receive(PATIENCE) == Gap("prices", 6, 8)
    assert raw.subscriber.receive(PATIENCE) == update(9)


def test_doubled_and_old_updates_are_dropped(raw: RawPublisher) -> None:
    raw.beat(0)
    raw.snapshot(0)
    for value in (1, 1, 2, 1, 3):
        raw.update(value)
    assert [raw.subscriber.receive(PATIENCE) for _ in range(3)] == [update(1), update(2), update(3)]


def test_a_new_publisher_begins_anew_and_says_so(raw: RawPublisher) -> None:
    raw.beat(4)
    raw.snapshot(4)
    raw.update(5)
    assert raw.subscriber.receive(PATIENCE) == update(5)
    raw.beat(0, NEW)
    assert raw.subscriber.receive(PATIENCE) == Gap("prices", 6, None)
    raw.snapshot(1, b"key", number(1), b"1", publisher=NEW)
    raw.update(2, NEW)
    assert raw.subscriber.receive(PATIENCE) == Update("prices", "key", 1, b"1", is_snapshot=True)
    assert raw.subscriber.receive(PATIENCE) == update(2)


def test_a_snapshot_that_does_not_come_is_asked_for_again(raw: RawPublisher) -> None:
    raw.beat(0)
    raw.take_request()
    raw.take_request()


def test_malformed_messages_are_counted_and_stop_nothing(raw: RawPublisher) -> None:
    raw.beat(0)
    bad = [
        *[[TOPIC], [TOPIC, b"\x01"], [TOPIC, b"\x02", OLD, b"1"], [TOPIC, b"\x02", b"?", number(1)]],
        *[[TOPIC, b"\x03", OLD, number(1)], [TOPIC + b"more", b"\x02", OLD, number(1)]],
        [TOPIC, b"\x01", OLD, number(1), b"\xff", b"key is no text"],
    ]
    for frames in bad:
        raw.updates.send_multipart(frames)
    raw.snapshot(0)
    raw.update(1)
    assert raw.subscriber.receive(PATIENCE) == update(1)
    assert raw.subscriber.malformed == len(bad)


# Together.


def test_late_joiners_get_last_values_and_then_every_update(publisher: Publisher) -> None:
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            publisher.publish("prices", b"x", f"key {publisher._numbers.get(TOPIC, 0) % 3}")
            time.sleep(0.0005)

    thread = threading.Thread(target=publish)
    thread.start()
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(stop.set)
        wait_until(lambda: publisher._numbers.get(TOPIC, 0) > 10)
        for _ in range(3):
            with Subscriber(updates=publisher.updates, snapshots=publisher.snapshots, topics=["prices"]) as subscriber:
                events = [subscriber.receive(PATIENCE) for _ in range(60)]
            updates = [event for event in events if isinstance(event, Update)]
            assert len(updates) == 60  # no gap
            assert [one.is_snapshot for one in updates] == [True] * 3 + [False] * 57
            first = updates[0].number
            assert [one.number for one in updates] == list(range(first, first + 60))


def test_what_a_slow_subscriber_loses_is_reported_to_the_last_number() -> None:
    sent, value = 300, bytes(100_000)
    with (
        quick_publisher(high_water_mark=2) as publisher,
        Subscriber(
            updates=publisher.updates, snapshots=publisher.snapshots, topics=["prices"], high_water_mark=2
        ) as subscriber,
    ):
        publisher.publish("prices", b"first")
        assert isinstance(subscriber.receive(PATIENCE), Update)
        for _ in range(sent):  # while nobody receives
            publisher.publish("prices", value)
        numbers, gaps = [1], 0
        while numbers[-1] < sent + 1:
            match subscriber.receive(PATIENCE):
                case Update(number=one):
                    numbers.append(one)
                case Gap(first=first, last=last):
                    assert last is not None
                    gaps += 1
                    numbers += range(first, last + 1)
    assert numbers == list(range(1, sent + 2))  # each was received or reported, once and in order
    assert gaps > 0


def test_refresh_brings_the_last_values_again(publisher: Publisher) -> None:
    publisher.publish("prices", b"9", "margherita")
    with Subscriber(updates=publisher.updates, snapshots=publisher.snapshots, topics=["prices"]) as subscriber:
        for _ in range(2):
            assert subscriber.receive(PATIENCE) == Update("prices", "margherita", 1, b"9", is_snapshot=True)
            subscriber.refresh("prices")
        with pytest.raises(ValueError, match="expected one of the topics"):
            subscriber.refresh("sizes")


def test_a_subscriber_without_publisher_or_topic_says_so(peers: RawPeers) -> None:
    (_, updates), (_, snapshots) = peers.bind(zmq.PUB), peers.bind(zmq.ROUTER)
    with (
        Subscriber(updates=updates, snapshots=snapshots, topics=["prices"]) as subscriber,
        pytest.raises(TimedOutError, match=r"nothing came within 0\.01 s; is the publisher up\?"),
    ):
        subscriber.receive(0.01)
    with pytest.raises(ClosedError, match="the subscriber is closed"):
        subscriber.receive(0.01)
    with pytest.raises(ValueError, match="expected one or more topics"):
        Subscriber(updates=updates, snapshots=snapshots, topics=[])
    with pytest.raises(ValueError, match="expected an address like"):
        Subscriber(updates="nowhere", snapshots=snapshots, topics=["prices"])
