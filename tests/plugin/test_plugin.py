"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent

SHOP = """
import zq

app = zq.App("tcp://127.0.0.1:1")  # nobody is there
worker = zq.Worker("tcp://127.0.0.1:1", concurrency=2)

@app.task(queue="bake", max_attempts=2)
def bake(name: str) -> str:
    return f"baked {name}"

@worker.task("cut")
def cut(task):
    return task.payload + 1
"""


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a shop, which sees this plugin even where the package was installed before it had one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(shop=SHOP)
    pytester.makeini("[pytest]\naddopts = -p zq.pytest_plugin\npythonpath = .\nfilterwarnings = error\n")
    return pytester


def run(project: pytest.Pytester, tests: str, **outcomes: int) -> pytest.RunResult:
    project.makepyfile(test_shop=tests)
    result = project.runpytest_subprocess("-q")
    result.assert_outcomes(**outcomes)
    return result


def test_app_in_memory_is_a_new_one_for_each_test(shop: pytest.Pytester) -> None:
    run(
        shop,
        """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_app(zq_app, turn):
            @zq_app.task
            def bake(x: int) -> int:
                return x + 1

            receipt = bake.options(delay=3600).submit(1)
            assert zq_app.advance(3599) == 0
            assert zq_app.advance(1) == 1
            assert receipt.result() == 2
        """,
        passed=2,
    )


def test_app_of_the_ini_option_is_put_into_memory(shop: pytest.Pytester) -> None:
    shop.makeini("[pytest]\naddopts = -p zq.pytest_plugin\npythonpath = .\nzq_app = shop:app\n")
    run(
        shop,
        """
        import shop, zq, pytest

        def test_one(zq_app):
            assert zq_app is shop.app
            assert shop.bake.submit("funghi").result() == "baked funghi"

        def test_two(zq_app):
            assert zq_app.client.query("queues") == []

        def test_three():
            with pytest.raises(zq.ZqError, match="not in memory"):
                shop.app.advance(1)
        """,
        passed=3,
    )


def test_app_that_is_none_is_told(shop: pytest.Pytester) -> None:
    shop.makeini("[pytest]\naddopts = -p zq.pytest_plugin\npythonpath = .\nzq_app = shop:worker\n")
    result = run(shop, "def test_one(zq_app): pass", errors=1)

    result.stdout.fnmatch_lines(["*expected a zq.App at shop:worker (ini option zq_app), got Worker*"])


def test_workers_run_against_a_real_coordinator_and_end_with_the_test(shop: pytest.Pytester) -> None:
    run(
        shop,
        """
        import threading
        import pytest, shop, zq

        def test_app(zq_coordinator, zq_worker):
            zq_worker(shop.app)
            assert shop.app.address == zq_coordinator.address
            assert shop.bake.submit("funghi").result(timeout=30) == "baked funghi"

        def test_app_is_back(zq_coordinator):
            assert shop.app.address == "tcp://127.0.0.1:1"

        def test_worker(zq_client, zq_worker):
            assert zq_worker(shop.worker).coroutines == 2
            assert zq_client.submit("cut", 1).result(timeout=30) == 2

        def test_handlers(zq_worker):
            zq_worker({"add": lambda task: task.payload + 2}, name="adder", concurrency=3)
            with zq.Client() as client:  # ZQ_ADDRESS is the coordinator's
                assert client.submit("add", 1).result(timeout=30) == 3
                assert [one["name"] for one in client.query("workers")] == ["adder"]

        def test_worker_of_a_namespace(zq_worker):
            source = zq.Worker(namespace="team-a")
            source.task("cut")(lambda task: task.queue)
            assert zq_worker(source).namespace is source.namespace
            with zq.Client(namespace="team-a") as client:
                assert client.submit("cut", 1).result(timeout=30) == "cut"

        def test_children(zq_worker):
            zq_worker(shop.app, processes=1)
            assert shop.bake.submit("funghi").result(timeout=30) == "baked funghi"

        def test_nonsense(zq_worker):
            with pytest.raises(TypeError, match="expected a zq.App, a zq.Worker or a mapping"):
                zq_worker(5)

        def test_nothing_is_left():
            assert not [one.name for one in threading.enumerate() if one.name.startswith("zq-")]
        """,
        passed=8,
    )


def test_options_of_the_coordinator_are_a_fixture(shop: pytest.Pytester) -> None:
    shop.makeconftest(
        """
        import pytest, zq

        @pytest.fixture
        def zq_coordinator_options():
            return zq.CoordinatorOptions(queue_tasks_max=1)
        """
    )
    run(
        shop,
        """
        import pytest, zq

        def test_full(zq_client):
            zq_client.submit("q", 1)
            with pytest.raises(zq.BusyError):
                zq_client.submit("q", 2)
        """,
        passed=1,
    )


def test_plugin_costs_those_nothing_who_do_not_use_it() -> None:
    code = """
import sys, pytest, _pytest.pytester
before = set(sys.modules)
import zq.pytest_plugin
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "['zq', 'zq.lazy', 'zq.pytest_plugin']"  # the names of zq, not what they name


def test_plugin_is_found_by_pytest() -> None:
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]

    assert entry_points["pytest11"] == {"zq.pytest_plugin": "zq.pytest_plugin"}
