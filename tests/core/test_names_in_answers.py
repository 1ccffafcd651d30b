"""Names in questions and answers: whoever works in a namespace hears names of it, and everything else untouched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed
from zq.core.admin.commands import COMMANDS as CARRIED_OUT
from zq.core.insight.queries import QUERIES as ANSWERED
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Answer,
    Batch,
    Command,
    Error,
    Group,
    Open,
    Options,
    Publish,
    Query,
    Release,
    Schedule,
    Span,
)
from zq.wire.namespaces import Namespace
from zq.wire.questions import NAMES_IN_COMMANDS, NAMES_IN_QUERIES
from zq.wire.steering import About

TEXTS = {"reason", "text", "error"}
"""Sentences for people, in which names are as the coordinator knows them."""


class TeamDesk(Desk):
    """Everything that is said here is said from within the namespace `team-a`."""

    def __init__(self) -> None:
        self.namespace = Namespace("team-a")
        super().__init__()

    def say(self, peer: bytes, message: Any) -> list[Any]:
        return [self.namespace.out_of(answer) for answer in super().say(peer, self.namespace.into(message))]


@pytest.fixture
def desk() -> TeamDesk:
    """Returns a coordinator with tasks in every state, and one of everything that can be listed."""
    desk = TeamDesk()
    payload = pack_payloads([encode_payload(0)])
    desk.hello(b"v", "van", queues=("idle",))
    desk.submit("fine", 3)
    desk.submit("bad", max_attempts=1)
    desk.submit("worse", max_attempts=1)
    [fine, bad, worse] = [*assigned(desk.hello(b"w", "shop", credit=3)), *assigned(desk.settle(b"w", credit=5))]
    desk.say(b"w", About("oven", 7, 0, 1, False, None))
    forward = Batch("box", "boxes", Options(), *payload)
    desk.settle(b"w", done(fine, 0, 2)._replace(forwards=(forward,)), failed(bad), failed(worse))
    desk.say(b"w", Release(9, 0, (Span(fine.token, 2, 3),)))
    desk.submit("later", delay=9.0)
    desk.submit("first", queue="lines", key="id", ordered=True)
    desk.submit("second", queue="lines", key="id", ordered=True)
    desk.submit("odd", 2, headers={"id": "7", "queue": "none"}, queue="held")
    desk.say(CLIENT, Open(101, Group("g", 2, "all", False, "joined", Options())))
    desk.submit("member", queue="held", group=("g", (0,)))
    desk.say(CLIENT, Schedule(102, Batch("nightly", "reports", Options(), *payload), 60.0, None, "UTC", "one"))
    desk.command("bind", pattern="menu.*", queue="held", headers=("id", "7", "queue", "none"))
    desk.say(CLIENT, Publish(103, "news", "menu.new", Options(headers={"id": "7", "queue": "none"}), True, *payload))
    return desk


ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "task": [{"id": id} for id in ("fine", "bad", "later", "first", "second", "box", "odd#1")],
    "trace": [{"id": id} for id in ("fine", "bad", "later", "box", "odd#1")],
    "why": [{"id": id} for id in ("fine", "bad", "later", "first", "second", "box")],
    "payload": [{"id": "bad"}],
    "tasks": [{"state": "any"}, {"state": "done", "queue": "q", "worker": "shop"}],
    "queue": [{"queue": "held"}],
    "schedule": [{"name": "nightly"}],
    "group": [{"id": "g"}],
    "match": [{"topic": "menu.new", "headers": ("id", "7", "queue", "none")}],
    "operations": [{"id": None}],
    "bindings": [{"queue": "held"}],
    "retry": [{"id": "bad"}],
    "replay": [{"queue": "q", "to": "again"}],
    "start-replay": [{"id": "r", "rate": 1.0, "queue": "q", "to": "again"}],
    "stop-replay": [{"id": "r"}],
    "purge-dead": [{"queue": "q"}],
    "bury": [{"id": "odd"}],
    "set-schedule": [{"name": "nightly", "every": 5.0}],
    "run-schedule": [{"name": "nightly"}],
    "delete-schedule": [{"name": "nightly"}],
    **{verb: [{"queue": "held"}] for verb in ("set-queue", "pause", "drain", "resume")},
    "purge": [{"id": "o1", "queue": "lines"}],
    "move": [{"id": "o2", "queue": "held", "to": "elsewhere"}],
    "delete": [{"id": "o3", "queue": "idle"}],
    "set-namespace": [{"name": "part", "max_tasks": 5}],
    "steer-worker": [{"name": "shop", "action": "drain"}],
    "bind": [{"pattern": "menu.*", "queue": "held"}],
    "unbind": [{"pattern": "menu.*", "queue": "held"}],
}


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields every text of an answer, also the names of maps, with where it stands."""
    if isinstance(value, str) and path.rpartition(".")[2] not in TEXTS:
        yield path, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield path, name
            yield from texts_of(one, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one, path)


def is_odd(text: str) -> bool:
    """A whole name that was left, or a text that is none and was taken for one."""
    return text.startswith(("team-a", "/"))


def ask(desk: TeamDesk, what: str, kind: type[Query] | type[Command]) -> Iterator[Any]:
    for arguments in ARGUMENTS.get(what, [{}]):
        desk.number += 1
        [answer] = desk.say(CLIENT, kind(desk.number, what, arguments))
        assert isinstance(answer, Answer), answer
        yield answer.value


def test_every_query_and_command_says_which_of_its_texts_are_names() -> None:
    assert ANSWERED.keys() == NAMES_IN_QUERIES.keys()
    assert CARRIED_OUT.keys() == NAMES_IN_COMMANDS.keys()


@pytest.mark.parametrize("what", NAMES_IN_QUERIES)
def test_answers_have_the_names_of_the_namespace_and_nothing_else_is_touched(desk: TeamDesk, what: str) -> None:
    desk.command("start-replay", id="r", rate=0.001, queue="q", to="again")
    desk.command("move", id="o", queue="boxes", to="other")
    desk.command("set-namespace", name="part", max_tasks=5)
    values = list(ask(desk, what, Query))

    assert values and not [one for value in values for one in texts_of(value) if is_odd(one[1])]
    assert values != [[]], "nothing was found"


@pytest.mark.parametrize("verb", NAMES_IN_COMMANDS)
def test_commands_hear_the_names_of_the_namespace_and_nothing_else_is_touched(desk: TeamDesk, verb: str) -> None:
    values = list(ask(desk, verb, Command))

    assert values and not [one for value in values for one in texts_of(value) if is_odd(one[1])]


def test_a_name_that_is_forgotten_is_found(desk: TeamDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES_IN_QUERIES, "workers", NAMES_IN_QUERIES["status"])
    [value] = ask(desk, "workers", Query)

    assert {path for path, text in texts_of(value) if is_odd(text)} == {".rows.name", ".rows.queues"}


def test_headers_that_are_called_like_names_are_untouched(desk: TeamDesk) -> None:
    [binding] = desk.query("bindings")

    assert binding == {"pattern": "menu.*", "queue": "held", "headers": {"id": "7", "queue": "none"}}


def test_a_question_that_is_refused_is_forgotten() -> None:
    namespace = Namespace("team-a")
    namespace.into(Query(7, "queues", {}))
    namespace.out_of(Error(7, "invalid", "no"))

    assert namespace.out_of(Answer(7, [{"name": "team-a/q"}])) == Answer(7, [{"name": "team-a/q"}])
