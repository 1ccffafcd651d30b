"""What a full store refuses, and what it does all the same (docs/semantics.md, A full store)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, Disk, assigned, done, only
from zq.core.coordinator import Machine
from zq.core.storage import STORE_FULL
from zq.core.tasks import admission
from zq.core.upkeep import _follow_up, _say_later, parts_of
from zq.errors import StoreFullError
from zq.store.memory import MemoryTransaction
from zq.wire.batch import pack_payloads
from zq.wire.messages import (
    Answer,
    Batch,
    Cancel,
    Command,
    Done,
    Error,
    Group,
    Hello,
    Open,
    Options,
    Ping,
    Pong,
    Publish,
    Published,
    Pull,
    Receipt,
    Schedule,
    Settle,
    Settled,
    Submit,
    Tasks,
    Welcome,
)

NIL = pack_payloads([b"\xc0"])
DEAD = "dead"


def filled(part: float) -> Desk:
    """A desk with a queue, a binding, a schedule and a dead letter, whose store is filled to a part of its room."""
    desk = Desk()
    for number in range(20):
        desk.submit(f"t{number}", 5)
    desk.submit("unique", queue="u", unique=("key", "done", "keep"))
    desk.submit(DEAD, queue="d")
    desk.command("bury", id=DEAD)
    desk.command("bind", queue="q", pattern="there")
    desk.command("set-namespace", name="n", max_tasks=9)
    desk.say(CLIENT, Schedule(1, Batch("nightly", "q", Options(), *NIL), 3600.0, None, "UTC", "skip"))
    desk.store.capacity_bytes = int(desk.store.used_bytes / part)
    return desk


def command(verb: str, **arguments: Any) -> Callable[[], Any]:
    return lambda: Command(1, verb, arguments)


FILLERS: dict[str, Callable[[], Any]] = {
    "submit": lambda: Submit(1, (Batch("new", "q", Options(), *NIL),)),
    "submit to a new queue": lambda: Submit(1, (Batch("new", "new", Options(), *NIL),)),
    "submit of a duplicate": lambda: Submit(1, (Batch("new", "u", Options(unique=("key", "done", "keep")), *NIL),)),
    "open": lambda: Open(1, Group("new", 1, "all", False, "q", Options())),
    "publish": lambda: Publish(1, "new", "there", Options(), True, *NIL),
    "publish to nobody": lambda: Publish(1, "new", "nobody", Options(), False, *NIL),
    "schedule": lambda: Schedule(1, Batch("new", "q", Options(), *NIL), 60.0, None, "UTC", "skip"),
    "schedule that is there": lambda: Schedule(1, Batch("nightly", "q", Options(), *NIL), 60.0, None, "UTC", "skip"),
    "set-schedule": command("set-schedule", name="nightly", every=9.0),
    "set-queue": command("set-queue", queue="q", max_tasks=10**9),
    "set-queue of a new one": command("set-queue", queue="new", paused=True),
    "pause of a new one": command("pause", queue="new"),
    "set-namespace": command("set-namespace", name="new", max_tasks=1),
    "bind": command("bind", queue="q", pattern="new"),
    "move": command("move", id="new", queue="q", to="u"),
    "start-replay": command("start-replay", id="new", rate=1.0),
    "replay": command("replay"),
    "retry": command("retry", id=DEAD),
    "bury": command("bury", id="t1"),
}


@pytest.mark.parametrize("filler", FILLERS)
def test_whatever_makes_a_row_that_is_no_completion_is_busy_and_stores_nothing(filler: str) -> None:
    desk = filled(0.82)
    before = {table: dict(rows) for table, rows in desk.store.values.items()}

    [answer] = desk.say(CLIENT, FILLERS[filler]())

    refused = answer.refused if isinstance(answer, Published) else None
    if isinstance(answer, Receipt):
        [refused] = answer.refused
    told = (refused.code, refused.reason) if refused is not None else (answer.code, answer.text)
    assert told == ("busy", STORE_FULL)
    assert {table: dict(rows) for table, rows in desk.store.values.items()} == before
    assert "new" not in desk.machine.books.queues


WAYS_OUT: dict[str, tuple[Callable[[], Any], Any]] = {
    "purge": (command("purge", id="p", queue="q"), Answer),
    "purge-dead": (command("purge-dead"), Answer),
    "delete": (command("delete", id="p", queue="q", purge=True), Answer),
    "cancel": (lambda: Cancel(1, "t1"), Answer),
    "unbind": (command("unbind", queue="q", pattern="there"), Answer),
    "delete-schedule": (command("delete-schedule", name="nightly"), Answer),
    "pause of a schedule": (command("set-schedule", name="nightly", is_paused=True), Answer),
    "set-namespace": (command("set-namespace", name="n", max_tasks=None), Answer),
    "pause": (command("pause", queue="q"), Answer),
    "resume": (command("resume", queue="q"), Answer),
    "hello": (lambda: Hello("w", "w", ("q", "new"), 0, 1, ()), Welcome),
    "pull": (lambda: Pull(1, "c", "q", 1, 0.0, 30.0), Tasks),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_the_way_out_of_a_full_store_is_open(way: str) -> None:
    desk = filled(0.82)
    message, kind = WAYS_OUT[way]

    only(desk.say(CLIENT, message()), kind)


def test_purged_store_takes_new_tasks_again() -> None:
    desk = filled(0.82)
    desk.command("purge", id="p", queue="q")
    desk.wait(desk.options.keep_seconds_min + 2.0)  # while it is full, nothing that has ended is kept for longer

    assert desk.submit("again").accepted


def test_store_that_is_short_of_room_leases_nothing_more_until_it_has_room() -> None:
    desk = filled(0.88)
    assert assigned(desk.hello(b"w", "w", 1)) == []
    assert assigned(desk.say(CLIENT, Pull(1, "c", "q", 1, 0.0, 30.0))) == []

    desk.store.capacity_bytes = None
    assert assigned([one for _, one in desk.wait(2.0)])


def test_completion_waits_when_what_is_left_is_for_the_way_out() -> None:
    desk = filled(0.5)
    [one] = assigned(desk.hello(b"w", "w", 1))
    room = desk.store.capacity_bytes
    desk.store.capacity_bytes = int(desk.store.used_bytes / 0.93)
    settle = Settle(1, 1, (done(one),), ())

    error = only(desk.say(b"w", settle), Error)
    assert (error.request, error.code, error.text) == (1, "busy", STORE_FULL)

    desk.store.capacity_bytes = room
    assert not only(desk.say(b"w", settle), Settled).stale


def test_what_is_purged_takes_no_room_when_none_is_left() -> None:
    desk = filled(0.99)
    before = desk.store.used_bytes
    desk.command("purge", id="p", queue="q")

    assert desk.store.used_bytes < before
    assert desk.task("t1")["state"] == "unknown"


def test_moves_and_replays_go_on_when_the_store_has_room_again() -> None:
    desk = Desk()
    for number in range(30):
        desk.submit(f"m{number}", queue="from")
        desk.command("bury", id=f"m{number}")
    desk.command("start-replay", id="r", rate=10.0)
    desk.store.capacity_bytes = int(desk.store.used_bytes / 0.82)
    moved = desk.query("replays")[0]["moved"]
    desk.wait(3.0)
    assert desk.query("replays")[0]["moved"] == moved

    desk.store.capacity_bytes = None
    desk.wait(6.0)
    assert desk.query("replays") == []


def test_completion_may_forward_into_a_full_store() -> None:
    desk = filled(0.5)
    [one] = assigned(desk.hello(b"w", "w", 1))
    desk.store.capacity_bytes = int(desk.store.used_bytes / 0.82)
    forward = Batch("next", "new", Options(), *NIL)

    completed: Done = done(one)._replace(forwards=(forward,))
    assert not only(desk.say(b"w", Settle(1, 1, (completed,), ())), Settled).stale
    assert desk.task("next")["state"] == "waiting"


# What shows only at the commit.


def test_commit_that_finds_no_room_puts_off_what_is_due_by_itself_and_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.submit("later", delay=5.0)
    desk.now, desk.wall = desk.now + 10.0, desk.wall + 10.0
    with monkeypatch.context() as full, pytest.raises(StoreFullError):
        full.setattr(Disk, "begin", lambda store: NoRoom(store))
        desk.turn((CLIENT, Ping(1)))
    assert not desk.machine.blame(desk.clocks())
    desk.machine = Machine(desk.options, desk.clocks(), desk.store, before=desk.machine)

    assert isinstance(only(desk.say(CLIENT, Ping(2)), Pong), Pong)
    assert desk.task("later")["state"] == "scheduled"
    desk.wait(1.5)
    assert desk.task("later")["state"] == "waiting"


def test_what_was_put_off_for_want_of_room_is_tried_as_soon_as_there_is_some() -> None:
    desk = Desk()
    desk.submit("later", delay=1.0)
    room, desk.store.capacity_bytes = desk.store.capacity_bytes, int(desk.store.used_bytes / 0.9)
    desk.wait(0.1)
    upkeep = desk.machine._upkeep
    upkeep.at = [part.due for part in parts_of(desk.machine.books)].index(admission.release_due)
    upkeep.is_at_commit = False
    for _ in range(8):
        assert desk.machine.blame(desk.clocks())
    desk.wait(1.5)
    assert desk.task("later")["state"] == "scheduled"

    desk.store.capacity_bytes = room
    desk.wait(0.1)

    assert desk.task("later")["state"] == "waiting"


class NoRoom(MemoryTransaction):
    def commit(self) -> None:
        self.abort()
        raise StoreFullError("cannot commit: the disk is full")


def test_what_ends_entail_is_never_put_off() -> None:
    """Callbacks and forwards are carried out in the turn in which something ends, or never."""
    desk = Desk()
    upkeep = desk.machine._upkeep
    parts = [part.due for part in parts_of(desk.machine.books)]
    upkeep.at = at = parts.index(_follow_up)

    assert desk.machine.blame(desk.clocks())
    assert set(desk.machine.cramp.put_off) == set(range(len(upkeep._walk))) - {at, parts.index(_say_later)}
