"""What people complain of in other queues' Python faces, and what is so here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zq

MONTH = 30 * 24 * 3600.0


def course(make: Callable[[], zq.App], start: Callable[[zq.App], Any]) -> list[Any]:
    """Has one shop do its day's work; returns all that its customers see."""
    seen: list[Any] = []
    app = make()

    @app.task(max_attempts=2, retry=zq.RetryPolicy.constant(0.01))
    def bake(names: list[str], sizes: tuple[int, int] = (1, 2)) -> tuple[list[str], tuple[int, int]]:
        names.append("changed by the handler")
        return names, sizes

    @app.task(max_attempts=2, retry=zq.RetryPolicy.constant(0.01))
    def burn(task: zq.Task) -> None:
        raise ValueError(f"attempt {task.attempt}")

    @app.task
    async def deliver(street: str) -> str:
        await asyncio.sleep(0)
        return street.upper()

    with start(app):
        mine = ["mine"]
        seen += [bake.submit(mine).result(timeout=60), mine]  # what the handler does to its argument is not seen here
        burnt = burn.submit()  # a failure is not raised where it is submitted
        with pytest.raises(zq.TaskFailedError) as failed:
            burnt.result(timeout=60)
        status = burnt.status()
        seen += [failed.value.reason.splitlines()[0], status.state, status.attempts]
        seen.append([event.event for event in status.timeline])
        seen.append(deliver.submit("street").result(timeout=60))
        with pytest.raises(TypeError):
            bake.submit({"not": "a list"})  # type: ignore[arg-type]  # what is refused, in both
        app.close()
    return seen


class NoWorker:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_tests_in_memory_see_what_production_does(tmp_path: Path) -> None:
    """celery#4247, #2969: eager mode is another program."""
    in_memory = course(zq.App.memory, lambda app: NoWorker())
    with zq.Coordinator(tmp_path / "s.zq") as coordinator:
        real = course(lambda: zq.App(coordinator.address), lambda app: app.worker())

    assert in_memory == real
    assert real[0] == (["mine", "changed by the handler"], (1, 2))
    assert real[1] == ["mine"]


def test_wait_for_a_month_of_retries_takes_no_time() -> None:
    """Dramatiq's documentation: join may wait for thirty days of retries."""
    app = zq.App.memory()
    attempts: list[float] = []

    @app.task(max_attempts=30, retry=zq.RetryPolicy.constant(24 * 3600.0))
    def flaky() -> None:
        attempts.append(app.time)
        raise ValueError("not yet")

    with pytest.raises(zq.TaskFailedError, match="not yet"):
        flaky.submit().result(timeout=MONTH)

    assert len(attempts) == 30
    assert attempts[-1] - attempts[0] == pytest.approx(29 * 24 * 3600, abs=60)


def test_coroutines_are_tasks_like_any_other(tmp_path: Path) -> None:
    """celery#6552, #3884: no async tasks, open since 2017."""
    app = zq.App()

    @app.task
    async def bake(n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def main() -> list[int]:
        receipts = await bake.asubmit_many(bake.arguments(n) for n in range(100))
        return [await receipt.result(timeout=60) for receipt in receipts]

    with zq.Coordinator(tmp_path / "s.zq") as coordinator, app.at(coordinator.address), app.worker(concurrency=50):
        assert asyncio.run(main()) == list(range(100))
