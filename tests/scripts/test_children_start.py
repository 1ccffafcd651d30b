"""Children that start before the first task, and what a worker does whose children cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder, wait_for
from zq.worker.crew import CHILD_FAILURES_MAX

SHOP = """
    import os, zq
    worker = zq.Worker(name="shop", processes=CHILDREN)
    @worker.task("q")
    SORT bake(task):
        if task.payload == "die": os._exit(1)
        return [task.payload, VERSION, os.getpid()]
    if __name__ == "__main__":
        worker.run()
"""


def write_shop(folder: Folder, sort: str = "def", version: int = 1, children: int = 1) -> None:
    text = SHOP.replace("SORT", sort).replace("VERSION", str(version)).replace("CHILDREN", str(children))
    folder.write("shop.py", text)


def start(folder: Folder, *options: str) -> subprocess.Popen[str]:
    return folder.start("-m", "zq.cli", "worker", "shop:worker", "--processes", "1", *options)


def state_of(client: zq.Client, id: str) -> tuple[str, int | None]:
    status = client.status(id)
    return status.state, status.attempts


@pytest.mark.parametrize("sort", ["def", "async def"])
def test_worker_whose_module_breaks_gives_back_its_tasks_and_ends_with_the_reason(
    folder: Folder, client: zq.Client, sort: str
) -> None:
    write_shop(folder, sort)
    process = start(folder)
    assert client.submit("q", 1).result(timeout=PATIENCE)[0] == 1
    folder.write("shop.py", "import no_such_module\n")
    with client.events(kinds=["worker"]) as events:
        client.submit("q", "die", max_attempts=1)
        receipts = client.submit_many("q", [1, 2, 3])

        assert process.wait(PATIENCE) == 1

        said = folder.said_by(process)
        assert said.count("a child process cannot work, and is started again") == CHILD_FAILURES_MAX
        assert "zq: the child processes of worker shop cannot work: shop cannot be imported:" in said
        assert said.rstrip().endswith("ModuleNotFoundError: No module named 'no_such_module'")
        assert [state_of(client, one.id) for one in receipts] == [("waiting", 0)] * 3
        assert client.query("workers") == []
        last = next(event for event in events if event.text.startswith("goodbye"))
        assert "No module named 'no_such_module'" in last.text


def test_worker_that_cannot_start_children_takes_nothing_while_another_does_it_all(
    folder: Folder, client: zq.Client
) -> None:
    write_shop(folder)
    start(folder)
    client.submit("q", 1).result(timeout=PATIENCE)
    folder.write("shop.py", "raise SystemExit('not today')\n")
    client.submit("q", "die", max_attempts=1)
    receipts = client.submit_many("q", range(20))
    folder.write(
        "other.py", "import zq\nworker = zq.Worker(name='other')\n@worker.task('q')\ndef bake(task): return 'other'\n"
    )
    folder.start("-m", "zq.cli", "worker", "other:worker", "--concurrency", "1")

    assert [one.result(timeout=PATIENCE) for one in receipts] == ["other"] * 20


@pytest.mark.parametrize("sort", ["def", "async def"])
def test_worker_whose_module_is_whole_again_goes_on(folder: Folder, client: zq.Client, sort: str) -> None:
    write_shop(folder, sort)
    process = start(folder)
    client.submit("q", 1).result(timeout=PATIENCE)
    folder.write("shop.py", "this is no Python\n")
    client.submit("q", "die", max_attempts=1)
    receipt = client.submit("q", 2)
    wait_for(
        lambda: "is started again" in folder.said_by(process) and "is not Python" in folder.said_by(process),
        "a failure",
    )
    write_shop(folder, sort, version=2)

    assert receipt.result(timeout=PATIENCE)[:2] == [2, 2]
    assert "shop.py has changed since this worker was started" in folder.said_by(process)


def test_worker_whose_interpreter_is_gone_ends_with_the_reason(folder: Folder, client: zq.Client) -> None:
    receipt = client.submit("q", 1)
    folder.write(
        "main.py",
        """
        import sys, zq
        worker = zq.Worker(name="shop", processes=2)
        @worker.task("q")
        def bake(task): return 1
        if __name__ == "__main__":
            sys.executable = "/no/such/python"
            worker.run()
        """,
    )

    done = folder.run("main.py")

    assert done.returncode == 1
    assert "no process can be started: [Errno 2] No such file or directory: '/no/such/python'" in done.stderr
    assert state_of(client, receipt.id) == ("waiting", 0)


def test_worker_whose_children_die_before_they_are_ready_ends_with_the_reason(
    folder: Folder, client: zq.Client
) -> None:
    receipt = client.submit("q", 1)
    folder.write(
        "main.py",
        """
        import os, zq
        if os.getpid() != int(os.environ.setdefault("PARENT_OF_SHOP", str(os.getpid()))):
            os._exit(7)
        worker = zq.Worker(name="shop", processes=2)
        @worker.task("q")
        def bake(task): return 1
        if __name__ == "__main__":
            worker.run()
        """,
    )

    done = folder.run("main.py")

    assert done.returncode == 1
    assert "cannot work: it ended with exit code 7 before it was ready; its output says why" in done.stderr
    assert state_of(client, receipt.id) == ("waiting", 0)


def test_executor_whose_processes_cannot_start_breaks(folder: Folder) -> None:
    folder.write(
        "main.py",
        """
        import concurrent.futures, sys, zq
        if __name__ == "__main__":
            sys.executable = "/no/such/python"
            with zq.Executor(max_workers=1) as executor:
                for _ in range(2):
                    try:
                        executor.submit(len, "abc").result()
                    except concurrent.futures.BrokenExecutor as error:
                        print(error)
        """,
    )

    done = folder.run("main.py")

    assert done.stdout.count("no process can be started: [Errno 2]") == 2, done.stderr


# At the start.


@pytest.mark.parametrize("sort", ["def", "async def"])
def test_children_start_before_the_first_task_and_all_run_the_same_code(
    folder: Folder, client: zq.Client, sort: str
) -> None:
    folder.write(
        "shop.py",
        f"""
        import os, time, zq
        worker = zq.Worker(name="shop")
        open("imported", "a").write(f"{{os.getpid()}}\\n")
        @worker.task("q")
        {sort} bake(task):
            time.sleep(0.05)
            return [VERSION, os.getpid()]
        VERSION = 1
        """,
    )
    folder.start("-m", "zq.cli", "worker", "shop:worker", "--processes", "3")
    children = 3 if sort == "def" else 1
    imported = folder.path / "imported"
    wait_for(lambda: imported.exists() and len(imported.read_text().split()) == 1 + children, "the children")
    folder.write("shop.py", "VERSION = 2\n")

    results = [one.result(timeout=PATIENCE) for one in client.submit_many("q", range(60))]

    assert {version for version, _ in results} == {1}
    assert {str(pid) for _, pid in results} <= set(imported.read_text().split())


def test_worker_offers_no_place_before_a_child_is_ready(folder: Folder, client: zq.Client) -> None:
    gate = folder.path / "gate"
    os.mkfifo(gate)
    folder.write(
        "shop.py",
        """
        import os, zq
        if os.getpid() != int(os.environ.setdefault("PARENT_OF_SHOP", str(os.getpid()))):
            open("gate").read()
        worker = zq.Worker(name="shop", processes=1)
        @worker.task("q")
        def bake(task): return 1
        if __name__ == "__main__":
            worker.run(burst=True)
        """,
    )
    receipt = client.submit("q", 1)
    process = folder.start("shop.py")
    (worker,) = wait_for(lambda: client.query("workers"), "the worker")

    assert worker["credit"] == 0
    assert state_of(client, receipt.id) == ("waiting", 0)
    with gate.open("w"):
        pass
    assert receipt.result(timeout=PATIENCE) == 1
    assert process.wait(PATIENCE) == 0  # in burst mode, and not before its children were ready


def test_worker_that_is_stopped_while_its_children_start_ends_at_once(folder: Folder, client: zq.Client) -> None:
    os.mkfifo(folder.path / "gate")
    folder.write(
        "shop.py",
        """
        import os, zq
        if os.getpid() != int(os.environ.setdefault("PARENT_OF_SHOP", str(os.getpid()))):
            open("gate").read()
        worker = zq.Worker(name="shop", processes=1)
        @worker.task("q")
        def bake(task): return 1
        if __name__ == "__main__":
            worker.run()
        """,
    )
    process = folder.start("shop.py")
    wait_for(lambda: client.query("workers"), "the worker")

    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 0
    assert client.query("workers") == []


def test_child_that_dies_while_it_has_nothing_to_do_costs_no_task_an_attempt(folder: Folder, client: zq.Client) -> None:
    write_shop(folder)
    start(folder)
    pid: Any = client.submit("q", 1).result(timeout=PATIENCE)[2]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}/exe").exists(), "its end")

    receipt = client.submit("q", 2)

    assert receipt.result(timeout=PATIENCE)[0] == 2
    assert client.status(receipt.id).attempts == 0


STAGES = """
    import os, sys
    from patterns import stage
    @stage
    def bake(x):
        if x == 5 and not os.path.exists("broken"):
            open("broken", "w").close()
            open("shop.py", "w").write("import no_such_module")
            os._exit(1)
        return x
"""
RUNS = """
    import sys
    from shop import bake
    if __name__ == "__main__":
        for x in bake.run(range(1000), RUN):
            pass
"""


@pytest.mark.parametrize("run", ["data='run.zq'", "allow_loss=True"], ids=["durable", "direct"])
def test_run_whose_stage_cannot_start_again_ends_with_the_reason(folder: Folder, run: str) -> None:
    folder.write("shop.py", STAGES)
    folder.write("main.py", RUNS.replace("RUN", run))

    done = folder.run("main.py")

    assert "StartError: stage bake: a worker cannot work: shop cannot be imported:" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("ModuleNotFoundError: No module named 'no_such_module'")
