"""Questions and commands about what cannot be: each is answered in words, and nothing else happens."""

from pathlib import Path
from typing import Any, cast

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done
from zq.core import tables
from zq.store.lmdb import LmdbStore
from zq.wire.messages import Answer, Cancel, Command, Error, Group, Open, Options, Query

ODD_IDS = ("#5", "a#", "a##1", "a#" + "9" * 5000, "a#\u0663", "a#-1", "x" * 600, "#", " ")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A coordinator over LMDB, which has no empty keys and no long ones."""
    desk = Desk()
    desk.store = cast(Any, LmdbStore(tmp_path / "store", tables.TABLES))  # alike in what a desk needs
    desk.restart()
    desk.submit("a", 3)
    return desk


@pytest.mark.parametrize("what", ["task", "why", "trace", "payload", "group"])
@pytest.mark.parametrize("id", ODD_IDS)
def test_ids_that_no_task_can_have_are_answered(desk: Desk, what: str, id: str) -> None:
    [answer] = desk.say(CLIENT, Query(1, what, {"id": id}))
    assert isinstance(answer, Answer | Error)


@pytest.mark.parametrize("verb", ["bury", "retry", "replay", "purge-dead", "stop-replay"])
@pytest.mark.parametrize("id", ODD_IDS)
def test_commands_for_ids_that_no_task_can_have_do_nothing(desk: Desk, verb: str, id: str) -> None:
    [answer] = desk.say(CLIENT, Command(1, verb, {"id": id}))
    assert isinstance(answer, Answer | Error)
    assert desk.query("queue", queue="q")["waiting"] == 3


@pytest.mark.parametrize("id", ["#5", "a#", "a#" + "9" * 100])
def test_cancelling_what_no_task_can_be_cancels_nothing(desk: Desk, id: str) -> None:
    assert desk.say(CLIENT, Cancel(1, id)) == [Answer(1, 0)]


def test_ended_tasks_of_a_queue_are_listed_beside_groups_and_publications(desk: Desk) -> None:
    desk.say(CLIENT, Open(1, Group("g", 1, "all", False, None, Options())))
    desk.submit("m", queue="r", group=("g", (0,)))
    [lease] = assigned(desk.hello(b"w", "shop", queues=("r",)))
    desk.settle(b"w", done(lease))

    found: Any = desk.query("tasks", state="done", queue="r")

    assert [row["id"] for row in found["rows"]] == ["m"]
