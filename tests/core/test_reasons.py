"""Why a task does not run (docs/semantics.md, Insight): each reason, and that the first that counts is named."""

from typing import Any

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed
from zq.core.ring import Ring
from zq.wire.messages import Answer, Goodbye, Held, Hello, Pull, Query, Settle, Started
from zq.wire.retry import RetryPolicy

W, V = b"worker-1", b"worker-2"


def why(desk: Desk, id: str) -> tuple[str, str]:
    reason = desk.query("why", id=id)
    return reason["code"], reason["text"]


def detail(desk: Desk, id: str) -> dict[str, Any]:
    details: dict[str, Any] = desk.query("why", id=id)["details"]
    return details


def patient(**options: Any) -> Desk:
    return Desk(suspect_after=1e6, gone_after=1e6, **options)


def test_unknown_task_is_unknown() -> None:
    desk = Desk()
    desk.submit("a", 2)

    assert why(desk, "b")[0] == why(desk, "a#7")[0] == why(desk, "b#1")[0] == "unknown"


def test_ended_task_has_ended() -> None:
    desk = Desk(retry=RetryPolicy.none())
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(one, 1), credit=0)
    desk.settle(W, done(one, 0, 1), credit=0)

    assert why(desk, "a#0") == ("ended", "it has ended: done")
    assert why(desk, "a#1") == ("ended", "it has ended: dead; zq tasks retry brings it back")
    assert detail(desk, "a#1")["reason"] == "it burnt"
    assert why(desk, "a#2")[0] == "unknown"


def test_delayed_task_and_one_that_is_retried_are_not_due() -> None:
    desk = patient(retry=RetryPolicy.constant(10))
    desk.submit("late", delay=30.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, failed(one))

    assert why(desk, "late") == ("not-due", "it is due in 30.0 s")
    assert detail(desk, "late")["due_time"] == WALL + 30.0
    assert why(desk, "a") == ("not-due", "it is to be tried again in 10.0 s")


def test_running_task_runs_and_a_leased_one_is_leased() -> None:
    desk = patient()
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "shop", 2))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.now += 2.0

    assert why(desk, "a#0") == ("running", "it runs at shop for 2.0 s")
    assert why(desk, "a#1") == ("leased", "it is leased to shop, which has not said that it started it")


def test_key_is_held_by_a_named_task_on_a_named_worker() -> None:
    desk = patient(retry=RetryPolicy.constant(10))
    desk.submit("a", 2, key="k", ordered=True)
    desk.submit("b", key="k", ordered=True)
    (one,) = assigned(desk.hello(W, "shop", 5))

    assert why(desk, "b") == why(desk, "a#1") == ("key-held", "key 'k' is held by task a#0, which is at shop")
    assert detail(desk, "b") == {"key": "k", "task": "a#0", "worker": "shop"}
    desk.settle(W, failed(one), credit=5)
    assert why(desk, "b") == ("key-held", "key 'k' is held by a task that will be tried again")


def test_fair_key_waits_for_its_turn() -> None:
    desk = patient()
    desk.command("set-queue", queue="q", fair=True)
    desk.submit("a", key="k")
    desk.submit("b", key="k")

    assert why(desk, "b")[0] == "key-turn"


def test_paused_queue_is_the_first_reason() -> None:
    desk = patient()
    desk.submit("a")
    desk.command("pause", queue="q")

    assert why(desk, "a") == ("paused", "queue q is paused")


def test_queue_without_workers_has_none() -> None:
    desk = patient()
    desk.submit("a")
    assert why(desk, "a") == ("no-worker", "no worker for queue q is there")

    desk.hello(W, "w", 0)
    assert why(desk, "a")[0] == "no-credit"
    desk.say(W, Goodbye("w", "w"))
    assert why(desk, "a")[0] == "no-worker"


def test_rate_and_concurrency_are_told_with_their_limits() -> None:
    desk = patient()
    desk.command("set-queue", queue="q", rate=0.5, burst=1)
    desk.command("set-queue", queue="r", concurrency=1)
    desk.command("set-queue", queue="s", key_rate=0.1, key_burst=1)
    desk.command("set-queue", queue="t", key_concurrency=1)
    for queue in "qrst":
        for number in range(2):
            desk.submit(f"{queue}-{number}", queue=queue, key="k")
    desk.hello(W, "w", 10, queues=("q", "r", "s", "t"))

    assert why(desk, "q-1") == ("rate", "the rate of queue q, 0.5 a second, has room in 2.0 s")
    assert detail(desk, "q-1")["until_time"] == WALL + 2.0
    assert why(desk, "r-1") == ("concurrency", "1 of 1 tasks of queue r are leased, its limit")
    assert why(desk, "s-1") == ("key-rate", "the rate of key 'k', 0.1 a second, has room in 10.0 s")
    assert why(desk, "t-1") == ("key-concurrency", "1 of 1 tasks of key 'k' are leased, its limit")


def test_full_workers_are_told_with_who_goes_first() -> None:
    desk = patient()
    desk.submit("a", 3)
    desk.submit("urgent", 2, priority=9)
    desk.hello(W, "shop", 1)

    assert why(desk, "a#2") == ("no-credit", "the 1 worker has no room, and 3 tasks go first")
    assert detail(desk, "a#2") == {"ahead": 3, "ahead_is_least": False, "workers": {"shop": 1}}


def ask_on_the_way(desk: Desk, *ids: str) -> list[tuple[str, str]]:
    """Asks in the turn in which a worker has room, before anything is assigned in it."""
    settle = Settle(1, 5, (), ())
    queries = [(CLIENT, Query(number, "why", {"id": id})) for number, id in enumerate(ids)]
    sent = desk.turn((W, settle), *queries)
    return [(one.value["code"], one.value["text"]) for _, one in sent if isinstance(one, Answer)]


def test_first_task_is_next_and_the_others_are_behind() -> None:
    desk = patient()
    desk.hello(W, "w", 0)
    desk.submit("a", 3)

    assert ask_on_the_way(desk, "a#0", "a#2") == [("next", "it is next"), ("behind", "it waits behind 2 tasks")]


def test_task_that_may_have_killed_a_worker_waits_for_one_that_holds_nothing() -> None:
    desk = patient()
    desk.submit("busy", queue="other")
    desk.hello(W, "w", 1, queues=("q", "other"))
    desk.submit("a", 3)
    desk.hello(V, "v", 3)  # gets all of them, and is replaced before it says that it started one
    desk.kill(V)
    desk.say(b"worker-3", Hello("v", "again", ("nothing",), 1, 1, ()))

    assert [code for code, _ in ask_on_the_way(desk, "a#0")] == ["solo"]


def test_task_waits_for_its_shop() -> None:
    desk = patient()
    desk.command("set-queue", queue="q", assign="hash")
    ring = Ring(["shop-0", "shop-1"])
    mine, other = (next(key for key in map(str, range(99)) if next(ring.owners(key)) == name) for name in ring_names())
    desk.hello(W, "shop-0", 1)
    desk.hello(V, "shop-1", 2)
    desk.submit("a", key=mine)
    desk.submit("b", key=other)

    desk.submit("c", key=mine)

    assert why(desk, "c") == ("shop", f"it waits for shop-0, the worker of key '{mine}'")


def ring_names() -> tuple[str, str]:
    return "shop-0", "shop-1"


def test_pulled_queue_has_who_takes() -> None:
    desk = patient()
    desk.command("set-queue", queue="q", concurrency=1)
    desk.say(CLIENT, Pull(1, "till", "q", 1, 0.0, 30.0))
    desk.submit("a", 2)
    desk.say(CLIENT, Pull(2, "till", "q", 1, 0.0, 30.0))
    desk.say(CLIENT, Pull(3, "till", "q", 1, 30.0, 30.0))

    assert why(desk, "a#0")[1].startswith("it is leased to till/2")
    assert why(desk, "a#1")[0] == "concurrency"


def test_asking_changes_nothing() -> None:
    desk = patient()
    desk.command("set-queue", queue="q", key_rate=1.0, rate=5.0)
    desk.submit("a", 5, key="k")
    desk.hello(W, "w", 2)
    before = {table: dict(rows) for table, rows in desk.store.values.items()}
    for number in range(5):
        why(desk, f"a#{number}")

    assert {table: dict(rows) for table, rows in desk.store.values.items()} == before
