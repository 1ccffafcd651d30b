"""Dead letters are looked through in portions, whoever looks for what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.cost import finish, largest_cost_of
from tests.core.desk import CLIENT, Desk
from zq.core.admin import dead_searches
from zq.core.tasks import dead_letters
from zq.wire.messages import Answer, Command, Error

VERBS = ["purge-dead", "replay"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "PORTION_DEAD", 1)


def bury(desk: Desk, count: int, reason: str = "spoilt", queue: str = "q", first: int = 0) -> None:
    for number in range(first, first + count):
        desk.submit(f"{queue}-{number}", queue=queue)
        finish(desk, (CLIENT, Command(1, "bury", {"id": f"{queue}-{number}", "reason": reason})))


def answers(sent: list[tuple[bytes, Any]]) -> list[Any]:
    return [message.value for _, message in sent if isinstance(message, Answer)]


def ask(verb: str, **arguments: Any) -> tuple[bytes, Command]:
    return CLIENT, Command(1, verb, arguments)


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_found_late_is_answered_late_and_all_of_it_is_counted(few: None, verb: str) -> None:
    desk = Desk()
    bury(desk, 20)
    bury(desk, 5, "burnt", first=20)

    first = desk.turn(ask(verb, reason="BURNT"))
    again = desk.turn(ask(verb, reason="BURNT"))

    assert (answers(first), answers(again + finish(desk))) == ([], [5])
    assert desk.query("queue", queue="q")["dead"] == 20


@pytest.mark.parametrize("verb", VERBS)
def test_no_more_are_taken_than_were_asked_for(few: None, verb: str) -> None:
    desk = Desk()
    bury(desk, 20)

    assert answers(finish(desk, ask(verb, limit=7))) == [7]
    assert desk.query("queue", queue="q")["dead"] == 13


@pytest.mark.parametrize("verb", VERBS)
def test_dead_letters_of_other_queues_are_not_read(verb: str) -> None:
    costs = []
    for others in (50, 200):
        desk = Desk()
        for queue in ("a/x", "c/x"):
            bury(desk, others, queue=queue)
        bury(desk, 3, queue="b/x")
        costs.append(largest_cost_of(desk, ask(verb, namespace="b")))
        assert desk.query("queue", queue="b/x")["dead"] == 0
        assert desk.query("queue", queue="c/x")["dead"] == others

    assert costs[1] <= 1.5 * costs[0]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("purge-dead", {"reason": "zzz"}),
        ("replay", {"reason": "zzz"}),
        ("purge-dead", {}),
        ("replay", {}),
        ("start-replay", {"id": "r", "rate": 100_000.0, "reason": "zzz"}),
        ("start-replay", {"id": "r", "rate": 100_000.0}),
    ],
)
def test_each_step_costs_the_same_however_many_are_dead(
    monkeypatch: pytest.MonkeyPatch, verb: str, arguments: dict[str, Any]
) -> None:
    monkeypatch.setattr(dead_letters, "PORTION_DEAD", 20)
    costs = []
    for count in (150, 600):
        desk = Desk()
        desk.submit("b", count)
        finish(desk, (CLIENT, Command(1, "bury", {"id": "b", "reason": "spoilt"})))
        costs.append(largest_cost_of(desk, ask(verb, **arguments)))

    assert costs[1] <= 1.2 * costs[0]


def test_so_many_search_at_a_time_and_no_more(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_searches, "SEARCHES_MAX", 2)
    desk = Desk()
    bury(desk, 20)

    sent = desk.turn(*[(b"p%d" % number, Command(1, "purge-dead", {"reason": "zzz"})) for number in range(3)])
    (refused,) = [message for _, message in sent if isinstance(message, Error)]

    assert (refused.code, "2 searches" in refused.text) == ("invalid", True)
    assert answers(sent + finish(desk)) == [0, 0]


def test_a_queue_that_is_deleted_meanwhile_ends_the_search(few: None) -> None:
    desk = Desk()
    bury(desk, 20)
    desk.turn(ask("purge-dead", queue="q", reason="zzz"))

    sent = finish(desk, (b"other", Command(1, "delete", {"id": "op", "queue": "q", "purge": True})))

    assert 0 in answers(sent)
    assert desk.query("queues") == []
