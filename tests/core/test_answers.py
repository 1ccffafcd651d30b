"""A command whose answer was lost is asked again, and tells what it has done; it is not done twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.cost import finish
from tests.core.desk import CLIENT
from tests.core.test_schedules import Hall
from zq.core import tables
from zq.core.admin import answers as kept_answers
from zq.core.admin import chores
from zq.core.tasks import dead_letters
from zq.wire.limits import MARKED_VERBS
from zq.wire.messages import Answer, Command, Error

OTHER = b"the same client, by another connection"

ASKED: list[tuple[str, dict[str, Any], Any]] = [
    ("retry", {"id": "dead-1"}, True),
    ("replay", {"id": "dead-1"}, 1),
    ("replay", {"queue": "dead"}, 6),
    ("replay", {"queue": "dead", "limit": 5}, 5),
    ("purge-dead", {"id": "dead-1"}, 1),
    ("purge-dead", {"queue": "dead"}, 6),
    ("purge-dead", {"queue": "dead", "limit": 5}, 5),
    ("bury", {"id": "alive"}, 10),
    ("stop-replay", {"id": "slow"}, True),
    ("delete-schedule", {"name": "tick"}, True),
    ("bind", {"pattern": "orders.#", "queue": "q"}, True),
    ("unbind", {"pattern": "a.*", "queue": "q"}, 1),
]


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    monkeypatch.setattr(chores, "PORTION", 4)
    monkeypatch.setattr(dead_letters, "PORTION_DEAD", 2)
    hall = Hall()
    for number in range(6):
        hall.submit(f"dead-{number}", queue="dead")
        ask(hall, "bury", {"id": f"dead-{number}"})
    hall.submit("alive", 10)
    hall.schedule("tick", every=1e6)
    ask(hall, "bind", {"pattern": "a.*", "queue": "q"})
    hall.submit("slow-1", 5, queue="slow")
    ask(hall, "bury", {"id": "slow-1"})
    ask(hall, "start-replay", {"id": "slow", "rate": 0.001, "queue": "slow"})
    return hall


def ask(hall: Hall, verb: str, arguments: dict[str, Any], mark: str | None = None, peer: bytes = CLIENT) -> Any:
    """Returns the answer to a command, whenever it comes."""
    hall.number += 1
    given = arguments if mark is None else {**arguments, "mark": mark}
    sent = finish(hall, (peer, Command(hall.number, verb, given)))
    (found,) = [one for to, one in sent if to == peer and isinstance(one, Answer | Error)]
    return found.value if isinstance(found, Answer) else found.code


def counts(hall: Hall) -> dict[str, Any]:
    return {name: hall.query("queue", queue=name) for name in ("q", "dead")}


@pytest.mark.parametrize("is_restarted", [False, True], ids=["another connection", "another life"])
@pytest.mark.parametrize(("verb", "arguments", "answer"), ASKED)
def test_command_that_is_asked_again_tells_what_it_has_done(
    hall: Hall, verb: str, arguments: dict[str, Any], answer: Any, is_restarted: bool
) -> None:
    assert ask(hall, verb, arguments, "mark-1") == answer
    before = counts(hall)
    if is_restarted:
        hall.restart()

    assert ask(hall, verb, arguments, "mark-1", OTHER) == answer
    assert counts(hall) == before
    if arguments.get("limit") is None:
        assert ask(hall, verb, arguments, "mark-2") in (False, 0), "it was done"


@pytest.mark.parametrize("is_restarted", [False, True], ids=["another connection", "another life"])
@pytest.mark.parametrize(("verb", "arguments", "answer"), [one for one in ASKED if type(one[2]) is int and one[2] > 4])
def test_command_that_goes_on_is_answered_for_all_of_it_when_it_is_asked_again(
    hall: Hall, verb: str, arguments: dict[str, Any], answer: Any, is_restarted: bool
) -> None:
    sent = hall.turn((CLIENT, Command(90, verb, {**arguments, "mark": "mark-1"})))
    assert not [one for _, one in sent if isinstance(one, Answer)], "it takes more than a step"
    if is_restarted:
        hall.restart()

    assert ask(hall, verb, arguments, "mark-1", OTHER) == answer
    assert ask(hall, verb, arguments, "mark-1") == answer


def test_schedule_that_is_run_by_hand_runs_once_for_who_asks_again(hall: Hall) -> None:
    first = ask(hall, "run-schedule", {"name": "tick"}, "mark-1")
    assert ask(hall, "run-schedule", {"name": "tick"}, "mark-1") == first
    assert counts(hall)["q"]["waiting"] == 11


def test_each_command_of_which_that_matters_was_tried() -> None:
    assert {verb for verb, _, _ in ASKED} | {"run-schedule"} == MARKED_VERBS


def test_only_so_many_are_remembered(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "MARKS_MAX", 3)
    for number in range(20):
        ask(hall, "bind", {"pattern": f"p.{number}", "queue": "q"}, f"mark-{number}")
    tx = hall.store.begin()
    rows = dict(tx.scan(tables.ANSWERS))
    tx.abort()
    assert len(rows) == 3 + 3 + 1
    assert ask(hall, "bind", {"pattern": "p.19", "queue": "q"}, "mark-19") is True
    assert ask(hall, "bind", {"pattern": "p.0", "queue": "q"}, "mark-0") is False


@pytest.mark.parametrize("mark", ["x" * 1000, 5])
def test_mark_that_cannot_be_is_refused(hall: Hall, mark: Any) -> None:
    assert ask(hall, "retry", {"id": "dead-1"}, mark) == "invalid"
