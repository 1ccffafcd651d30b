"""What workers say of themselves, what the coordinator tells them to do, and what it tells them of their failures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, only
from zq.wire.messages import Command, Error, Failed, Held, Settled, Started
from zq.wire.steering import About, NextTry, Steer

W = b"w"

ABOUT = About("oven-7", 4711, 2, 2, False, None)


@pytest.fixture
def desk() -> Desk:
    """Returns a coordinator with a worker that has said what it is."""
    desk = Desk()
    desk.hello(W, "shop", 30)
    assert desk.say(W, ABOUT) == []
    return desk


def steer(desk: Desk, **arguments: object) -> list[Any]:
    """Returns what comes of a command: its answer, or what the worker hears."""
    return [message for _, message in desk.turn((CLIENT, Command(1, "steer-worker", dict(arguments))))]


def test_row_of_a_worker_has_what_it_says_of_itself() -> None:
    desk = Desk()
    desk.hello(W, "shop", 1)
    known = {"host", "pid", "processes", "is_draining", "trouble"}
    [older] = desk.query("workers")
    desk.say(W, About("oven-7", 4711, 2, 3, True, "no module named menu"))
    [row] = desk.query("workers")

    assert {name: older[name] for name in known} == {**dict.fromkeys(known), "is_draining": False}
    assert {name: row[name] for name in known} == {
        "host": "oven-7", "pid": 4711, "processes": 2, "is_draining": True, "trouble": "no module named menu",
    }  # fmt: skip
    assert (older["concurrency"], row["concurrency"]) == (1, 3)


def test_row_of_a_worker_has_twenty_tasks_that_it_holds_the_started_ones_first(desk: Desk) -> None:
    desk.submit("a", 15)
    desk.submit("b", 15)
    [_, second] = [lease.token for lease in desk.leases]
    desk.now += 2.0
    desk.wall += 2.0
    desk.say(W, Started((Held(second, (3,)),)))

    [row] = desk.query("workers")

    assert row["tasks"][0] == {"id": "b#3", "queue": "q", "started_time": WALL + 2.0}
    assert row["tasks"][1] == {"id": "a#0", "queue": "q", "started_time": None}
    assert (row["held"], len(row["tasks"])) == (30, 20)


@pytest.mark.parametrize(("action", "size"), [("drain", None), ("resume", None), ("stop", None), ("resize", 8)])
def test_worker_is_told_what_to_do(desk: Desk, action: Any, size: int | None) -> None:
    told, answer = steer(desk, name="shop", action=action, size=size)

    assert told == Steer(action, size)
    assert answer.value["name"] == "shop"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "nobody", "action": "drain"}, "there is no worker 'nobody'"),
        ({"name": "shop", "action": "explode"}, "expected action as one of drain, stop, resume, resize"),
        ({"name": "shop", "action": "resize"}, "expected size with resize, and with nothing else"),
        ({"name": "shop", "action": "drain", "size": 3}, "expected size with resize, and with nothing else"),
        ({"name": "shop", "action": "resize", "size": 0}, "expected size as a whole number from 1 to 1000"),
        ({"name": "shop", "action": "resize", "size": 2.5}, "expected size as a whole number from 1 to 1000"),
        ({"action": "drain"}, "expected text for name"),
    ],
)
def test_what_cannot_be_told_is_refused_in_words(desk: Desk, arguments: dict[str, object], words: str) -> None:
    [error] = steer(desk, **arguments)

    assert isinstance(error, Error)
    assert words in error.text


def test_who_is_not_connected_or_older_cannot_be_told(desk: Desk) -> None:
    desk.lose(W)
    [lost] = steer(desk, name="shop", action="drain")
    desk.hello(b"v", "older")
    [older] = steer(desk, name="older", action="drain")

    assert "worker 'shop' is not connected now" in lost.text
    assert "runs an older version" in older.text


def test_settled_tells_when_what_failed_is_tried_again(desk: Desk) -> None:
    desk.submit("a", retry=("constant", 7.0, 1.0, 60.0), max_attempts=3)
    [first] = [lease.token for lease in desk.leases]
    told = only(desk.settle(W, failed_of(desk, "a")), Settled)

    assert told.next_tries == (NextTry(first, 0, 3, 7.0),)


@pytest.mark.parametrize("options", [{"max_attempts": 1}, {"retry": ("none", 0.0, 1.0, 0.0)}])
def test_settled_tells_that_what_failed_is_not_tried_again(desk: Desk, options: dict[str, Any]) -> None:
    desk.submit("a", **options)
    told = only(desk.settle(W, failed_of(desk, "a")), Settled)

    assert [one.delay for one in told.next_tries] == [None]


def test_settled_tells_nothing_of_what_is_stale_or_to_who_has_not_asked(desk: Desk) -> None:
    desk.submit("a")
    failure = failed_of(desk, "a")
    desk.command("bury", id="a")
    stale = only(desk.settle(W, failure), Settled)
    other = Desk()
    other.hello(W, "older")
    other.submit("a")
    plain = only(other.settle(W, failed_of(other, "a")), Settled)

    assert (len(stale.stale), stale.next_tries, plain.next_tries) == (1, (), ())


def failed_of(desk: Desk, id: str) -> Failed:
    """Returns the failure of a task that is leased."""
    [lease] = [one for one in desk.leases if one.batch.id == id]
    return Failed(lease.token, id, 0, "it burnt", None, False)
