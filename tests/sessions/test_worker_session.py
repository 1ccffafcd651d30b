"""What a worker says, and says again; literal times, no sockets."""

from typing import Any

from zq.errors import RemoteProtocolError, WorkerFencedError
from zq.sessions.started import STARTED_AFTER
from zq.sessions.worker import NAME_PATIENCE, NAME_RETRY, WELCOME_PATIENCE, WorkerSession
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.limits import TEXT_CHARS_MAX
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Assign,
    Assignment,
    Beat,
    Cancelled,
    Done,
    Error,
    Failed,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Progress,
    Release,
    Settle,
    Settled,
    Span,
    Started,
    Welcome,
)
from zq.wire.steering import About

WELCOME = Welcome(1, 1.0, 3.0, 15.0, ())


class Stage:
    """A session with a clock, and what it runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, float]] = []
        self.session = WorkerSession("shop", "life-1", ("q",), 2, lambda: self.runs)

    def connect(self, now: float = 0.0, welcome: Welcome = WELCOME) -> list[Any]:
        """Connects and is welcomed; returns what is said after the hello."""
        self.session.connected(now)
        assert isinstance(self.session.take_outbox()[0], Hello)
        return self.hear(now, welcome)

    def hear(self, now: float, message: Any) -> list[Any]:
        self.session.receive(now, message)
        return self.session.take_outbox()

    def tick(self, now: float) -> list[Any]:
        self.session.tick(now)
        return self.session.take_outbox()


def assign(token: int, count: int = 1, lo: int = 0, size: int = 100) -> Assign:
    ends = b"".join(i.to_bytes(4, "little") for i in range(1, count + 1))
    return Assign((Assignment(token, "b", size, "q", DEFAULT_OPTIONS, 1, lo, ends, b"x" * count),))


def done(token: int, lo: int = 0, hi: int = 1) -> Done:
    return Done(token, "b", lo, hi, b"", b"", ())


def test_hello_comes_first_and_lists_what_is_not_settled() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.1, assign(7, 3))
    stage.hear(0.1, assign(8))
    stage.session.finish([done(8)], [], 2)
    stage.runs = [(7, 1, 0.1)]

    stage.session.connected(1.0)

    assert stage.session.take_outbox() == [
        Hello("shop", "life-1", ("q",), 2, 2, (Held(7, (1,)), Held(8, ()))),
    ]


def test_nothing_but_hello_and_goodbye_is_said_before_the_welcome() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    stage.session.take_outbox()
    stage.session.finish([done(7)], [], 2)
    stage.session.progress(7, 0, 0.5)

    assert stage.tick(1.0) == []


def test_missing_welcome_makes_a_new_connection() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    stage.tick(WELCOME_PATIENCE - 0.1)
    assert not stage.session.wants_reconnect

    stage.tick(WELCOME_PATIENCE)

    assert stage.session.wants_reconnect


def test_heartbeats_go_out_on_time_and_list_everything_in_hand() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.5, assign(7, 2))
    assert stage.session.next_at() == 1.0
    assert stage.tick(0.9) == []

    assert stage.tick(1.0) == [Heartbeat(1, (Held(7, ()),))]
    assert stage.tick(2.05) == [Heartbeat(2, (Held(7, ()),))]


def test_silence_for_gone_after_makes_a_new_connection() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(2.0, Beat(1, 1, ()))
    stage.tick(16.9)
    assert not stage.session.wants_reconnect

    stage.tick(17.0)

    assert stage.session.wants_reconnect


def test_task_that_runs_for_a_while_is_reported_as_started_once() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7))
    stage.runs = [(7, 0, 0.3)]
    assert stage.session.next_at() == 0.3 + STARTED_AFTER
    assert stage.tick(0.31) == []

    assert stage.tick(0.33) == [Started((Held(7, (0,)),))]
    assert stage.tick(0.4) == []


def test_settle_is_kept_until_it_is_answered_and_said_again_after_a_welcome() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7, 2))
    stage.session.finish([done(7)], [Failed(7, "b", 1, "burnt", None, False)], 5)
    (settle,) = stage.session.take_outbox()
    assert settle == Settle(1, 5, (done(7),), (Failed(7, "b", 1, "burnt", None, False),))

    assert stage.connect(1.0) == [settle]
    assert not stage.session.is_settled
    stage.hear(1.1, Settled(1, ()))

    assert stage.session.is_settled
    assert stage.connect(2.0) == []
    assert stage.session.counters == {"done": 1, "failed": 1, "stale": 0, "cancelled": 0}


def test_settle_that_a_later_heartbeat_overtook_was_lost_and_is_said_again() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7))
    stage.session.finish([done(7)], [], 5)
    (settle,) = stage.session.take_outbox()
    (beat,) = stage.tick(1.0)

    assert stage.hear(1.1, Beat(beat.number, 1, ())) == [settle]
    assert stage.hear(1.2, Beat(beat.number, 1, ())) == []


def test_large_results_are_cut_into_several_settles() -> None:
    stage = Stage()
    stage.connect()
    big = done(7)._replace(ends=(3 << 20).to_bytes(4, "little"), blob=bytes(3 << 20))

    stage.session.finish([big] * 5, [Failed(7, "b", 1, "burnt", None, False)] * 300, 5)

    settles = stage.session.take_outbox()
    for number in range(1, 5):
        settles += stage.hear(0.1, Settled(number, ()))
    assert [(len(one.done), len(one.failed)) for one in settles if isinstance(one, Settle)] == [
        (2, 0),
        (2, 0),
        (1, 200),
        (0, 100),
    ]


def finish_large(stage: Stage, count: int) -> None:
    """Ends tasks with a mebibyte each; four go into a settle."""
    stage.session.finish([done(token)._replace(blob=bytes(1 << 20)) for token in range(count)], [], 5)


def numbers(messages: list[Any]) -> list[int]:
    return [one.number for one in messages if isinstance(one, Settle | Release)]


def test_only_a_window_of_large_results_is_under_way_and_the_rest_follows_in_order() -> None:
    stage = Stage()
    stage.connect()
    finish_large(stage, 16)
    stage.session.release([Span(99, 0, 1)], 5)

    assert numbers(stage.session.take_outbox()) == [1, 2]
    assert not stage.session.is_settled
    assert {token for token, _, _ in stage.session.unsettled_spans()} == {*range(16), 99}
    assert numbers(stage.hear(0.1, Settled(1, ()))) == [3]
    assert numbers(stage.hear(0.1, Settled(1, ()))) == []
    assert numbers(stage.hear(0.2, Settled(2, ()))) == [4, 5]
    for number in (3, 4, 5):
        assert stage.hear(0.3, Settled(number, ())) == []
    assert stage.session.is_settled


def test_only_a_window_of_large_results_is_said_again_after_a_welcome() -> None:
    stage = Stage()
    stage.connect()
    finish_large(stage, 16)
    stage.session.take_outbox()
    stage.session.connected(1.0)
    finish_large(stage, 4)

    assert numbers(stage.connect(1.1)) == [1, 2]
    (beat,) = stage.tick(2.2)
    assert numbers(stage.hear(2.3, Beat(beat.number, 1, ()))) == [1, 2]
    assert [numbers(stage.hear(2.4, Settled(number, ()))) for number in range(1, 6)] == [[3], [4], [5], [], []]
    assert stage.session.is_settled


def test_results_larger_than_the_window_go_out_one_by_one() -> None:
    stage = Stage()
    stage.connect()
    large = done(7)._replace(blob=bytes(9 << 20))
    for _ in range(2):
        stage.session.finish([large], [], 5)

    assert numbers(stage.session.take_outbox()) == [1]
    assert numbers(stage.hear(0.1, Settled(1, ()))) == [2]


def test_assignment_told_twice_is_taken_once() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7, 2))
    stage.hear(0.0, assign(7, 2))

    assert [one.token for one in stage.session.take_arrivals()] == [7]
    assert stage.session.take_arrivals() == []


def test_refused_tokens_are_taken_away() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7, 2, lo=5))

    stage.hear(1.0, Beat(1, 1, (7, 99)))

    assert stage.session.take_revoked() == [Span(7, 5, 7)]
    assert not stage.session.hands


def test_token_that_is_being_settled_is_not_taken_away_by_a_welcome() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7))
    stage.session.finish([done(7)], [], 2)

    stage.connect(1.0, WELCOME._replace(refused=(7,)))

    assert stage.session.take_revoked() == []
    stage.hear(1.1, Settled(1, (Span(7, 0, 1),)))
    assert stage.session.counters["stale"] == 1
    assert not stage.session.hands


def test_cancelled_tasks_are_taken_away_and_counted() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7, 3))

    stage.hear(0.5, Cancelled((Span(7, 1, 2),)))

    assert stage.session.take_revoked() == [Span(7, 1, 2)]
    assert stage.session.counters["cancelled"] == 1
    assert stage.session.hands[7].open == 0b101


def test_released_tasks_leave_the_hand_when_it_is_answered() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7, 3))
    stage.session.release([Span(7, 1, 3)], 0)
    assert stage.session.take_outbox() == [Release(1, 0, (Span(7, 1, 3),))]
    assert stage.session.hands[7].open == 0b111

    stage.hear(0.1, Settled(1, ()))

    assert stage.session.hands[7].open == 0b001


def test_say_hello_makes_a_new_connection_and_fenced_ends_the_worker() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(1.0, Error(None, "say-hello", "expected hello first"))
    assert stage.session.wants_reconnect

    stage.hear(2.0, Error(None, "fenced", "another worker took the name shop"))

    assert isinstance(stage.session.failure, WorkerFencedError)


def test_worker_whose_name_is_taken_says_hello_again_until_it_has_it() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    (hello,) = stage.session.take_outbox()
    for round in range(1, 9):
        stage.session.receive(float(round), Error(None, "name-taken", "the name belongs to another", 6.0))
        assert stage.session.name_is_taken == "the name belongs to another"
        assert stage.session.next_at() == round + NAME_RETRY
        stage.session.tick(round + NAME_RETRY / 2)
        assert stage.session.take_outbox() == []
        stage.session.tick(round + NAME_RETRY)
        assert stage.session.take_outbox() == [hello]
    stage.session.receive(9.0, Welcome(1, 1.0, 3.0, 15.0, ()))

    assert stage.session.is_welcome
    assert stage.session.name_is_taken is None
    assert stage.session.failure is None
    assert not stage.session.wants_reconnect


def test_worker_whose_name_stays_taken_ends_in_words() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    stage.session.receive(0.0, Error(None, "name-taken", "the name belongs to another", 6.0))
    stage.session.connected(5.0)  # by another connection, too
    for at in (5.0, 6.0 + NAME_PATIENCE - 0.1):
        stage.session.receive(at, Error(None, "name-taken", "the name belongs to another", 6.0))
        assert stage.session.failure is None

    stage.session.receive(6.0 + NAME_PATIENCE, Error(None, "name-taken", "the name belongs to another", 6.0))

    assert isinstance(stage.session.failure, WorkerFencedError)
    assert "give each worker a name of its own" in str(stage.session.failure)


def test_worker_whose_name_is_taken_waits_anew_when_the_coordinator_was_away_meanwhile() -> None:
    stage = Stage()
    for start in (0.0, 20.0, 40.0):  # a coordinator that is started again and again, and gives the one before its time
        stage.session.connected(start)
        for at in (start, start + 1.0):
            stage.session.receive(at, Error(None, "name-taken", "the name belongs to another", 1.2))
            assert stage.session.failure is None
    stage.session.receive(42.0, Welcome(1, 1.0, 3.0, 15.0, ()))

    assert stage.session.is_welcome


def test_refusal_of_what_it_said_ends_the_worker_in_words() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(1.0, Error(3, "malformed", "expected credit"))

    assert isinstance(stage.session.failure, RemoteProtocolError)
    assert "expected credit" in str(stage.session.failure)


def test_coordinator_that_knows_nothing_of_runs_hears_about_without_them() -> None:
    stage = Stage()
    about = About("oven", 7, 0, 1, False, None, takes_runs=True)
    whole, plain = about._replace(takes_intervals=True), about._replace(takes_runs=False)
    stage.session.tell(about)

    assert stage.connect()[0] == whole
    assert stage.hear(0.1, Error(None, "malformed", "expected 7 fields")) == [about]
    assert stage.hear(0.2, Error(None, "malformed", "expected 6 fields")) == [plain]
    assert stage.session.failure is None
    assert stage.connect(1.0)[0] == whole
    assert [decode_for_coordinator(encode(one)) for one in (whole, about, plain)] == [whole, about, plain]
    assert [len(encode(one)) - len(encode(plain)) for one in (whole, about)] == [2, 1]


def test_worker_with_nothing_in_hand_beats_as_often_as_it_is_told_and_seldom_asks_for_an_answer() -> None:
    stage = Stage()
    stage.connect()
    assert stage.tick(1.0) == [Heartbeat(1, ())]
    stage.hear(1.1, Beat(1, 1, (), 2.0))
    assert stage.tick(2.0) == [Heartbeat(0, ())]

    assert stage.session.next_at() == 4.0
    assert not stage.session.is_asking
    assert stage.tick(4.0) == [Heartbeat(0, ())]
    assert stage.tick(6.5) == [Heartbeat(2, ())]  # nothing was heard for a third of gone_after
    assert stage.tick(8.5) == [Heartbeat(3, ())]
    stage.hear(8.6, Beat(3, 1, ()))
    assert [stage.tick(10.5), stage.tick(11.5)] == [[Heartbeat(4, ())], [Heartbeat(5, ())]]  # it is told no more


def test_worker_with_something_in_hand_beats_every_interval() -> None:
    stage = Stage()
    stage.connect()
    stage.tick(1.0)
    stage.hear(1.1, Beat(1, 1, (), 2.0))
    stage.tick(2.0)
    stage.hear(3.5, assign(7))

    assert stage.session.next_at() == 4.0
    assert stage.tick(4.0) == [Heartbeat(2, (Held(7, ()),))]
    assert stage.tick(5.0) == [Heartbeat(3, (Held(7, ()),))]
    stage.session.finish([done(7)], [], 2)
    assert stage.tick(6.0)[-1] == Heartbeat(4, (Held(7, ()),))
    stage.hear(6.1, Settled(1, ()))
    assert [stage.tick(7.0), stage.tick(8.0), stage.tick(9.0)] == [[Heartbeat(0, ())], [], [Heartbeat(0, ())]]


def test_new_connection_beats_as_often_as_its_welcome_says() -> None:
    stage = Stage()
    stage.connect()
    stage.tick(1.0)
    stage.hear(1.1, Beat(1, 1, (), 2.0))

    stage.connect(20.0)

    assert [stage.tick(21.0), stage.tick(22.0)] == [[Heartbeat(2, ())], [Heartbeat(3, ())]]


def test_failure_of_an_ordered_task_takes_what_is_behind_it_out_of_hand() -> None:
    stage = Stage()
    stage.connect()
    assignment = assign(5, 4).assignments[0]._replace(options=DEFAULT_OPTIONS._replace(key="k", ordered=True))
    stage.hear(0.1, Assign((assignment,)))
    stage.session.finish([done(5)], [Failed(5, "b", 1, "burnt", None, False)], 2)

    assert sorted(stage.session.unsettled_spans()) == [(5, 0, 1), (5, 1, 4)]
    stage.hear(0.2, Settled(1, ()))
    assert stage.session.hands == {}


def test_progress_is_said_while_it_is_welcome() -> None:
    stage = Stage()
    stage.connect()
    stage.session.progress(7, 0, 0.5)
    stage.session.goodbye()

    assert stage.session.take_outbox() == [Progress(7, 0, 0.5), Goodbye("shop", "life-1")]


def test_worker_that_leaves_before_it_is_welcome_says_so() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    stage.session.goodbye()

    hello, goodbye = stage.session.take_outbox()

    assert isinstance(hello, Hello)
    assert goodbye == Goodbye("shop", "life-1")


def test_worker_that_cannot_work_says_why_when_it_leaves() -> None:
    stage = Stage()
    stage.connect()
    stage.session.goodbye("no child starts" * 2000)

    (goodbye,) = stage.session.take_outbox()

    assert goodbye == Goodbye("shop", "life-1", ("no child starts" * 2000)[:TEXT_CHARS_MAX])
    assert decode_for_coordinator(encode(goodbye)) == goodbye
    assert decode_for_coordinator(encode(Goodbye("shop", "life-1"))) == Goodbye("shop", "life-1")


def test_credit_that_changes_while_nobody_hears_is_told_with_the_welcome() -> None:
    stage = Stage()
    stage.session.credit = 0
    stage.session.offer(7)  # before there is a connection: the hello has it
    stage.session.connected(0.0)
    (hello,) = stage.session.take_outbox()
    assert isinstance(hello, Hello)
    assert hello.credit == 7
    stage.session.offer(3)  # the hello is out, and has no answer yet

    assert stage.session.take_outbox() == []
    assert stage.hear(0.0, WELCOME) == [Release(1, 3, ())]
    assert stage.hear(0.0, Settled(1, ())) == []
    stage.session.offer(9)
    assert stage.session.take_outbox() == [Release(2, 9, ())]
    assert stage.connect(1.0) == [Release(2, 9, ())]  # it had no answer; the hello has the credit already


def test_worker_that_is_told_busy_lives_on_and_says_it_again() -> None:
    stage = Stage()
    stage.connect()
    stage.hear(0.0, assign(7))
    stage.session.finish([Done(7, "b", 0, 1, b"", b"", ())], [], 2)
    [settle] = [one for one in stage.session.take_outbox() if isinstance(one, Settle)]

    stage.hear(0.1, Error(settle.number, "busy", "the store is full"))
    assert stage.session.failure is None
    stage.tick(1.0)
    stage.hear(1.1, Beat(1, 1, ()))
    assert settle in [*stage.hear(1.1, Beat(1, 1, ())), *stage.tick(2.1), *stage.hear(2.2, Beat(2, 1, ()))]


def test_hello_that_is_told_busy_is_said_again_by_another_connection() -> None:
    stage = Stage()
    stage.session.connected(0.0)
    stage.session.take_outbox()
    stage.hear(0.1, Error(None, "busy", "a peer may have 1000 workers"))
    assert not stage.session.wants_reconnect
    stage.tick(0.2 + WELCOME_PATIENCE)

    assert stage.session.failure is None
    assert stage.session.wants_reconnect
