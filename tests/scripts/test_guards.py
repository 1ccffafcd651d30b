"""Scripts without a main guard: one sentence at once, for whatever imports them."""

from __future__ import annotations

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder

SENTENCE = 'put the run under `if __name__ == "__main__":`'

WORKER = """
    import zq
    worker = zq.Worker(name="eager", processes=1)
    @worker.task("q")
    def bake(task): return "baked"
    worker.run()
"""
LOOP_WORKER = WORKER.replace("def bake", "async def bake")
START = WORKER.replace("worker.run()", "with worker:\n        import time; time.sleep(30)")
APP = """
    import zq
    app = zq.App(processes=1)
    @app.task
    def q(): return "baked"
    app.run()
"""
ASYNC_WORKER = WORKER.replace("worker.run()", "import asyncio; asyncio.run(asyncio.to_thread(worker.run))")
COORDINATOR = """
    import zq
    coordinator = zq.Coordinator("own.zq").open()
    worker = zq.Worker(coordinator.address, name="own", processes=1)
    @worker.task("q")
    def bake(task): return "baked"
    if __name__ == "__main__":
        worker.run()
"""
DIRECT = """
    from patterns import stage
    @stage
    def double(x): return 2 * x
    print(list(double.run([1, 2])))
"""
DIRECT_TIMEOUT = DIRECT.replace("@stage", "@stage(timeout=30.0)")
DURABLE = DIRECT.replace("run([1, 2])", 'run([1, 2], data="run.zq")')


def ends_with_the_sentence(folder: Folder, *command: str) -> str:
    done = folder.run(*command)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert SENTENCE in done.stderr.splitlines()[-1], done.stderr
    return done.stderr


@pytest.mark.parametrize("command", [["shop.py"], ["-m", "shop"]], ids=["file", "module"])
@pytest.mark.parametrize("script", [WORKER, LOOP_WORKER, APP], ids=["plain", "coroutine", "app"])
def test_worker_that_is_run_without_a_guard_ends_and_says_why(
    folder: Folder, client: zq.Client, script: str, command: list[str]
) -> None:
    receipt = client.submit("q", {})
    folder.write("shop.py", script)

    said = ends_with_the_sentence(folder, *command)

    assert "is started while its module is imported for what it defines" in said
    assert "File" not in said.split("RunnerBrokenError")[1]  # it is told without the traceback of the child
    status = client.status(receipt.id)
    assert (status.state, status.attempts) == ("waiting", 0)


def test_coordinator_that_is_opened_without_a_guard_is_named_as_the_reason(folder: Folder) -> None:
    folder.write("shop.py", COORDINATOR)

    assert "the coordinator cannot be opened" in ends_with_the_sentence(folder, "shop.py")


def test_worker_that_is_only_started_without_a_guard_says_why_and_takes_nothing(
    folder: Folder, client: zq.Client
) -> None:
    receipt = client.submit("q", {})
    folder.write(
        "shop.py",
        START.replace("time.sleep(30)", "[time.sleep(0.1) for _ in range(600) if worker._run.failure is None]"),
    )

    done = folder.run("shop.py")

    assert "worker eager takes no more tasks: the child processes of worker eager cannot work" in done.stderr
    assert SENTENCE in done.stderr
    assert client.status(receipt.id).state == "waiting"


@pytest.mark.parametrize("script", [DIRECT, DIRECT_TIMEOUT, DURABLE], ids=["direct", "timeout", "durable"])
@pytest.mark.parametrize("command", [["shop.py"], ["-m", "shop"]], ids=["file", "module"])
def test_pipeline_that_is_run_without_a_guard_ends_and_says_why(
    folder: Folder, script: str, command: list[str]
) -> None:
    folder.write("shop.py", script)

    said = ends_with_the_sentence(folder, *command)

    assert "a pipeline is run while its module is imported for what it defines" in said


def test_call_that_is_submitted_without_a_guard_fails_and_is_submitted_once(folder: Folder, client: zq.Client) -> None:
    folder.write(
        "shop.py",
        """
        import os, zq
        def double(x): return 2 * x
        executor = zq.Executor(os.environ["ZQ_ADDRESS"])
        print(executor.submit(double, 1).result())
        """,
    )
    folder.start("-m", "zq.cli", "worker", "zq.executor:worker", "--processes", "1", ZQ_EXECUTOR_ALLOW="*")

    done = folder.run("shop.py")

    assert done.returncode == 1
    assert f"a call is submitted while its module is imported for what it defines: {SENTENCE}" in done.stderr
    status = client.query("status")
    assert (status["dead"], status["done"], status["waiting"], status["leased"]) == (1, 0, 0, 0)


@pytest.mark.parametrize("script", [WORKER, APP], ids=["worker", "app"])
def test_worker_that_a_thread_of_its_module_runs_does_not_run_in_its_children(
    folder: Folder, client: zq.Client, script: str
) -> None:
    receipts = client.submit_many("q", [{}] * 5)
    name = "worker" if script is WORKER else "app"
    run = f"import threading; threading.Thread(target=lambda: {name}.run(burst=True)).start()"
    folder.write("shop.py", script.replace(f"{name}.run()", run))

    done = folder.run("shop.py")

    assert SENTENCE in done.stderr
    assert [one.result(timeout=PATIENCE) for one in receipts] == ["baked"] * 5
    assert client.query("workers") == []
