"""Children that are replaced after so many tasks, or above so much memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder

SHOP = """
    import atexit, os, zq
    kept = []
    atexit.register(lambda: open("ended", "a").write(f"{os.getpid()}\\n"))
    MAKE
    SORT bake(SIGNATURE):
        kept.append(bytearray(SIZE))
        return os.getpid()
    if __name__ == "__main__":
        RUN.run(burst=True)
"""
WORKER = {
    "MAKE": "worker = zq.Worker(processes=PROCESSES, OPTIONS)\n    @worker.task('q')",
    "RUN": "worker",
    "SIGNATURE": "task",
}
APP = {"MAKE": "app = zq.App(processes=PROCESSES, OPTIONS)\n    @app.task(queue='q')", "RUN": "app", "SIGNATURE": ""}  # fmt: skip


def write_shop(folder: Folder, changes: dict[str, str]) -> None:
    text = SHOP
    for name, value in {**WORKER, "SORT": "def", "SIZE": "0", **changes, "PROCESSES": "1"}.items():
        text = text.replace(name, value)
    folder.write("shop.py", text)


def results_of(client: zq.Client, count: int, payload: Any = None) -> list[Any]:
    return [one.result(timeout=PATIENCE) for one in client.submit_many("q", [payload] * count)]


@pytest.mark.parametrize("kind", [WORKER, APP], ids=["worker", "app"])
@pytest.mark.parametrize("sort", ["def", "async def"])
def test_child_runs_so_many_tasks_and_ends_in_peace(
    folder: Folder, client: zq.Client, kind: dict[str, str], sort: str
) -> None:
    receipts = client.submit_many("q", [{}] * 25)
    write_shop(folder, {**kind, "SORT": sort, "OPTIONS": "tasks_per_child=10"})

    done = folder.run("shop.py")

    assert done.returncode == 0, done.stderr
    pids = [one.result(timeout=PATIENCE) for one in receipts]
    assert sorted(Counter(pids).values()) == [5, 10, 10]
    ended = (folder.path / "ended").read_text().split()
    assert {str(pid) for pid in pids} <= set(ended)  # each left through its atexit
    assert "child process" not in done.stderr  # and it is nothing to warn of


@pytest.mark.parametrize("sort", ["def", "async def"])
def test_child_whose_memory_is_over_the_limit_is_replaced_between_two_tasks(
    folder: Folder, client: zq.Client, sort: str
) -> None:
    receipts = [client.submit("q", None) for _ in range(6)]
    write_shop(folder, {"SORT": sort, "SIZE": "60 << 20", "OPTIONS": "child_memory_max=200"})

    done = folder.run("shop.py")

    assert done.returncode == 0, done.stderr
    pids = [one.result(timeout=PATIENCE) for one in receipts]
    assert 2 <= len(set(pids)) <= 5
    assert [client.status(one.id).attempts for one in receipts] == [0] * 6


def test_single_task_above_the_limit_runs_to_its_end(folder: Folder, client: zq.Client) -> None:
    receipts = client.submit_many("q", [None] * 3)
    write_shop(folder, {"SIZE": "60 << 20", "OPTIONS": "child_memory_max=60"})

    done = folder.run("shop.py")

    assert done.returncode == 0, done.stderr
    assert len({one.result(timeout=PATIENCE) for one in receipts}) == 3


@pytest.mark.parametrize("sort", ["def", "async def"])
def test_coroutines_that_run_end_before_their_child_goes(folder: Folder, client: zq.Client, sort: str) -> None:
    folder.write(
        "shop.py",
        f"""
        import asyncio, os, time, zq
        worker = zq.Worker(processes=1, concurrency=4)
        @worker.task("q")
        {sort} bake(task):
            {"await asyncio" if sort == "async def" else "time"}.sleep(task.payload)
            return os.getpid()
        """,
    )
    receipts = client.submit_many("q", [0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.0])

    done = folder.run("-m", "zq.cli", "worker", "shop:worker", "--burst", "--processes", "1", "--tasks-per-child", "3")

    assert done.returncode == 0, done.stderr
    pids = [one.result(timeout=PATIENCE) for one in receipts]
    assert max(Counter(pids).values()) <= 3
    assert client.query("status")["counters"].get("lost", 0) == 0


def test_executor_replaces_its_processes(folder: Folder) -> None:
    folder.write(
        "main.py",
        """
        import collections, os, zq
        if __name__ == "__main__":
            with zq.Executor(max_workers=1, max_tasks_per_child=2) as executor:
                calls = [executor.submit(os.getpid) for _ in range(6)]
                print(*collections.Counter(call.result() for call in calls).values())
        """,
    )

    done = folder.run("main.py")

    assert done.stdout == "2 2 2\n", done.stderr


@pytest.mark.parametrize("options", [{"tasks_per_child": 0}, {"child_memory_max": 0}])
def test_limit_that_no_child_could_keep_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"expected {next(iter(options))} from 1"):
        zq.Worker("ipc://nowhere", **options)  # type: ignore[arg-type]
