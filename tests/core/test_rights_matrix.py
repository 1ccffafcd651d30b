"""Every role says every message, asks every query and gives every command, about its own queue and others, in its own
namespace and another: each cell is as the table says, which was written by hand and knows nothing of the code's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.core.desk import done
from tests.core.guarded import QUEUES, GuardedDesk, furnish, named, pulled, task, words
from zq.core.admin.commands import COMMANDS
from zq.core.insight.queries import QUERIES
from zq.wire.codec import KINDS
from zq.wire.messages import (
    Confirm,
    Error,
    Events,
    Extend,
    Follow,
    Goodbye,
    Heartbeat,
    Outcome,
    Ping,
    Progress,
    Published,
    Query,
    Receipt,
    Refused,
    Release,
    Settle,
    Span,
    Started,
    Submit,
    Withdraw,
)
from zq.wire.steering import About

KEYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "by queue": (dict.fromkeys(("submit", "work", "look"), ("a/own",)), ("a/own",)),
    "by namespace": ({"namespaces": ("a",)}, ("a/own", "a/other")),
    "by both": ({"namespaces": ("a",), **dict.fromkeys(("submit", "work", "look"), ("own",))}, ("a/own",)),
}
"""How a key is bound, and which queues are its own then."""

CLIENT, WORKER, ADMIN = "client", "worker", "admin"
ALL = f"{CLIENT} {WORKER} {ADMIN}"
CALLER = f"{CLIENT} {ADMIN}"
HAND = f"{WORKER} {ADMIN}"

# What a verb comes to elsewhere, if its role may say it at all.
FORBIDDEN = "forbidden"  # refused by name
HIDDEN = "hidden"  # as if what it names did not exist
UNSEEN = "unseen"  # left out of a list
DONE = "done"
SEEN = "seen"

MESSAGES: dict[str, tuple[str, str]] = {
    "submit": (ALL, FORBIDDEN),
    "submit with a notice": (ALL, FORBIDDEN),
    "submit into a group": (ALL, FORBIDDEN),
    "submit under a taken id": (ALL, FORBIDDEN),
    "open": (ALL, FORBIDDEN),
    "open under a taken id": (ALL, FORBIDDEN),
    "publish": (ALL, "hidden, or forbidden in another namespace"),
    "wait for a task": (ALL, HIDDEN),
    "wait for a group": (ALL, HIDDEN),
    "pull": (ALL, FORBIDDEN),
    "cancel a task": (CALLER, HIDDEN),
    "cancel a group": (CALLER, "hidden, and its own forbidden but to who has a whole namespace"),
    "schedule": (CALLER, FORBIDDEN),
    "schedule over another": (CALLER, FORBIDDEN),
    "follow": (CALLER, UNSEEN),
    "hello": (HAND, FORBIDDEN),
    "forward": (ALL, FORBIDDEN),
}

LISTS = "status queues workers failures flows dead-reasons replays schedules groups bindings operations namespaces"
BY_ID = "task payload why trace group"

QUERY_TABLE: dict[str, tuple[str, str]] = {
    **dict.fromkeys(LISTS.split(), (CALLER, UNSEEN)),
    **dict.fromkeys(BY_ID.split(), (CALLER, HIDDEN)),
    "schedule": (CALLER, HIDDEN),
    "tasks": (CALLER, UNSEEN),
    "queue": (CALLER, FORBIDDEN),
    "history": (CALLER, FORBIDDEN),
    "match": (CALLER, "unseen, or forbidden in another namespace"),
}

COMMAND_TABLE: dict[str, tuple[str, str]] = {
    "retry": (CALLER, HIDDEN),
    "bury": (CALLER, HIDDEN),
    "set-schedule": (CALLER, HIDDEN),
    "delete-schedule": (CALLER, HIDDEN),
    "run-schedule": (CALLER, HIDDEN),
    "replay": (ADMIN, FORBIDDEN),
    "start-replay": (ADMIN, FORBIDDEN),
    "stop-replay": (ADMIN, HIDDEN),
    "purge-dead": (ADMIN, FORBIDDEN),
    "set-queue": (ADMIN, FORBIDDEN),
    "pause": (ADMIN, FORBIDDEN),
    "drain": (ADMIN, FORBIDDEN),
    "resume": (ADMIN, FORBIDDEN),
    "purge": (ADMIN, FORBIDDEN),
    "move": (ADMIN, FORBIDDEN),
    "delete": (ADMIN, FORBIDDEN),
    "start-replay under a taken id": (ADMIN, FORBIDDEN),
    "purge under a taken id": (ADMIN, FORBIDDEN),
    "steer-worker": (ADMIN, HIDDEN),
    "set-namespace": (ADMIN, "forbidden but to who has a whole namespace"),
    "bind": (ADMIN, "forbidden, also to who has no namespace"),
    "unbind": (ADMIN, FORBIDDEN),
}

UNBOUND: dict[str, str] = {"ping": ALL, "withdraw": ALL, "confirm": ALL, "settle": ALL, "release": ALL, "extend": ALL}
"""Messages that name neither queue nor id: for whom they are. Tokens are asked about in the attacks."""

OF_A_SESSION: dict[str, str] = {"heartbeat": HAND, "started": HAND, "progress": HAND, "goodbye": HAND, "about": HAND}


SPARE: list[GuardedDesk] = []
"""Furnished worlds in which nothing has changed: what was said there was refused, or a question."""


def opened(role: str, binding: str) -> tuple[GuardedDesk, bytes]:
    if not SPARE:
        SPARE.append(GuardedDesk())
        furnish(SPARE[0])
    desk = SPARE.pop()
    return desk, desk.let("key", role, **KEYS[binding][0])


def is_forbidden(answers: list[Any]) -> bool:
    for answer in answers:
        refused = answer.refused if isinstance(answer, Receipt) else [getattr(answer, "refused", None)]
        if any(isinstance(one, Refused) and one.code == "denied" for one in refused):
            assert not getattr(answer, "accepted", ()) and not getattr(answer, "stored", ())
            return True
        if isinstance(answer, Error) and answer.code == "denied":
            return True
    return False


def shape_of(answers: list[Any], ids: list[str]) -> str:
    """Returns answers without the names that were asked for, to compare those about different ones."""
    text = repr(answers)
    for id in sorted(ids, key=len, reverse=True):
        text = text.replace(id, "ID")
    return text


def outcome(role: str, binding: str, verb: str, queue: str) -> str:
    """Says something about a queue, in a world of its own, and returns what came of it."""
    said = "schedule of" if verb == "schedule" and queue.startswith("?") else verb
    desk, peer = opened(role, binding)
    before = state_of(desk)
    answers = desk.say(peer, words(said, queue))
    if is_forbidden(answers):
        assert state_of(desk) == before, "it was refused, and something has changed"
        SPARE.append(desk)
        return FORBIDDEN
    ids = [named(queue, kind) for kind in "wgsertv"] + [f"a/nothing-{kind}" for kind in "wgsertv"]
    if shape_of(answers, ids) == shape_of([answer_to_the_boss(said, queue)], ids):
        return DONE
    assert shape_of(answers, ids) == shape_of([answer_to_the_boss(said, queue, unknown=True)], ids)
    assert state_of(desk) == before, "it answers as if there were nothing, and something has changed"
    return HIDDEN


@cache
def answer_to_the_boss(verb: str, queue: str, *, unknown: bool = False) -> Any:
    """Returns what who may do everything is answered, in a world of its own."""
    desk = GuardedDesk()
    furnish(desk)
    return desk.boss(words(verb, queue, unknown=unknown))


def state_of(desk: GuardedDesk) -> Any:
    """Returns what there is, as the boss sees it."""
    rows = desk.boss(Query(9, "tasks", {"state": "any", "limit": 1000})).value["rows"]
    others = [desk.boss(Query(9, what, {})).value for what in ("queues", "schedules", "replays", "bindings", "groups")]
    return repr([[(row["id"], row["queue"], row["state"]) for row in rows], others[1:]])


def expected(role: str, binding: str, row: tuple[str, str], queue: str) -> str:
    roles, elsewhere = row
    if role not in roles.split():
        return FORBIDDEN
    is_own = queue in KEYS[binding][1]
    if elsewhere.startswith("forbidden but"):
        return DONE if binding == "by namespace" and is_own else FORBIDDEN
    if elsewhere.startswith("hidden, and"):
        return HIDDEN if not is_own else DONE if binding == "by namespace" else FORBIDDEN
    if elsewhere.startswith("forbidden, also"):
        return DONE if binding != "by queue" and is_own else FORBIDDEN
    if is_own:
        return SEEN if elsewhere.startswith(UNSEEN) else DONE
    if elsewhere.startswith("unseen, or"):
        return FORBIDDEN if binding != "by queue" and queue.startswith("b/") else UNSEEN
    if elsewhere.startswith("hidden, or"):
        return FORBIDDEN if binding != "by queue" and queue.startswith("b/") else HIDDEN
    return elsewhere


def cells(table: dict[str, tuple[str, str]]) -> list[Any]:
    return [
        pytest.param(role, binding, verb, id=f"{role}-{verb}-{binding}")
        for verb in table
        for role in ALL.split()
        for binding in KEYS
    ]


def listed(role: str, binding: str, verb: str, queue: str) -> str:
    """Asks for a list, and returns whether what is about a queue is in it."""
    desk, peer = opened(role, binding)
    answers = desk.say(peer, words(verb, queue))
    SPARE.append(desk)
    if is_forbidden(answers):
        return FORBIDDEN
    value = answers[0].value
    if verb == "namespaces":
        has_all = binding == "by namespace"
        return SEEN if any(row["name"] == queue.partition("/")[0] for row in value["rows"]) or not has_all else UNSEEN
    if verb == "status":
        return SEEN if _counts(desk, value, KEYS[binding][1]) and queue in KEYS[binding][1] else UNSEEN
    return SEEN if f"'{queue}'" in repr(value) else UNSEEN


def _counts(desk: GuardedDesk, value: dict[str, Any], own: tuple[str, ...]) -> bool:
    """Whether sums are of these queues only."""
    queues = [one for one in desk.boss(Query(9, "queues", {})).value["rows"] if one["name"] in own]
    sums = {name: sum(one[name] for one in queues) for name in ("waiting", "dead", "leased")}
    assert {name: value[name] for name in sums} == sums
    assert (value["queues"], value["workers"], value["counters"]) == (len(own), len(own), {})
    return True


SPECIAL = {*LISTS.split(), "tasks", "match"}


@pytest.mark.parametrize(
    ("role", "binding", "verb"), cells({k: v for k, v in MESSAGES.items() if k not in ("follow", "forward")})
)
def test_messages(role: str, binding: str, verb: str) -> None:
    seen = {queue: outcome(role, binding, verb, queue) for queue in QUEUES}

    assert seen == {queue: expected(role, binding, MESSAGES[verb], queue) for queue in QUEUES}


@pytest.mark.parametrize(("role", "binding", "verb"), cells(COMMAND_TABLE))
def test_commands(role: str, binding: str, verb: str) -> None:
    seen = {queue: outcome(role, binding, verb, queue) for queue in QUEUES}

    assert seen == {queue: expected(role, binding, COMMAND_TABLE[verb], queue) for queue in QUEUES}


@pytest.mark.parametrize(("role", "binding", "verb"), cells({k: v for k, v in QUERY_TABLE.items() if k not in SPECIAL}))
def test_queries(role: str, binding: str, verb: str) -> None:
    said = "schedule of" if verb == "schedule" else verb
    seen = {queue: outcome(role, binding, said, queue) for queue in QUEUES}

    assert seen == {queue: expected(role, binding, QUERY_TABLE[verb], queue) for queue in QUEUES}


@pytest.mark.parametrize(("role", "binding", "verb"), cells({k: v for k, v in QUERY_TABLE.items() if k in SPECIAL}))
def test_lists(role: str, binding: str, verb: str) -> None:
    seen = {queue: listed(role, binding, verb, queue) for queue in QUEUES}

    wanted = {queue: expected(role, binding, QUERY_TABLE[verb], queue) for queue in QUEUES}
    if verb == "namespaces" and role != WORKER and binding != "by namespace":
        wanted = dict.fromkeys(QUEUES, SEEN)  # checked below: of parts of a namespace there is no row
    assert seen == wanted


@pytest.mark.parametrize("binding", ["by queue", "by both"])
def test_sums_of_a_namespace_are_only_for_who_has_all_of_it(binding: str) -> None:
    desk, peer = opened(ADMIN, binding)

    assert desk.say(peer, Query(1, "namespaces", {}))[0].value["rows"] == []


@pytest.mark.parametrize("binding", KEYS)
@pytest.mark.parametrize("role", ALL.split())
@pytest.mark.parametrize("names_queue", [True, False])
def test_events(role: str, binding: str, names_queue: bool) -> None:
    found = {}
    for queue in QUEUES:
        desk, peer = opened(role, binding)
        first = desk.say(peer, Follow(1, queue if names_queue else None, (), 15.0, 0))
        sent = desk.turn((b"boss", Submit(1, (task(named(queue, "new"), queue),))))
        events = [event for to, one in sent if to == peer and isinstance(one, Events) for event in one.events]
        found[queue] = SEEN if any(event.queue == queue for event in events) else UNSEEN
        if is_forbidden(first):
            found[queue] = FORBIDDEN

    own = KEYS[binding][1]
    if role == WORKER:
        assert set(found.values()) == {FORBIDDEN}
    else:
        elsewhere = FORBIDDEN if names_queue else UNSEEN
        assert found == {queue: SEEN if queue in own else elsewhere for queue in QUEUES}


@pytest.mark.parametrize("binding", KEYS)
@pytest.mark.parametrize("role", ALL.split())
def test_forwards(role: str, binding: str) -> None:
    for queue in QUEUES:
        desk, peer = opened(role, binding)
        assignment = pulled(desk, peer, "a/own")
        box = task(named(queue, "box"), queue)
        desk.say(peer, Settle(1, None, (done(assignment)._replace(forwards=(box,)),), ()))

        row = desk.boss(Query(1, "task", {"id": assignment.id})).value
        forwarded = desk.boss(Query(2, "task", {"id": box.id})).value["state"]
        if queue in KEYS[binding][1]:
            assert (row["state"], forwarded) == ("done", "waiting")
        else:
            assert (row["state"], forwarded) == ("dead", "unknown")
            assert "may not submit to queue" in row["reason"]


SESSION_WORDS: dict[str, Callable[[], Any]] = {
    "ping": lambda: Ping(1),
    "withdraw": lambda: Withdraw((1,)),
    "confirm": lambda: Confirm((1,)),
    "settle": lambda: Settle(1, None, (), ()),
    "release": lambda: Release(1, None, (Span(1, 0, 1),)),
    "extend": lambda: Extend(1, 1, 10.0),
    "heartbeat": lambda: Heartbeat(1, ()),
    "started": lambda: Started(()),
    "progress": lambda: Progress(1, 0, 0.5),
    "goodbye": lambda: Goodbye("a/nobody", "1"),
    "about": lambda: About("oven", 7, 0, 1, False, None),
}


@pytest.mark.parametrize("binding", KEYS)
@pytest.mark.parametrize("role", ALL.split())
@pytest.mark.parametrize("verb", SESSION_WORDS)
def test_words_without_names(role: str, binding: str, verb: str) -> None:
    desk, peer = opened(role, binding)
    answers = desk.say(peer, SESSION_WORDS[verb]())

    roles = UNBOUND.get(verb) or OF_A_SESSION[verb]
    assert is_forbidden(answers) == (role not in roles.split())


def test_the_table_has_everything() -> None:
    kinds = {kind.message.__name__.lower() for kind in KINDS if kind.said_by != "coordinator"}
    told = {verb.split()[0] for verb in MESSAGES} | UNBOUND.keys() | OF_A_SESSION.keys() | {"query", "command"}

    assert kinds <= told
    assert set(QUERY_TABLE) == set(QUERIES)
    assert {verb.split()[0] for verb in COMMAND_TABLE} == set(COMMANDS)


@pytest.mark.parametrize("role", ALL.split())
def test_who_is_not_bound_may_say_it_of_every_queue(role: str) -> None:
    """And who has no rights nothing of any."""
    desk = GuardedDesk()
    furnish(desk)
    peer = desk.let("key", role)
    for queue in QUEUES:
        assert isinstance(desk.say(peer, words("submit", queue))[0], Receipt)
        assert not is_forbidden(desk.say(peer, words("wait for a task", queue)))
    desk.revoke("key")
    for verb in MESSAGES:
        if verb not in ("follow", "forward"):
            assert is_forbidden(desk.say(peer, words(verb, "a/own"))), verb


def test_outcomes_and_publications_are_of_the_wire() -> None:
    """What `is_forbidden` and `shape_of` look at is there."""
    desk, peer = opened(CLIENT, "by both")

    assert isinstance(desk.say(peer, words("wait for a task", "b/own"))[0], Outcome)
    assert isinstance(desk.say(peer, words("publish", "b/own"))[0], Published)
