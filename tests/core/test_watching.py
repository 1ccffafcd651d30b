"""Live events (docs/semantics.md, Insight)."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed, only
from zq.core.state import event_streams
from zq.wire.messages import Cancel, Done, Error, Event, Events, Follow, Goodbye, Held, Ping, Pong, Started
from zq.wire.retry import RetryPolicy

EYE, W = b"eye", b"worker-1"


class Eye:
    """One who watches at a desk, and has seen everything that came unless a test says otherwise."""

    def __init__(self, desk: Desk, queue: str | None = None, *kinds: str, peer: bytes = EYE) -> None:
        self.desk = desk
        self.peer = peer
        self.asked = (queue, kinds)
        self.seen = 0
        self.events: list[Event] = []
        self.dropped = 0
        self.firsts = 0
        self.messages = 0
        real = desk.turn

        def turn(*messages: tuple[bytes, Any]) -> list[tuple[bytes, Any]]:
            sent = real(*messages)
            for to, message in sent:
                if to == self.peer and isinstance(message, Events):
                    self.take(message)
            return sent

        desk.turn = turn  # type: ignore[method-assign]  # every step of the desk is looked at
        self.renew()
        self.renew()

    def take(self, message: Events) -> None:
        self.messages += 1
        self.latest = message.number
        self.events += message.events
        self.dropped += message.dropped
        self.firsts += message.is_first
        if message.is_first:
            self.seen = message.number

    def renew(self, lease: float = 15.0) -> None:
        self.desk.turn((self.peer, Follow(1, *self.asked, lease, self.seen)))

    def told(self) -> list[tuple[str, str, int, int]]:
        """Returns kind, id and range of what came since it was last asked, and has seen it."""
        found = [(one.kind, one.id, one.lo, one.hi) for one in self.events]
        self.events.clear()
        self.seen = self.latest
        self.renew()
        return found


def patient(**options: Any) -> Desk:
    return Desk(suspect_after=1e6, gone_after=1e6, **options)


def test_nothing_is_noted_while_nobody_watches() -> None:
    desk = patient()
    desk.submit("a", 3)
    assert desk.machine.books.events is None
    eye = Eye(desk)
    assert desk.machine.books.events is not None
    eye.renew(lease=0.0)
    desk.turn()

    assert desk.machine.books.events is None
    assert eye.events == []


def test_events_are_of_ranges_and_come_with_the_step_that_brought_them() -> None:
    desk = patient()
    eye = Eye(desk)
    desk.hello(W, "w", 100)
    desk.submit("a", 100)
    (lease,) = desk.leases
    assert eye.told() == [("worker", "", 0, 0), ("accepted", "a", 0, 100), ("assigned", "a", 0, 100)]
    desk.settle(W, Done(lease.token, "a", 0, 60, b"", b"", ()), credit=0)

    assert eye.events == [Event("done", "q", "a", 0, 60, "w", lease.token, "")]


def test_first_message_comes_at_once_and_has_the_time_of_the_coordinator() -> None:
    desk = patient()
    first = only(desk.say(EYE, Follow(1, None, (), 15.0, 0)), Events)

    assert first == Events(1, 1, WALL, 0, True, ())


def test_every_fate_of_a_task_is_told() -> None:
    desk = patient(max_attempts=2, retry=RetryPolicy.constant(1.0))
    desk.command("set-queue", queue="q", max_tasks=3)
    eye = Eye(desk)
    desk.submit("a", 3)
    desk.submit("b")
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.settle(W, failed(one, 2), done(one, 0, 1), credit=0)
    desk.say(CLIENT, Cancel(1, "a#1"))
    desk.settle(W, done(one, 1, 2), credit=0)
    assert eye.told() == [
        ("accepted", "a", 0, 3),
        ("refused", "b", 0, 1),
        ("worker", "", 0, 0),
        ("assigned", "a", 0, 3),
        ("done", "a", 0, 1),
        ("failed", "a", 2, 3),
        ("retried", "a", 2, 3),
        ("cancelled", "a", 1, 2),
        ("stale", "", 1, 2),
    ]
    desk.submit("c", ttl=0.5)
    desk.wait(2.0)
    (again,) = assigned(desk.hello(W, "w", 1))
    desk.settle(W, failed(again), credit=0)
    desk.command("retry", id="a#2")
    desk.command("pause", queue="q")
    desk.say(W, Goodbye("w", "w"))

    assert eye.told() == [
        ("accepted", "c", 0, 1),
        ("expired", "c", 0, 1),
        ("assigned", "a", 2, 3),
        ("failed", "a", 2, 3),
        ("dead", "a", 2, 3),
        ("revived", "a", 2, 3),
        ("queue", "", 0, 0),
        ("worker", "", 0, 0),
    ]


def test_lost_worker_is_told_with_what_it_held() -> None:
    desk = Desk()
    eye = Eye(desk, None, "worker", "lost", "retried")
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Started((Held(one.token, (0,)),)))
    for _ in range(4):
        desk.wait(4.0)
        eye.renew()

    assert [(one.kind, one.lo, one.hi, one.text.split(":")[0][:9]) for one in eye.events] == [
        ("worker", 0, 0, "hello"),
        ("worker", 0, 0, "suspect"),
        ("worker", 0, 0, "gone"),
        ("lost", 0, 2, "worker w "),
        ("retried", 0, 1, "in 0 s, a"),
    ]


def test_filters_by_queue_and_kind_hold() -> None:
    desk = patient()
    eye = Eye(desk, "q", "accepted", "cancelled")
    desk.submit("a")
    desk.submit("b", queue="r")
    desk.hello(W, "w", 1)
    desk.say(CLIENT, Cancel(1, "b"))
    desk.say(CLIENT, Cancel(2, "a"))

    assert eye.told() == [("accepted", "a", 0, 1), ("cancelled", "a", 0, 1)]


def test_message_is_bounded_and_the_rest_of_a_step_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "EVENTS_MAX", 3)
    desk = patient()
    eye = Eye(desk, None, "cancelled")
    desk.submit("a", 10)
    desk.submit("b", 10, ordered=True, key="k")
    desk.submit("c", 10)
    for id in ("a", "b", "c"):
        desk.say(CLIENT, Cancel(1, f"{id}#0"))
    desk.say(CLIENT, Cancel(1, "b"))

    assert len(eye.events) == 3 + 3
    assert eye.dropped == 9 - 3


def test_watcher_that_sees_nothing_stops_to_get_messages_and_learns_what_it_missed() -> None:
    desk = patient()
    eye = Eye(desk, None, "accepted")
    for index in range(event_streams.WINDOW + 36):
        desk.submit(f"t{index}")
    assert (len(eye.events), eye.messages) == (event_streams.WINDOW, event_streams.WINDOW + 1)
    eye.told()

    assert eye.dropped == 36
    desk.submit("more")
    assert eye.told() == [("accepted", "more", 0, 1)]
    assert eye.firsts == 1


def test_watcher_that_does_not_renew_is_forgotten_and_begins_anew_when_it_comes_back() -> None:
    desk = patient()
    eye = Eye(desk, None, "accepted")
    desk.wait(16.0)
    assert desk.machine.books.events is None
    desk.submit("a")
    eye.renew()
    desk.submit("b")

    assert eye.firsts == 2
    assert eye.told() == [("accepted", "b", 0, 1)]


def test_watcher_whose_connection_is_gone_is_forgotten() -> None:
    desk = patient()
    Eye(desk)
    desk.lose(EYE)

    assert desk.machine.books.events is None


def test_there_are_at_most_so_many_watchers_and_kinds_that_exist() -> None:
    desk = patient()
    for index in range(event_streams.FOLLOWERS_MAX):
        Eye(desk, peer=b"eye-%d" % index)
    error = only(desk.say(EYE, Follow(1, None, (), 15.0, 0)), Error)
    assert (error.request, error.code, error.text[:11]) == (1, "busy", "64 watchers")

    other = patient()
    error = only(other.say(EYE, Follow(1, None, ("done", "tired"), 15.0, 0)), Error)
    assert error.text.endswith("got 'tired'")
    assert other.machine.books.events is None


def full_of(desk: Desk, *shares: int) -> None:
    """Has all places taken by peers, each of so many."""
    assert sum(shares) == event_streams.FOLLOWERS_MAX
    for index, share in enumerate(shares):
        for request in range(1, share + 1):
            desk.turn((b"greedy-%d" % index, Follow(request, None, ("done",), 15.0, 0)))


def test_peer_with_most_watchers_loses_its_oldest_to_one_with_fewer_when_all_places_are_taken() -> None:
    desk = patient()
    full_of(desk, 15, 16, 16, 16, 1)
    sent = desk.turn((EYE, Follow(7, None, (), 15.0, 0)))

    assert [(to, type(one).__name__, one.request) for to, one in sent] == [
        (b"greedy-1", "Error", 1), (EYE, "Events", 7),
    ]  # fmt: skip
    assert sent[0][1].code == "busy"
    assert desk.query("status")["usage"]["follows"] == event_streams.FOLLOWERS_MAX


def test_peer_that_would_have_as_many_watchers_as_any_is_refused_when_all_places_are_taken() -> None:
    desk = patient()
    full_of(desk, 16, 16, 16, 16)
    for request in range(1, 13):
        sent = desk.turn((EYE, Follow(request, None, ("done",), 15.0, 0)))
        assert [type(one) for to, one in sent if to == EYE] == [Events]
    error = only(desk.say(EYE, Follow(13, None, ("done",), 15.0, 0)), Error)

    assert (error.code, error.text[:11]) == ("busy", "64 watchers")


def test_unknown_kind_of_event_takes_no_place_from_anybody() -> None:
    desk = patient()
    full_of(desk, 16, 16, 16, 16)

    assert only(desk.say(EYE, Follow(1, None, ("tired",), 15.0, 0)), Error).code == "invalid"
    assert desk.query("status")["usage"]["follows"] == event_streams.FOLLOWERS_MAX


def test_watcher_whose_connection_has_ended_is_forgotten_and_what_it_holds_is_not() -> None:
    desk = patient()
    desk.submit("a")
    desk.hello(EYE, "w", 1)
    eye = Eye(desk)
    desk.machine.forget_watchers([eye.peer, b"nobody"])
    desk.turn()

    assert desk.machine.books.events is None
    assert desk.query("task", id="a")["state"] == "leased"


def test_restart_forgets_watchers_and_a_renewal_begins_anew() -> None:
    desk = patient()
    eye = Eye(desk, None, "accepted")
    desk.restart()
    eye.renew()
    desk.submit("a")

    assert eye.firsts == 2
    assert eye.told() == [("accepted", "a", 0, 1)]


def test_follow_is_answered_before_a_ping_that_came_after_it() -> None:
    desk = patient()
    sent = desk.turn((EYE, Follow(1, None, (), 15.0, 0)), (EYE, Ping(2)))

    assert [type(message) for _, message in sent] == [Events, Pong]
