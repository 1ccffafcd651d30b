"""CPython's own tests of executors, run against `zq.Executor` where the Python that runs this has them (Debian's and
many containers' have not).

They are taken as they are: only the executor is another one, and in the scripts that a test starts, the import of it.
What is skipped is skipped by name, each with its reason; a name that the tests no longer have fails
`test_what_is_skipped_is_there`.

Whole files that are not run: test_future (the Future class of the standard library itself, which ours extends),
test_thread_pool and most of test_process_pool's constructors (the pools' own), test_init (there is no initializer),
test_deadlock (values whose pickling or unpickling fails: there is no pickle).
"""

from __future__ import annotations

import importlib
import sys
import unittest
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.executor.local_executor import LocalExecutor

ROOT = Path(__file__).parent.parent.parent

PACKAGE = "test.test_concurrent_futures"


def load(name: str) -> Any:
    """Returns a module of CPython's tests, or skips this file; up to Python 3.11 all of them are one module."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = importlib.import_module(PACKAGE)
            return importlib.import_module(f"{PACKAGE}.{name}") if hasattr(package, "__path__") else package
    except ImportError as error:
        version = ".".join(map(str, sys.version_info[:3]))
        pytest.skip(f"this Python ({version}) does not have {PACKAGE}: {error}", allow_module_level=True)


util = load("util")

UNIMPORTABLE = "submits a function or method that no other process could import: there is no pickle here, and zq.Executor refuses it"
NO_POOL = "looks into the processes or threads of the standard library's own pools, which zq.Executor does not have"
NO_INITIALIZER = "zq.Executor has no initializer"
BREAKS_POOL = "wants one dead process to break the pool; here only the call that ran in it fails, and a new process takes the next"

SKIPPED: dict[str, str] = {
    "test_no_stale_references": UNIMPORTABLE,
    "test_free_reference": "returns an object of a class that no payload can hold",
    "test_traceback": "wants the cause to be of a private class of concurrent.futures.process; test_executor.py has the same with zq's own",
    "test_killed_child": BREAKS_POOL,
    "test_ressources_gced_in_workers": "passes an object of a class that no payload can hold",
    "test_saturation": "passes a semaphore, which no payload can hold",
    "test_idle_process_reuse_one": NO_POOL,
    "test_idle_process_reuse_multiple": NO_POOL,
    "test_max_tasks_per_child": "it looks at the processes of the executor, which it keeps to itself",
    "test_max_tasks_per_child_defaults_to_spawn_context": "it looks at the processes of the executor, which it keeps to itself",
    "test_max_tasks_early_shutdown": "it looks at the processes of the executor, which it keeps to itself",
    "test_python_finalization_error": "patches how the standard library's pool starts its threads",
    "test_force_shutdown_workers": "the terminate and kill of later ProcessPoolExecutors are not part of the Executor interface",
    "test_force_shutdown_workers_invalid_op": "as test_force_shutdown_workers",
    "test_force_shutdown_workers_stops_pool": "as test_force_shutdown_workers",
    "test_terminate_workers": "as test_force_shutdown_workers",
    "test_kill_workers": "as test_force_shutdown_workers",
}


LATER = {
    "test_python_finalization_error",
    "test_force_shutdown_workers",
    "test_force_shutdown_workers_invalid_op",
    "test_force_shutdown_workers_stops_pool",
    "test_terminate_workers",
    "test_kill_workers",
}
"""Of these, tests that came after Python 3.11."""


class ZqMixin:
    """Makes the executor of each test."""

    worker_count = 5
    executor_type = LocalExecutor


def make(name: str, tests: Any) -> type:
    """Returns a test class of CPython's tests for our executor."""
    body: dict[str, Any] = {"__module__": __name__}
    for test in dir(tests):
        if test in SKIPPED:
            body[test] = unittest.skip(SKIPPED[test])(getattr(tests, test))
    return type(name, (ZqMixin, tests, util.ExecutorMixin, util.BaseTestCase), body)


shutdown = load("test_shutdown")
process_pool = load("test_process_pool")

TESTS = {
    "TestExecutor": process_pool.ProcessPoolExecutorTest,  # with all of ExecutorTest
    "TestWait": load("test_wait").WaitTests,
    "TestAsCompleted": load("test_as_completed").AsCompletedTests,
    "TestShutdown": shutdown.ExecutorShutdownTest,
}

for _name, _tests in TESTS.items():
    globals()[_name] = make(_name, _tests)


@pytest.fixture(autouse=True)
def scripts_import_our_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the scripts that the tests of shutting down start, the executor comes from elsewhere."""
    real = shutdown.assert_python_ok

    def assert_python_ok(option: str, script: str) -> Any:
        found = f"from concurrent.futures import {LocalExecutor.__name__}"
        assert found in script
        ours = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.executor.local_executor import LocalExecutor"
        return real(option, script.replace(found, ours))

    monkeypatch.setattr(shutdown, "assert_python_ok", assert_python_ok)


def test_what_is_skipped_is_there() -> None:
    known = {test for tests in TESTS.values() for test in dir(tests)}

    assert SKIPPED.keys() - known <= LATER
