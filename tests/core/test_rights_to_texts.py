"""Texts name no queue, and count nothing, that the key which reads them may not see."""

from __future__ import annotations

from tests.core.desk import only
from tests.core.guarded import GuardedDesk, task
from zq.wire.messages import Command, Events, Follow, Options, Publish, Published, Receipt, Submit

OWN = dict.fromkeys(("submit", "work", "look"), ("own",))


def test_events_about_moves_and_revivals_name_the_other_queue_to_who_may_see_it_only() -> None:
    desk = GuardedDesk()
    desk.boss(Submit(1, (task("a", "own"), task("b", "own"))))
    desk.boss(Command(2, "bury", {"id": "a", "reason": "burnt"}))
    watcher, boss = desk.let("watcher", "client", **OWN), desk.also("boss", b"another")
    for peer in (watcher, boss):
        desk.say(peer, Follow(1, None, ("queue", "revived", "accepted"), 600.0, 0))

    sent = desk.turn(
        (b"boss", Command(3, "replay", {"id": "a", "to": "secret"})),
        (b"boss", Command(4, "move", {"id": "m", "queue": "own", "to": "secret"})),
    )
    sent += desk.turn() + desk.turn()

    told = {to: repr([one.events for other, one in sent if other == to and isinstance(one, Events)]) for to, _ in sent}
    assert "move to secret" in told[boss]
    assert "'move'" in told[watcher]
    assert "secret" not in told[watcher]


def test_that_a_namespace_is_full_is_said_without_counts_to_who_may_not_see_it_all() -> None:
    desk = GuardedDesk()
    peer = desk.let("till", "client", namespaces=("a",), **OWN)
    desk.boss(Submit(1, (task("a/x", "a/other"),)))
    desk.boss(Command(2, "set-namespace", {"name": "a", "max_tasks": 1}))
    desk.boss(Command(3, "bind", {"pattern": "a/t", "queue": "a/own"}))

    refused = only(desk.say(peer, Submit(4, (task("a/y", "a/own"),))), Receipt).refused[0]
    unpublished = only(desk.say(peer, Publish(5, "a/p", "a/t", Options(), True, *task("", "")[3:])), Published).refused

    assert refused.reason == "namespace a is full"
    assert unpublished is not None and unpublished.reason == "namespace a is full"
    whole = desk.boss(Submit(6, (task("a/z", "a/own"),))).refused[0]
    assert whole.reason == "namespace a is full: 1 of 1 tasks"
