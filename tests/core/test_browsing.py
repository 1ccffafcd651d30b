"""Looking for tasks (docs/semantics.md, Insight)."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core import pages, tables
from zq.core.insight import browsing
from zq.wire.messages import Cancel, Error, Pull, Query, Release, Span

W, V = b"worker-1", b"worker-2"


def patient(**options: Any) -> Desk:
    return Desk(suspect_after=1e6, gone_after=1e6, **options)


def find(desk: Desk, state: str = "any", **arguments: Any) -> list[str]:
    """Returns the ids that a search finds, over all of its pages."""
    found: list[str] = []
    cursor = None
    while True:
        page = desk.query("tasks", state=state, cursor=cursor, **arguments)
        found += [row["id"] for row in page["rows"]]
        cursor = page["cursor"]
        if cursor is None:
            return found


def kitchen() -> Desk:
    """A desk with a task in every state, of each of two keys."""
    desk = patient(max_attempts=1)
    desk.submit("dead", 2, key="k", headers={"city": "rome"})
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(one, 1, error="it Burnt"), credit=0)
    desk.settle(W, done(one, 0, 1), credit=0)
    desk.submit("leased", 3, priority=9)
    (two,) = assigned(desk.hello(V, "v", 3))
    desk.settle(V, done(two, 0, 1), credit=0)
    desk.submit("scheduled", 2, delay=60.0, key="l", headers={"city": "rome", "size": "big"})
    desk.submit("waiting", 3, key="k")
    desk.submit("other", 1, queue="r", headers={"city": "oslo"})
    desk.submit("gone")
    desk.say(CLIENT, Cancel(99, "gone"))
    return desk


def test_tasks_are_found_by_state() -> None:
    desk = kitchen()

    assert find(desk, "waiting") == ["waiting#0", "waiting#1", "waiting#2", "other"]
    assert find(desk, "leased") == ["leased#1", "leased#2"]
    assert find(desk, "scheduled") == ["scheduled#0", "scheduled#1"]
    assert find(desk, "dead") == ["dead#1"]
    assert find(desk, "done") == ["dead#0"]  # the other batch has not ended yet
    assert find(desk, "cancelled") == ["gone"]
    assert find(desk, "expired") == []
    assert find(desk, "unfinished") == [
        *find(desk, "leased"), *find(desk, "waiting"), *find(desk, "scheduled"),
    ]  # fmt: skip
    assert find(desk) == [*find(desk, "unfinished"), "dead#1", "dead#0", "gone"]


def test_tasks_are_found_by_queue_key_and_headers() -> None:
    desk = kitchen()

    assert find(desk, queue="r") == ["other"]
    assert find(desk, key="k") == ["waiting#0", "waiting#1", "waiting#2", "dead#1"]
    assert find(desk, headers=["city", "rome"]) == ["scheduled#0", "scheduled#1", "dead#1"]
    assert find(desk, headers=["city", "rome", "size", "big"]) == ["scheduled#0", "scheduled#1"]
    assert find(desk, queue="q", key="l") == ["scheduled#0", "scheduled#1"]


def test_tasks_are_found_by_the_worker_that_has_had_or_done_them() -> None:
    desk = kitchen()

    assert find(desk, worker="v") == ["leased#1", "leased#2"]
    assert find(desk, worker="w") == ["dead#1", "dead#0"]
    assert find(desk, "waiting", worker="w") == []


def test_pulled_tasks_are_found_by_the_name_of_the_puller() -> None:
    desk = patient()
    desk.submit("a")
    desk.say(CLIENT, Pull(8, "till", "q", 1, 0.0, 30.0))

    assert find(desk, worker="till") == find(desk, worker="till/8") == ["a"]
    assert find(desk, worker="ti") == []


def test_tasks_are_found_by_text_in_the_reason_or_the_last_error() -> None:
    desk = kitchen()
    desk.submit("again", queue="s", max_attempts=5, retry=("constant", 5.0, 0.0, 0.0))
    (one,) = assigned(desk.hello(b"x", "x", 1, queues=("s",)))
    desk.settle(b"x", failed(one, error="burnt, too"), credit=0)

    assert find(desk, reason="BURNT") == ["again", "dead#1"]
    assert find(desk, "scheduled", reason="burnt", worker="x") == ["again"]
    assert find(desk, reason="by a client") == ["gone"]


def test_tasks_are_found_by_age() -> None:
    desk = patient()
    desk.submit("old", 2)
    desk.wait(300.0, every=100.0)
    desk.submit("new")

    assert find(desk, older_than=300.0) == ["old#0", "old#1"]
    assert find(desk, older_than=0.0) == ["old#0", "old#1", "new"]


def test_pages_of_any_size_have_every_task_once() -> None:
    desk = kitchen()
    everything = find(desk)
    assert len(set(everything)) == len(everything) == 11

    for size in range(1, 12):
        assert find(desk, limit=size) == everything


def test_question_reads_a_bounded_number_of_records_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = patient()
    for index in range(30):
        desk.submit(f"t{index:02}", key="rare" if index == 29 else None, delay=9.0 if index % 2 else 0.0)
    monkeypatch.setattr(pages, "WORK_MAX", 4 * pages.RECORD_WORK)
    first = desk.query("tasks", state="unfinished", key="rare")

    assert (first["rows"], first["cursor"] is None) == ([], False)
    assert find(desk, "unfinished", key="rare") == ["t29"]
    monkeypatch.setattr(pages, "WORK_MAX", 500)
    monkeypatch.setattr(pages, "BYTES_PER_WORK", 1)
    assert desk.query("tasks", state="unfinished", key="rare")["rows"] == []
    assert find(desk, "unfinished", key="rare") == ["t29"]


def test_search_goes_on_over_a_restart() -> None:
    desk = patient()
    for index in range(10):
        desk.submit(f"t{index}")
    page = desk.query("tasks", limit=4)
    desk.restart()
    rest = desk.query("tasks", limit=100, cursor=page["cursor"])

    assert [row["id"] for row in page["rows"] + rest["rows"]] == [f"t{index}" for index in range(10)]


def test_parked_tasks_are_found_among_those_that_wait() -> None:
    desk = patient()
    for index in range(4):
        desk.submit(f"t{index}", key="k", ordered=True)

    assert find(desk, "waiting", limit=1) == ["t0", "t1", "t2", "t3"]


def test_looking_changes_nothing() -> None:
    desk = kitchen()
    tx = desk.store.begin()
    before = {table: list(tx.scan(table)) for table in tables.TABLES}
    tx.abort()
    for state in browsing.STAGES:
        find(desk, state, limit=3)
        find(desk, state, limit=3, worker="w")
    tx = desk.store.begin()
    after = {table: list(tx.scan(table)) for table in tables.TABLES}
    tx.abort()

    assert before == after


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"state": "done", "key": "k"}, "expected neither key nor headers with state done"),
        ({"headers": ["a"]}, "expected headers as a list of names and texts in turn"),
        ({"cursor": "zz"}, "expected cursor as an earlier answer"),
        ({"cursor": "01"}, "expected cursor as an earlier answer"),
        ({"cursor": "9307c40100c0"}, "expected cursor as an earlier answer"),
        ({"older_than": -1}, "expected older_than from 0"),
    ],
)
def test_what_cannot_be_looked_for_is_told(arguments: dict[str, Any], text: str) -> None:
    desk = patient()
    error = only(desk.say(CLIENT, Query(1, "tasks", arguments)), Error)

    assert (error.code, error.text[: len(text)]) == ("invalid", text)


def test_payload_is_there_until_a_task_has_ended() -> None:
    desk = kitchen()

    assert [desk.query("payload", id=f"waiting#{index}") for index in range(4)] == [b"\0", b"\1", b"\2", None]
    assert desk.query("payload", id="leased#2") == desk.query("payload", id="waiting#2")
    assert desk.query("payload", id="dead#1") == b"\1"
    assert desk.query("payload", id="other") == b"\0"
    assert [desk.query("payload", id=id) for id in ("gone", "never", "never#0", "waiting")] == [None] * 4


def test_released_tasks_are_found_where_they_were() -> None:
    desk = patient()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.say(W, Release(1, 0, (Span(one.token, 1, 2),)))

    assert (find(desk, "leased"), find(desk, "waiting")) == (["a#0", "a#2"], ["a#1"])
