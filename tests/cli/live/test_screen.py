"""What a view looks like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.cli.live.snapshots import ADDRESS, NOW, after, detail_of_a_task, failure, queue, snapshot, text_of, worker
from zq.cli.live.screen import screen
from zq.cli.live.trends import Detail, Inspected
from zq.cli.live.view import TopView


def line_with(text: str, of: str) -> str:
    return next(line for line in of.split("\n") if text in line)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 50)])
def test_queues_workers_and_failures_are_seen_at_once(width: int, height: int) -> None:
    text = text_of(TopView(), width=width, height=height)

    assert ADDRESS in text
    assert {"12.5", "10", "▅█", "3", "1 min 5 s"} <= set(line_with("orders  ", text).split("  ")) | {
        one.strip() for one in line_with("orders  ", text).split("  ")
    }
    assert "in 12.5/s" in text
    assert "shop-1" in text
    assert "ValueError: no" in text
    assert "q quit" in text


def test_columns_drop_before_a_name_is_cut() -> None:
    name = "a-queue-with-quite-a-long-name-that-says-it-all"
    text = text_of(TopView(), snapshot(queues=(queue(name, waiting=7),)))

    assert name in text
    assert "waiting" in text
    assert "oldest" not in line_with("QUEUES", text)


def test_there_is_more_to_see_on_a_wide_screen() -> None:
    assert "workers" in line_with("QUEUES", text_of(TopView(), width=160))
    assert "workers" not in line_with("QUEUES", text_of(TopView(), width=80))


def test_all_rows_can_be_reached_and_it_says_how_many_there_are() -> None:
    many = snapshot(queues=tuple(queue(f"queue-{at:03}") for at in range(500)))
    first = text_of(TopView(), many)
    last = text_of(after("end", of=many)[0], many)

    assert "queue-000" in first
    assert "queue-499" in last
    assert "queue-000" not in last
    assert " of 500" in last


def test_the_chosen_row_is_marked_in_the_active_pane_only() -> None:
    lines = screen(after("down")[0], snapshot(), 80, 24, address=ADDRESS, away=None)

    assert [line.text.split()[0] for line in lines if line.style == "chosen"] == ["delivery"]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"policies": {"paused": True}}, "paused"),
        ({"closed_by": ["paused"]}, "paused"),
        ({"policies": {"draining": True}}, "drains"),
        ({"closed_by": ["rate"]}, "limited"),
    ],
)
def test_a_queue_says_what_holds_it_back(fields: dict[str, object], word: str) -> None:
    assert word in line_with("orders", text_of(TopView(), snapshot(queues=(queue("orders", **fields),))))


def test_a_worker_counts_down_and_says_what_it_does() -> None:
    task = {"id": "task-9", "queue": "orders", "started_time": NOW - 3}
    found = snapshot(
        status={"limits": {"gone_after": 15.0}},
        workers=(worker("shop-1", heard_ago=4.0, tasks=[task]), worker("shop-2", is_draining=True)),
    )
    text = text_of(TopView(), found, width=160)

    assert "gone in 11 s" in line_with("shop-1", text)
    assert {"orders", "task-9", "3 s"} <= {one.strip() for one in line_with("shop-1", text).split("  ")}
    assert "drains" in line_with("shop-2", text)


def test_eighty_columns_show_what_waits_longest_and_what_workers_do() -> None:
    task = {"id": "fhx97s-000000f20ca5a66926", "queue": "orders", "started_time": NOW - 3}
    found = snapshot(
        status={"waiting": 31, "dead": 7, "leased": 2, "limits": {"gone_after": 15.0}},
        workers=(worker("vm-11156-ab37e5", held=2, running=1, done=243, tasks=[{**task, "started_time": None}, task]),),
    )
    text = text_of(TopView(), found, width=80)

    assert "waiting 31   oldest 1 min 5 s   dead 7" in text
    assert {"orders", "3 s +1"} <= {one.strip() for one in line_with("vm-11156-ab37e5", text).split("  ")}


def test_tasks_of_a_worker_say_their_queue_and_since_when_they_run() -> None:
    subject = Inspected("worker", "shop-1")
    tasks = ({"id": "task-9", "queue": "orders", "started_time": NOW - 3}, {"id": "task-10", "queue": "orders"})
    text = text_of(TopView(subjects=(subject,)), snapshot(detail=Detail(subject, worker("shop-1"), tasks)))

    assert line_with("TASKS", text).split() == ["TASKS", "state", "queue", "runs", "for"]
    assert line_with("task-9", text).split() == ["task-9", "runs", "orders", "3", "s"]


def test_help_fits_eighty_columns() -> None:
    assert "…" not in text_of(TopView(mode="help"), width=80)


def test_failures_say_when_they_are_tried_again() -> None:
    found = snapshot(failures=(failure("a", next_time=NOW + 30), failure("b", is_dead=True, attempt=5)))
    text = text_of(TopView(), found, width=120)

    assert "in 30 s" in line_with("  a ", text)
    assert "dead" in line_with("  b ", text)


def test_alerts_and_absence_are_told_in_words() -> None:
    found = snapshot(queues=(queue("orders", alerts=["more than 1,000 tasks wait"]),))
    text = text_of(TopView(), found, away="no answer from tcp://127.0.0.1:7700 for 3 s")

    assert "! orders: more than 1,000 tasks wait" in text
    assert "no answer from tcp://127.0.0.1:7700 for 3 s; trying on" in text


def test_what_there_is_not_is_said() -> None:
    text = text_of(TopView(), snapshot(queues=(), workers=(), failures=()))

    assert "no queue yet" in text
    assert "no worker" in text
    assert "nothing has failed" in text
    assert "does not tell of failures" in text_of(TopView(), snapshot(failures=None))


def test_names_cannot_drive_the_terminal() -> None:
    bad = "a\x1b[2Jb\u202e\n"
    found = snapshot(queues=(queue(bad),), workers=(worker(bad),), failures=(failure(bad, error=bad),))
    for view in (TopView(), TopView(subjects=(Inspected("queue", bad),)), TopView(filter="a", said=bad)):
        text = text_of(view, found)
        assert not {"\x1b", "\u202e"} & set(text)
        assert text.count("\n") == 23


def test_a_task_shows_its_error_line_by_line_and_its_trace() -> None:
    found = snapshot(detail=detail_of_a_task(reason="ValueError: no\n  File 'shop.py', line 3", why="it is dead"))
    view = TopView(subjects=(Inspected("task", "task-1"),))
    text = text_of(view, found)

    assert "ValueError: no" in text
    assert "File 'shop.py', line 3" in text
    assert "accepted" in text
    assert "c cancel" in text


def test_a_queue_shows_its_times_and_tasks() -> None:
    fields = queue("orders", wait={"count": 4, "sum": 1.0, "buckets": [0, 0, 0, 4, *[0] * 16]})
    subject = Inspected("queue", "orders")
    task = {"id": "task-5", "queue": "orders", "state": "leased", "worker": "shop-1", "accepted_time": NOW - 9}
    found = snapshot(detail=Detail(subject, fields, (task,)))
    text = text_of(TopView(subjects=(subject,)), found)

    assert "p50 7.5 ms" in text
    assert "shop-1" in line_with("task-5", text)


def test_the_detail_of_something_else_is_not_shown() -> None:
    text = text_of(TopView(subjects=(Inspected("task", "task-2"),)), snapshot(detail=detail_of_a_task(reason="wrong")))

    assert "wrong" not in text
    assert "task-2" in text


VIEWS = [
    TopView(),
    TopView(pane="workers", filter="o"),
    TopView(pane="failures", mode="help"),
    TopView(mode="ask", asked=after("d")[0].asked),
    TopView(subjects=(Inspected("task", "task-1"),), scroll=3),
    TopView(subjects=(Inspected("queue", "orders"),)),
]


@given(st.sampled_from(VIEWS), st.integers(1, 200), st.integers(1, 70), st.integers(0, 40))
def test_a_screen_has_its_size(view: TopView, width: int, height: int, queues: int) -> None:
    found = snapshot(queues=tuple(queue(f"木-{at}" * 9) for at in range(queues)))
    if view.subject is not None:
        known = {"wait": None, "policies": {"rate": 5.0}, "headers": {"a": "b"}, "due_time": NOW}
        found = replace(found, detail=Detail(view.subject, known, found.queues))
    lines = screen(view, found, width, height, address=ADDRESS, away=None)

    assert len(lines) == height
    assert {cell_len(line.text) for line in lines} == {width}
