"""The states of a task and the ways between them (docs/semantics.md, The life of a task)."""

from pathlib import Path

import pytest

from zq.core.state.queue import Queue
from zq.core.state.transitions import (
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    FORGOTTEN,
    LEASED,
    NAMES,
    NEW,
    PURGED,
    SCHEDULED,
    WAITING,
    TaskState,
    allowed,
    picture,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "semantics.md").read_text(encoding="utf-8")


@pytest.fixture
def queue() -> Queue:
    return Queue(1, "q", {})


def test_document_has_the_picture_that_the_table_makes() -> None:
    assert f"```text\n{picture()}\n```" in DOCUMENT, "put there what python -m zq.core.state.transitions prints"


def test_tasks_that_have_ended_only_get_forgotten() -> None:
    ended = (DONE, CANCELLED, EXPIRED, PURGED)

    assert {to for state in ended for to in allowed(state)} == {FORGOTTEN}
    assert not list(allowed(FORGOTTEN))


@pytest.mark.parametrize(("origin", "to"), [(WAITING, DONE), (DONE, WAITING), (DEAD, LEASED), (SCHEDULED, LEASED)])
def test_move_that_is_not_in_the_table_is_refused(queue: Queue, origin: TaskState, to: TaskState) -> None:
    with pytest.raises(AssertionError, match=f"{NAMES[origin]} cannot become {NAMES[to]}"):
        queue.move(origin, to, 1, 4)


def test_task_in_hand_can_only_go_where_the_table_says(queue: Queue) -> None:
    queue.bring_in(NEW, SCHEDULED, 1, 4, 10)
    queue.take_out(SCHEDULED, 1, 4)

    with pytest.raises(AssertionError, match="is scheduled cannot become done"):
        queue.bring_in(SCHEDULED, DONE, 1, 4)


def test_queue_notes_by_itself_that_it_is_changed() -> None:
    changed: dict[Queue, None] = {}
    queue = Queue(1, "q", changed)

    queue.bring_in(NEW, WAITING, 3, 4, 30)

    assert list(changed) == [queue]
    assert (queue.total_waiting, queue.waiting[4], queue.stored_bytes) == (3, 3, 30)
