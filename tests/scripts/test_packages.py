"""`python -m package.module` and `python -m package`, with relative imports."""

from __future__ import annotations

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder

KITCHEN = "def baked(x): return f'baked {x}'\n"

WORKER = """
    import zq
    from .kitchen import baked
    worker = zq.Worker(processes=1)
    @worker.task("q")
    def bake(task): return baked(task.payload)
    if __name__ == "__main__":
        worker.run(burst=True)
"""
LOOP_WORKER = WORKER.replace("def bake", "async def bake")
APP = """
    import zq
    from .kitchen import baked
    app = zq.App(processes=1)
    @app.task
    def q(x: int) -> str: return baked(x)
    if __name__ == "__main__":
        q.submit(1)
        app.run(burst=True)
"""
EXECUTOR = """
    import zq
    from .kitchen import baked
    def bake(x): return baked(x)
    if __name__ == "__main__":
        with zq.Executor(max_workers=1) as executor:
            print(executor.submit(bake, 1).result(), executor.submit(baked, 2).result())
"""
PIPELINE = """
    from patterns import stage
    from .kitchen import baked
    @stage(OPTIONS)
    def bake(x): return baked(x)
    if __name__ == "__main__":
        print(*bake.run([1], RUN))
"""


def write_package(folder: Folder, script: str, command: str) -> None:
    folder.write("shop/__init__.py", "")
    folder.write("shop/kitchen.py", KITCHEN)
    folder.write("shop/__main__.py" if command == "shop" else "shop/main.py", script)


@pytest.fixture(params=["shop.main", "shop"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("script", [WORKER, LOOP_WORKER], ids=["plain", "coroutine"])
def test_worker_of_a_package_finds_what_it_imports(
    folder: Folder, client: zq.Client, script: str, command: str
) -> None:
    receipt = client.submit("q", 1)
    write_package(folder, script, command)

    done = folder.run("-m", command)

    assert done.returncode == 0, done.stderr
    assert receipt.result(timeout=PATIENCE) == "baked 1"


def test_app_of_a_package_finds_what_it_imports(folder: Folder, client: zq.Client, command: str) -> None:
    write_package(folder, APP, command)

    done = folder.run("-m", command)

    assert done.returncode == 0, done.stderr
    assert client.query("status")["done"] == 1


def test_executor_calls_functions_of_a_package(folder: Folder, command: str) -> None:
    write_package(folder, EXECUTOR, command)

    done = folder.run("-m", command)

    assert done.stdout == "baked 1 baked 2\n", done.stderr


@pytest.mark.parametrize("options", ["", "timeout=30.0", "threads=True"])
@pytest.mark.parametrize("run", ["", "data='run.zq'"], ids=["direct", "durable"])
def test_pipeline_of_a_package_runs(folder: Folder, options: str, run: str, command: str) -> None:
    write_package(folder, PIPELINE.replace("OPTIONS", options).replace("RUN", run), command)

    done = folder.run("-m", command)

    assert done.stdout == "baked 1\n", done.stderr
