"""What any question costs: no more with twice the queues, tasks and names than with half, and never more than a few
milliseconds of anybody's time, counted in calls of functions and in bytes that are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.core.counting import calls_of
from tests.core.desk import CLIENT, Desk, assigned, done
from zq.core.insight.queries import QUERIES
from zq.store.memory import MemoryTransaction
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import decode_from_coordinator, encode_answer
from zq.wire.messages import Answer, Batch, Command, Error, Group, Hello, Open, Options, Query, Schedule, Submit
from zq.wire.questions import LISTINGS

CALLS_MAX = 60_000
"""Less than ten milliseconds; one of a store in memory has a call more for each row that is read."""

BYTES_MAX = 12 << 20

QUEUES = 1500
"""Of the smaller store, a third of them in ten namespaces; the larger one has twice as many."""

PAYLOAD = pack_payloads([encode_payload(0)])


class ReadingTransaction(MemoryTransaction):
    """Counts the bytes that are read."""

    read = 0

    def get(self, table: str, key: bytes) -> bytes | None:
        value = super().get(table, key)
        ReadingTransaction.read += len(value or b"")
        return value

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(table, start, stop):
            ReadingTransaction.read += len(value)
            yield key, value


def full_desk(size: int) -> Desk:
    """Returns a coordinator that has as much of everything as the size says."""
    desk = Desk()
    names = [f"team-{n % 10}/q{n:05}" if n % 3 == 0 else f"q{n:05}" for n in range(QUEUES * size)]
    for at in range(0, len(names), 500):
        queues = tuple(names[at : at + 500])
        desk.say(f"w{at}".encode(), Hello(f"worker-{at:05}", "i", queues, 0, 1, ()))
        desk.say(
            CLIENT, Submit(1, tuple(Batch(f"b-{name.replace('/', '.')}", name, Options(), *PAYLOAD) for name in queues))
        )
    thousand = pack_payloads([encode_payload(0)] * 1000)
    for n in range(10 * size):
        for queue, options in (
            ("many", Options()),
            ("late", Options(delay=1000.0)),
            ("lines", Options(key="k", ordered=True)),
        ):
            desk.say(CLIENT, Submit(1, (Batch(f"{queue}-{n}", queue, options, *thousand),)))
        desk.submit(f"gone-{n}", 1000, queue="gone", headers={"city": "rome"})
        desk.say(CLIENT, Command(1, "bury", {"id": f"gone-{n}", "reason": "r" * 200}))
        until_idle(desk)
    ended(desk, size)
    for n in range(600 * size):
        desk.say(CLIENT, Open(1, Group(f"g{n:05}", 5, "all", False, "joined", Options())))
        desk.say(CLIENT, Schedule(1, Batch(f"s{n:05}", "reports", Options(), *PAYLOAD), 1e6, None, "UTC", "one"))
        desk.command("bind", pattern=f"topic.{n % 7}.#", queue=names[n], headers=("n", f"{n}"))
    for n in range(300 * size):
        desk.command("set-namespace", name=f"limited-{n}", max_tasks=5)
    for n in range(50):
        desk.command("start-replay", id=f"r{n}", rate=0.001, queue="gone")
        desk.command("move", id=f"o{n}", queue=names[n], to="elsewhere")
    until_idle(desk)
    return desk


def until_idle(desk: Desk) -> None:
    """Lets what is done in portions come to its end."""
    while desk.machine.next_at(desk.clocks()) <= desk.now:
        desk.turn()


def ended(desk: Desk, size: int) -> None:
    """Has tasks that are done, each of a batch by a completion of its own, and cancelled ones."""
    for n in range(6 * size):
        desk.submit(f"done-{n}", 200, queue="shop")
        [lease] = assigned(desk.hello(b"shop", f"shop-{n}", credit=200, queues=("shop",)))
        for index in range(200):
            desk.now += 0.2
            desk.wall += 0.2
            desk.settle(b"shop", done(lease, index, index + 1, result="r"), credit=0)
        desk.submit(f"cancelled-{n}", 1000, queue="shops")
    desk.submit("leased", 100, queue="held")
    desk.hello(b"holder", "holder", credit=100, queues=("held",))


@cache
def desk_of(size: int) -> Desk:
    return full_desk(size)


IDS = ("many-0", "many-9#999", "late-0", "lines-9#5", "gone-0#7", "done-0", "done-0#7", "leased", "leased#5", "none")

SEARCHES: tuple[dict[str, Any], ...] = tuple(
    {"state": state, "limit": 1000, **filters}
    for state in ("waiting", "leased", "scheduled", "dead", "done", "cancelled", "expired", "unfinished", "any")
    for filters in (
        {},
        {"namespace": "team-1"},
        {"worker": "nobody"},
        {"reason": "nothing"},
        {"queue": "late"},
        {"queue": "shop"},
        {"older_than": 1e6},
    )
)

LISTED: tuple[dict[str, Any], ...] = ({"limit": 1000}, {"limit": 1000, "namespace": "team-1"}, {"limit": 1})

ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "status": ({}, {"namespace": "team-1"}, {"namespace": "none"}),
    "tasks": SEARCHES,
    **{what: tuple({"id": id} for id in IDS) for what in ("task", "trace", "why", "payload")},
    **dict.fromkeys(sorted(LISTINGS), LISTED),
    "groups": (*LISTED, {"state": "failed", "limit": 1000}),
    "bindings": (*LISTED, {"queue": "q00001", "limit": 1000}),
    "namespaces": (*LISTED, {"name": "team-1"}),
    "operations": (*LISTED, {"id": "o1"}),
    "queue": ({"queue": "many"},),
    "schedule": ({"name": "s00001"},),
    "group": ({"id": "g00001"},),
    "match": ({"topic": "topic.1.a", "headers": ("n", "1")},),
}


def cost(desk: Desk, what: str, arguments: dict[str, Any]) -> tuple[int, int, Any]:
    """Returns calls, bytes read and the answer of one question."""
    answers: list[Any] = []

    def ask() -> None:
        answers.extend(desk.say(CLIENT, Query(1, what, arguments)))

    desk.query("status")  # what has changed is added up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store, "begin", lambda: ReadingTransaction(desk.store))
        ReadingTransaction.read = 0
        calls = calls_of(ask)
    [answer] = answers
    return calls, ReadingTransaction.read, answer


def test_every_query_is_asked() -> None:
    assert ARGUMENTS.keys() == QUERIES.keys()


@pytest.mark.parametrize("what", ARGUMENTS)
def test_question_costs_no_more_in_a_larger_store(what: str) -> None:
    for arguments in ARGUMENTS[what]:
        calls, read, answer = cost(desk_of(1), what, arguments)
        more_calls, more_read, more = cost(desk_of(2), what, arguments)

        assert max(calls, more_calls) < CALLS_MAX, arguments
        assert max(read, more_read) < BYTES_MAX, arguments
        for one in (answer, more):
            assert isinstance(decode_from_coordinator(encode_answer(one)), Answer), (arguments, one)
        is_all = isinstance(answer.value, dict) and "cursor" in answer.value and answer.value["cursor"] is None
        assert more_calls < 1.2 * calls + 1000 or is_all, (arguments, calls, more_calls)


def _name(row: dict[str, Any]) -> Any:
    return row.get("name") or row.get("id") or row.get("time") or (row["origin"], row["target"])


@pytest.mark.parametrize("what", [*sorted(LISTINGS - {"dead-reasons"}), "tasks"])
@pytest.mark.parametrize("namespace", [None, "team-1"])
def test_pages_put_together_have_everything_once(what: str, namespace: str | None) -> None:
    desk = desk_of(1)
    arguments: dict[str, Any] = {"limit": 1000} if namespace is None else {"limit": 7, "namespace": namespace}
    if what == "tasks":
        arguments["state"] = "waiting"
    rows: list[Any] = []
    cursor = None
    while True:
        page = desk.ask(what, **arguments, cursor=cursor)
        rows += page["rows"]
        cursor = page["cursor"]
        assert len(page["rows"]) <= arguments["limit"]
        if cursor is None:
            break

    names = [str(sorted(row.items(), key=str)) if what == "bindings" else _name(row) for row in rows]
    books = desk.machine.books
    inside = "" if namespace is None else "team-1/"
    assert len(set(names)) == len(names)
    if what == "queues":
        assert names == sorted(name for name in books.queues if name.startswith(inside))
    if what == "bindings":
        assert len(names) == len([one for one in books.bindings if one.queue.startswith(inside)])
    if what == "workers" and namespace is None:
        assert names == sorted(books.workers)
    if what == "namespaces" and namespace is None:
        assert names == sorted({*books.shares.limited(), *(f"team-{n}" for n in range(10))})
    if what == "tasks" and namespace is not None:
        assert len(names) == sum(books.queues[name].total_waiting for name in books.queues if name.startswith(inside))


def test_sums_are_those_over_the_queues() -> None:
    desk = desk_of(1)
    books = desk.machine.books
    for namespace, inside in ((None, ""), ("team-3", "team-3/")):
        queues = [queue for name, queue in books.queues.items() if name.startswith(inside)]
        status = desk.query("status", namespace=namespace)
        assert status["queues"] == len(queues)
        assert status["waiting"] == sum(queue.total_waiting + queue.parked for queue in queues)
        for name in ("scheduled", "leased", "dead", "done", "cancelled", "expired"):
            assert status[name] == sum(getattr(queue, name) for queue in queues)
    [row] = desk.query("namespaces", name="team-3")
    assert row["bytes"] == sum(queue.stored_bytes for queue in queues)
    desk.restart()
    assert desk.query("namespaces", name="team-3") == [row]


def test_sums_follow_what_the_same_turn_has_brought() -> None:
    desk = Desk()
    batch = Batch("b", "t/q", Options(), *PAYLOAD)
    answers = desk.turn((CLIENT, Submit(1, (batch,))), (CLIENT, Query(2, "status", {"namespace": "t"})))

    assert answers[1][1].value["waiting"] == 1
    desk.command("delete", id="d", queue="t/q", purge=True)
    assert desk.query("status")["queues"] == desk.query("status", namespace="t")["queues"] == 0
    assert desk.query("namespaces") == []


def test_cursor_outlives_what_it_stood_on() -> None:
    desk = Desk()
    for name in ("a", "b", "c", "d"):
        desk.command("set-queue", queue=name)
    page = desk.ask("queues", limit=2)
    desk.command("delete", id="x", queue="b")
    desk.command("set-queue", queue="bb")

    assert [row["name"] for row in page["rows"]] == ["a", "b"]
    assert [row["name"] for row in desk.ask("queues", cursor=page["cursor"])["rows"]] == ["bb", "c", "d"]


@pytest.mark.parametrize("what", [*sorted(LISTINGS), "tasks"])
@pytest.mark.parametrize(
    "cursor", ["", "x", "c0", "93", "05", "ff", "c4" + "00" * 600, "a0" * 1000, "cf" + "ff" * 8, "d9ff"]
)
def test_cursor_that_cannot_be_is_refused_in_words(what: str, cursor: str) -> None:
    [answer] = desk_of(1).say(CLIENT, Query(1, what, {"cursor": cursor}))

    assert isinstance(answer, Error | Answer)
    assert isinstance(answer, Answer) or "expected" in answer.text


def test_large_rows_make_short_pages() -> None:
    desk = Desk()
    headers = {f"h{n}": "x" * 4000 for n in range(30)}
    for n in range(20):
        desk.command("bind", pattern=f"p{n}", queue="q", headers=[t for pair in headers.items() for t in pair])
    page = desk.ask("bindings", limit=1000)

    assert 1 <= len(page["rows"]) <= 3
    assert len(desk.query("bindings")) == 20


@pytest.mark.parametrize("namespace", [{}, {"namespace": "team-7"}])
def test_twenty_thousand_queues_are_told_in_pages_that_can_be_read(namespace: dict[str, str]) -> None:
    desk = desk_of_many_queues()
    names: list[str] = []
    cursor, worst = None, 0
    while True:
        calls, _, answer = cost(desk, "queues", {**namespace, "limit": 1000, "cursor": cursor})
        told = decode_from_coordinator(encode_answer(answer))
        assert isinstance(told, Answer)
        page = told.value
        names += [row["name"] for row in page["rows"]]
        worst = max(worst, calls)
        cursor = page["cursor"]
        if cursor is None:
            break

    assert worst <= CALLS_MAX
    assert names == sorted(name for name in desk.machine.books.queues if not namespace or name.startswith("team-7/"))
    assert len(names) == (400 if namespace else 20_000)
    assert sum(row["queues"] for row in desk.query("namespaces")) == 20_000


@cache
def desk_of_many_queues() -> Desk:
    desk = Desk()
    names = [f"team-{n % 50}/q{n:05}" for n in range(20_000)]
    for at in range(0, len(names), 200):
        batches = [Batch(f"b-{at + n}", name, Options(), *PAYLOAD) for n, name in enumerate(names[at : at + 200])]
        desk.say(CLIENT, Submit(1, tuple(batches)))
    return desk
