"""What keys make of a view."""

from __future__ import annotations

import pytest

from tests.cli.live.snapshots import after, queue, snapshot, worker
from zq.cli.live.trends import Detail, Inspected
from zq.cli.live.view import PANES, Order, TopView, chosen_row


def name_of(view: TopView) -> object:
    row = chosen_row(view, snapshot())
    return None if row is None else row.get("name")


@pytest.mark.parametrize(
    ("keys", "chosen"), [("j", "delivery"), ("jj", "delivery"), ("jk", "orders"), ("G", "delivery")]
)
def test_keys_choose_a_row(keys: str, chosen: str) -> None:
    assert name_of(after(*keys)[0]) == chosen


@pytest.mark.parametrize("key", ["up", "pageup", "home"])
def test_the_first_row_is_the_first(key: str) -> None:
    assert name_of(after("down", key)[0]) == "orders"


def test_what_is_chosen_stays_so_when_rows_come_and_go() -> None:
    view, _ = after("down")
    more = snapshot(queues=(queue("a"), queue("b"), queue("delivery"), queue("z")))

    assert (chosen_row(view, more) or {})["name"] == "delivery"
    assert (chosen_row(view, snapshot(queues=(queue("z"),))) or {})["name"] == "z"
    assert chosen_row(view, snapshot(queues=())) is None


def test_tab_goes_round_the_panes() -> None:
    seen = [after(*["tab"] * presses)[0].pane for presses in range(4)]

    assert seen == [*PANES, PANES[0]]
    assert after("backtab")[0].pane == PANES[-1]


@pytest.mark.parametrize(("key", "verb"), [("p", "pause"), ("r", "resume")])
def test_a_key_orders_something_for_the_chosen_queue(key: str, verb: str) -> None:
    assert after("down", key)[1] == [(verb, "delivery")]


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        (["d"], Order("drain", "orders")),
        (["tab", "d"], Order("drain-worker", "shop-1")),
        (["tab", "tab", "c"], Order("cancel", "task-1")),
        (["tab", "tab", "enter", "c"], Order("cancel", "task-1")),
    ],
)
def test_what_cannot_be_taken_back_asks_first(keys: list[str], order: Order) -> None:
    asked, orders = after(*keys)
    assert (asked.mode, orders) == ("ask", [])

    assert after("y", view=asked)[1] == [order]
    for key in ("n", "escape", "enter", "d"):
        assert after(key, view=asked)[1] == []
        assert after(key, view=asked)[0].mode == "look"


def test_a_key_that_is_not_for_what_is_chosen_does_nothing() -> None:
    assert after("tab", "p")[1] == []
    assert after("p", of=snapshot(queues=()))[1] == []


def test_enter_looks_closely_and_escape_goes_back() -> None:
    view, _ = after("down", "enter")
    assert view.subjects == (Inspected("queue", "delivery"),)

    held = snapshot(detail=Detail(view.subjects[0], {}, ({"id": "task-7"}, {"id": "task-8"})))
    view, _ = after("down", "enter", view=view, of=held)
    assert view.subject == Inspected("task", "task-8")

    assert after("escape", view=view)[0].subject == Inspected("queue", "delivery")
    assert after("escape", "escape", view=view)[0].subject is None


def test_a_task_scrolls() -> None:
    view, _ = after("tab", "tab", "enter", "j", "j", "k")

    assert view.scroll == 1
    assert after("escape", view=view)[0].scroll == 0


def test_the_filter_takes_what_is_typed() -> None:
    view, _ = after(*"/dexl", "backspace", "backspace", "l", "enter")
    assert (view.mode, view.filter) == ("look", "del")
    assert name_of(view) == "delivery"

    assert after("escape", view=view)[0].filter == ""
    assert after(*"/q", view=TopView())[1] == [], "q is a letter while a filter is typed"


def test_a_filter_finds_workers_by_their_queues() -> None:
    found = snapshot(workers=(worker("a"), worker("b", queues=["pizza"])))
    view, _ = after(*"/pizza", "enter", "tab", of=found)

    assert (chosen_row(view, found) or {})["name"] == "b"


def test_q_quits_and_any_key_leaves_the_help() -> None:
    assert after("q")[1] == [Order("quit")]
    assert after("?")[0].mode == "help"
    assert after("?", "q") == (TopView(), [])
