"""What a worker says of tasks that fail: one line for each attempt, with what comes next."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import PATIENCE, wait_until
from tests.worker.loud_shop import worker as shop
from zq.sessions.hand import Hand
from zq.sessions.reports import Verdict
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Failed
from zq.wire.steering import NextTry
from zq.worker import child_runner
from zq.worker.failure_log import LINES_PER_SECOND_MAX, TRACES_PER_SECOND_MAX, FailureLog

QUICK = zq.RetryPolicy.constant(0.01)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "zq.worker.failure_log"]


@pytest.mark.parametrize("queue", ["plain", "coroutine"])
@pytest.mark.parametrize("processes", [0, 1])
def test_failed_attempt_is_a_line_with_what_comes_next_and_the_last_one_has_the_traceback(
    coordinator: zq.Coordinator, client: zq.Client, caplog: pytest.LogCaptureFixture, queue: str, processes: int
) -> None:
    shop.adopt(zq.Worker(coordinator.address, name="shop", processes=processes))
    id = client.submit(queue, "anna", max_attempts=2, retry=QUICK).id
    with shop, pytest.raises(zq.TaskFailedError):
        client.result(id, timeout=PATIENCE)
    first, last = lines(caplog)

    task = f"task {id} of queue {queue} failed"
    assert first == f"{task} (attempt 1 of 2): ValueError: no oven for anna; next try in 0.01 s"
    head, *trace = last.splitlines()
    assert head == f"{task} (attempt 2 of 2): ValueError: no oven for anna; it is not tried again: it is a dead letter"
    assert trace[0] == "Traceback (most recent call last):"
    assert "loud_shop.py" in last and "raise ValueError" in last
    assert {one.levelname for one in caplog.records if one.name == "zq.worker.failure_log"} == {"WARNING"}


def test_handlers_of_an_app_fail_no_less_loudly(
    coordinator: zq.Coordinator, client: zq.Client, caplog: pytest.LogCaptureFixture
) -> None:
    app = zq.App(coordinator.address)

    @app.task(queue="bake")
    def bake(pizza: str) -> None:
        raise KeyError(pizza)

    with app.worker():
        id = client.submit("bake", {"pizza": "funghi"}, max_attempts=1).id
        wait_until(lambda: lines(caplog), "the line")

    assert lines(caplog)[0].startswith(f"task {id} of queue bake failed (attempt 1 of 1): KeyError: 'funghi';")


def test_debug_shows_the_traceback_of_each_attempt(
    coordinator: zq.Coordinator, client: zq.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "zq.worker.failure_log")
    shop.adopt(zq.Worker(coordinator.address, name="shop"))
    id = client.submit("plain", "anna", max_attempts=2, retry=QUICK).id
    with shop, pytest.raises(zq.TaskFailedError):
        client.result(id, timeout=PATIENCE)

    assert ["Traceback" in line for line in lines(caplog)] == [True, True]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_child_that_is_ended_for_its_task_is_no_crash(
    coordinator: zq.Coordinator,
    client: zq.Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_cancelled: bool,
) -> None:
    monkeypatch.setattr(child_runner, "CANCEL_GRACE", 0.05)
    caplog.set_level(logging.INFO, "zq.worker")
    shop.adopt(zq.Worker(coordinator.address, name="shop", processes=1))
    timeout = None if is_cancelled else 0.2
    id = client.submit("held", f"{tmp_path}/never", max_attempts=1, timeout=timeout).id
    with shop:
        wait_until(lambda: [one.running for one in client.workers.list()] == [1] or lines(caplog), "it runs")
        if is_cancelled:
            client.cancel(id)
        wait_until(lambda: any("was ended" in one for one in caplog.messages), "a word")

    why = "it was cancelled" if is_cancelled else "it ran longer than its timeout of 0.2 s"
    assert f"the child process at a task of queue held was ended: {why}" in caplog.messages
    assert not [one for one in caplog.messages if "started again" in one]


# Without sockets.


def failures(count: int, error: str = "Boom: \x1b[31m") -> tuple[list[Failed], dict[int, Hand]]:
    hands = {
        token: Hand(Assignment(token, f"t{token}", 1, "q", DEFAULT_OPTIONS, 3, 0, b"\x00\x00\x00\x00", b""))
        for token in range(count)
    }
    return [Failed(token, f"t{token}", 0, error, None, False) for token in hands], hands


def test_what_has_no_answer_is_told_after_a_while_and_not_twice(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog("shop")
    [failed], hands = failures(1)
    log.note([failed], hands)
    log.look(0.0)
    assert lines(caplog) == []

    log.look(float("inf"))
    log.settle([Verdict(failed, NextTry(0, 0, 5, 1.0), False)])
    log.end()

    assert lines(caplog) == [
        r"task t0 of queue q failed (attempt 3): Boom: \x1b[31m; "
        "the coordinator has not answered yet, and decides on the next try"
    ]


@pytest.mark.parametrize(
    ("next_try", "is_stale", "words"),
    [
        (NextTry(0, 0, 5, 0.0), False, "(attempt 3 of 5): Boom; it is tried again at once"),
        (NextTry(0, 0, 5, 12.25), False, "(attempt 3 of 5): Boom; next try in 12.2 s"),
        (NextTry(0, 0, 5, None), False, "(attempt 3 of 5): Boom; it is not tried again: it is a dead letter"),
        (None, True, "(attempt 3): Boom; the task was not this worker's any more"),
        (None, False, "(attempt 3): Boom; the coordinator decides what next"),
    ],
)
def test_words_for_what_comes_next(
    caplog: pytest.LogCaptureFixture, next_try: NextTry | None, is_stale: bool, words: str
) -> None:
    log = FailureLog("shop")
    [failed], hands = failures(1, "Boom")
    log.note([failed], hands)
    log.settle([Verdict(failed, next_try, is_stale)])

    assert lines(caplog)[0] == f"task t0 of queue q failed {words}"


def test_a_flood_of_failures_is_counted_and_not_written(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog("shop")
    many = 4 * LINES_PER_SECOND_MAX
    failed, hands = failures(many, "Boom\nTraceback of it")
    log.note(failed, hands)
    log.settle([Verdict(one, NextTry(0, 0, 1, None), False) for one in failed])
    log.look(0.0)
    *told, counted = lines(caplog)
    left = re.fullmatch(r"more tasks failed than there are lines for: (\d+) of queue q", counted)

    assert left is not None
    assert len(told) + int(left[1]) == many
    assert len(told) <= 2 * LINES_PER_SECOND_MAX
    assert 0 < sum("Traceback" in one for one in told) <= 2 * TRACES_PER_SECOND_MAX
