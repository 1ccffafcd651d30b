"""The timeline of a task (docs/semantics.md, Insight)."""

from typing import Any

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed
from zq.core import tables
from zq.wire.messages import Batch, Cancel, Goodbye, Held, Options, Publish, Pull, Release, Span, Started
from zq.wire.retry import RetryPolicy

W, V = b"worker-1", b"worker-2"


def trace(desk: Desk, id: str) -> list[tuple[float, str, dict[str, Any]]]:
    return [(one["time"] - WALL, one["event"], one["detail"]) for one in desk.query("trace", id=id)]


def steps(desk: Desk, id: str) -> list[tuple[float, str]]:
    return [(time, event) for time, event, _ in trace(desk, id)]


def detail(desk: Desk, id: str, event: str) -> dict[str, Any]:
    (found,) = [detail for _, name, detail in trace(desk, id) if name == event]
    return found


def patient(**options: Any) -> Desk:
    return Desk(suspect_after=1e6, gone_after=1e6, **options)


def wait(desk: Desk, seconds: float) -> None:
    desk.now += seconds
    desk.wall += seconds


def test_unknown_task_has_no_trace() -> None:
    desk = Desk()
    desk.submit("a", 2)

    assert trace(desk, "b") == trace(desk, "a#2") == trace(desk, "b#0") == []


def test_plain_task_tells_who_got_it_when_and_under_which_token() -> None:
    desk = patient()
    desk.submit("a")
    wait(desk, 1.0)
    (one,) = assigned(desk.hello(W, "w"))
    wait(desk, 1.0)
    desk.settle(W, done(one))

    assert trace(desk, "a") == [
        (0.0, "accepted", {"queue": "q", "tasks": 1}),
        (1.0, "assigned", {"worker": "w", "token": one.token}),
        (2.0, "done", {"worker": "w", "token": one.token}),
    ]


def test_plain_task_costs_no_row_in_the_history() -> None:
    desk = patient()
    desk.submit("a", 100)
    (one,) = assigned(desk.hello(W, "w", 100))
    desk.settle(W, done(one, 0, 50))
    desk.settle(W, done(one, 50, 100))
    tx = desk.store.begin()
    rows = list(tx.scan(tables.HISTORY))
    (ended,) = [tables.unpack(value) for _, value in tx.scan(tables.INDEX)]
    tx.abort()

    assert rows == []
    assert len(ended[5]) == 1  # what one lease did at once is one entry


def test_each_task_of_a_batch_has_the_time_of_its_own_end() -> None:
    desk = patient()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.settle(W, done(one, 0, 1))
    wait(desk, 5.0)
    desk.settle(W, done(one, 1, 3))

    assert steps(desk, "a#0") == [(0.0, "accepted"), (0.0, "assigned"), (0.0, "done")]
    assert steps(desk, "a#2") == [(0.0, "accepted"), (0.0, "assigned"), (5.0, "done")]
    assert [(event, detail.get("lo"), detail.get("hi")) for _, event, detail in trace(desk, "a")] == [
        ("accepted", None, None),
        ("assigned", 0, 3),
        ("done", 0, 1),
        ("done", 1, 3),
    ]


def test_delayed_task_tells_when_it_was_due_once_it_was() -> None:
    desk = patient()
    desk.submit("a", delay=5.0)
    assert steps(desk, "a") == [(0.0, "accepted")]
    desk.wait(6.0)
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, done(one))

    assert steps(desk, "a") == [(0.0, "accepted"), (5.0, "due"), (6.0, "assigned"), (6.0, "done")]


def test_task_that_ended_before_it_was_due_was_never_due() -> None:
    desk = patient()
    desk.submit("a", delay=5.0)
    desk.submit("b", delay=5.0)
    desk.say(CLIENT, Cancel(1, "a"))
    desk.command("bury", id="b", reason="no")
    desk.wait(6.0)

    assert steps(desk, "a") == [(0.0, "accepted"), (0.0, "cancelled")]
    assert steps(desk, "b") == [(0.0, "accepted"), (0.0, "dead")]


def test_task_that_runs_tells_so_and_keeps_it() -> None:
    desk = patient()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    wait(desk, 1.0)
    desk.say(W, Started((Held(one.token, (0,)),)))
    assert steps(desk, "a") == [(0.0, "accepted"), (0.0, "assigned"), (1.0, "started")]
    wait(desk, 1.0)
    desk.settle(W, done(one))

    assert steps(desk, "a") == [(0.0, "accepted"), (0.0, "assigned"), (1.0, "started"), (2.0, "done")]


def test_retried_task_tells_why_and_by_whom_each_time() -> None:
    desk = patient(retry=RetryPolicy.constant(3.0), max_attempts=2)
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(one, 1), credit=0)
    desk.wait(4.0)
    (again,) = assigned(desk.hello(V, "v", 1))
    desk.settle(V, failed(again), credit=0)

    assert steps(desk, "a#1") == [
        (0.0, "accepted"), (0.0, "assigned"), (0.0, "retry"), (4.0, "assigned"), (4.0, "dead"),
    ]  # fmt: skip
    retry = detail(desk, "a#1", "retry")
    assert (retry["worker"], retry["token"], retry["in"], retry["error"]) == ("w", one.token, 3.0, "it burnt")
    assert (detail(desk, "a#1", "dead")["worker"], detail(desk, "a#1", "dead")["reason"]) == ("v", "it burnt")


def test_revived_task_keeps_its_trace() -> None:
    desk = patient(max_attempts=1)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, failed(one), credit=0)
    desk.command("retry", id="a")
    (again,) = assigned(desk.hello(V, "v"))
    desk.settle(V, done(again))

    events = [event for _, event in steps(desk, "a")]
    assert events == ["accepted", "assigned", "assigned", "dead", "revived", "done"]


def test_worker_that_goes_silent_is_suspect_then_lost_and_the_task_is_reassigned() -> None:
    desk = Desk()
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.wait(4.0)
    assert steps(desk, "a#0")[-1] == (3.0, "suspect")
    desk.wait(12.0)
    for again in assigned(desk.hello(V, "v", 2)):
        desk.settle(V, done(again), credit=0)

    assert [event for _, event in steps(desk, "a#0")] == [
        "accepted", "assigned", "started", "suspect", "lost", "retry", "assigned", "done",
    ]  # fmt: skip
    assert [event for _, event in steps(desk, "a#1")] == [
        "accepted", "assigned", "suspect", "returned", "assigned", "done",
    ]  # fmt: skip
    assert detail(desk, "a#1", "returned")["reason"].startswith("worker w was silent for 15")


def test_stale_completion_is_in_the_trace_of_each_task_that_it_spoke_for() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.wait(16.0)
    desk.hello(W, "w", 0)
    desk.settle(W, done(one))

    for index in range(3):
        stale = detail(desk, f"a#{index}", "stale")
        assert (stale["worker"], stale["token"]) == ("w", one.token)


def test_released_tasks_tell_that_they_came_back() -> None:
    desk = patient()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.say(W, Release(1, 0, (Span(one.token, 1, 3),)))

    assert [event for _, event in steps(desk, "a#0")] == ["accepted", "assigned"]
    assert [event for _, event in steps(desk, "a#2")] == ["accepted", "assigned", "returned"]
    desk.say(W, Goodbye("w", "w"))
    assert [event for _, event in steps(desk, "a#0")] == ["accepted", "assigned", "returned"]


def test_task_that_was_split_off_keeps_what_happened_to_it_in_its_batch_and_so_do_the_others() -> None:
    desk = patient(max_attempts=1, keep_seconds=10.0, keep_seconds_min=1.0)
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Release(1, 0, (Span(one.token, 0, 2),)))
    (again,) = assigned(desk.hello(V, "v", 2))
    desk.settle(V, failed(again, 0), done(again, 1, 2), credit=0)
    desk.wait(60.0)

    assert [event for _, event in steps(desk, "a#0")] == ["accepted", "assigned", "assigned", "returned", "dead"]
    assert [event for _, event in steps(desk, "a#1")] == ["accepted", "assigned", "assigned", "returned", "done"]


def test_completion_tells_what_it_forwarded() -> None:
    desk = patient()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    boxes = tuple(Batch(f"box-{i}", "boxes", Options(), b"\1\0\0\0", b"\1") for i in range(20))
    desk.settle(W, done(one)._replace(forwards=boxes))

    forwarded = detail(desk, "a", "forwarded")
    assert forwarded["batches"][0] == {"id": "box-0", "queue": "boxes", "tasks": 1}
    assert (len(forwarded["batches"]), forwarded["more"]) == (16, 4)
    assert [event for _, event in steps(desk, "a")][-2:] == ["forwarded", "done"]


def test_cancelled_running_task_tells_who_had_it() -> None:
    desk = patient()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.say(CLIENT, Cancel(1, "a"))

    cancelled = detail(desk, "a", "cancelled")
    assert (cancelled["worker"], cancelled["token"], cancelled["reason"]) == ("w", one.token, "cancelled by a client")


def test_expired_batch_tells_so_for_each_of_its_tasks() -> None:
    desk = Desk()
    desk.submit("a", 3, ttl=5.0)
    desk.submit("b", ttl=5.0)
    desk.wait(6.0)

    assert steps(desk, "a#1") == steps(desk, "b") == [(0.0, "accepted"), (5.0, "expired")]


def test_trace_holds_over_a_restart() -> None:
    desk = patient()
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    wait(desk, 1.0)
    desk.settle(W, done(one, 0, 1), credit=0)
    desk.restart()
    wait(desk, 1.0)

    assert steps(desk, "a#0") == [(0.0, "accepted"), (0.0, "assigned"), (1.0, "done")]
    assert steps(desk, "a#1") == [(0.0, "accepted"), (0.0, "assigned")]
    assert detail(desk, "a#1", "assigned") == {"worker": "w", "token": one.token}


def test_pulled_task_names_its_pull() -> None:
    desk = patient()
    desk.submit("a")
    (one,) = assigned(desk.say(CLIENT, Pull(8, "till", "q", 1, 0.0, 5.0)))
    wait(desk, 6.0)
    desk.turn()

    assert [event for _, event in steps(desk, "a")] == ["accepted", "assigned", "lost", "retry"]
    assert detail(desk, "a", "lost")["worker"] == "till/8"
    assert one.token == detail(desk, "a", "lost")["token"]


def test_published_task_has_a_trace_like_any_other() -> None:
    desk = patient()
    desk.command("bind", pattern="orders.*", queue="q")
    desk.say(CLIENT, Publish(9, "p", "orders.new", Options(), True, b"\1\0\0\0", b"\1"))

    assert steps(desk, "p.1") == [(0.0, "accepted")]
