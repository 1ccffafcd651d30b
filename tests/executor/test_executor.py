"""`zq.Executor`: what it adds to, and what it leaves out of, the executors of the standard library; CPython's own tests
are in test_cpython.py.
"""

from __future__ import annotations

import asyncio
import functools
import json
import operator
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import msgpack
import pytest

import zq
from tests.executor import functions
from tests.executor.functions import Point
from tests.process.kitchen import Kitchen, wait_until
from zq.executor import engine
from zq.executor.call_future import CallFuture
from zq.executor.remote_call import RemoteTraceback, pack, unpack

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def executor() -> Iterator[zq.Executor]:
    with zq.Executor(max_workers=2) as one:
        yield one


def test_calls_run_in_other_processes(executor: zq.Executor) -> None:
    assert executor.submit(pow, 2, 8).result(60) == 256
    assert executor.submit(os.getpid).result(60) != os.getpid()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1 << 200,
        -(1 << 200),
        1.5,
        "ü",
        b"\xff",
        (),
        (1, (2, [3])),
        [1, (2,)],
        {1, 2},
        frozenset({(1, 2)}),
        3 + 4j,
        {"a": (1,), 2: {"b": {3}}},
    ],
    ids=repr,
)
def test_values_come_back_as_they_went(executor: zq.Executor, value: Any) -> None:
    (result,), _ = executor.submit(functions.same, value).result(60)

    assert result == value
    assert type(result) is type(value)


def test_values_are_converted_where_annotations_say_so(executor: zq.Executor) -> None:
    assert executor.submit(functions.mirror, Point(2, 3), by=5).result(60) == Point(-10, 3)
    assert list(executor.map(functions.mirror, [Point(1), Point(2)])) == [Point(-1), Point(-2)]


def test_functions_of_classes_and_of_extension_modules_have_names_too(executor: zq.Executor) -> None:
    assert executor.submit(functions.Shop.bake, "a").result(60) == "baked a"
    assert executor.submit(functions.Shop.owner).result(60) == "Shop"
    assert executor.submit(operator.add, 1, 2).result(60) == 3
    assert executor.submit(str, 5).result(60) == "5"


@pytest.mark.parametrize(
    "function",
    [
        lambda: 1,
        functions.Shop().sell,
        functools.partial(functions.same, 1),
        functions.coroutine,
        [].append,
    ],
    ids=["lambda", "method", "partial", "coroutine", "method of a list"],
)
def test_function_that_has_no_name_elsewhere_is_refused(executor: zq.Executor, function: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a (plain )?function"):
        executor.submit(function)


def test_arguments_that_cannot_travel_are_a_type_error(executor: zq.Executor) -> None:
    with pytest.raises(
        TypeError, match=r"an argument of tests.executor.functions:untyped: tests.executor.*Point cannot"
    ):
        executor.submit(functions.untyped, Point(1))
    with pytest.raises(TypeError, match=r"mirror, point: expected Point, got str 'a'"):
        executor.submit(functions.mirror, "a")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(zq.PayloadTooLargeError):
        executor.submit(functions.untyped, bytes(2 << 20))


def test_result_that_cannot_travel_is_a_type_error_of_the_future(executor: zq.Executor) -> None:
    with pytest.raises(TypeError, match=r"the result of tests.executor.functions:unsendable: builtins.object cannot"):
        executor.submit(functions.unsendable).result(60)


def test_arguments_that_do_not_fit_the_function_are_its_own_error(executor: zq.Executor) -> None:
    future = executor.submit(functions.fail)  # type: ignore[call-arg]  # what it is about

    with pytest.raises(TypeError, match=r"fail\(\) missing 1 required positional argument"):
        future.result(60)


def test_exception_is_raised_here_as_it_was_there(executor: zq.Executor) -> None:
    with pytest.raises(functions.Odd) as caught:
        executor.submit(functions.fail, 3).result(60)

    assert caught.value.number == 3
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "raise Odd(number)" in str(caught.value.__cause__)


def test_exception_that_cannot_be_made_again_is_told_as_text(executor: zq.Executor) -> None:
    with pytest.raises(zq.TaskFailedError, match="Stubborn: 1 and 2"):
        executor.submit(functions.fail_stubbornly).result(60)


def test_huge_exception_keeps_its_class_and_a_cut_text(executor: zq.Executor) -> None:
    with pytest.raises(ValueError, match=r"^ä{1000,}$") as caught:
        executor.submit(functions.fail_at_length).result(60)

    assert len(str(caught.value).encode()) <= 16_384


def test_keyboard_interrupt_of_a_function_is_its_outcome(executor: zq.Executor) -> None:
    assert isinstance(executor.submit(functions.interrupt).exception(60), KeyboardInterrupt)


def test_exception_whose_constructor_exits_is_told_as_text(
    executor: zq.Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "IS_FIRST", [])
    with pytest.raises(zq.TaskFailedError, match="Elusive"):
        executor.submit(functions.fail_elusively).result(60)


def test_system_exit_is_raised_here_and_ends_nothing(executor: zq.Executor) -> None:
    with pytest.raises(SystemExit):
        executor.submit(functions.leave).result(60)


def test_call_whose_process_dies_fails_and_the_next_runs(executor: zq.Executor) -> None:
    with pytest.raises(zq.TaskFailedError, match="the child process that ran it ended with exit code 7"):
        executor.submit(functions.die).result(60)
    assert executor.submit(pow, 2, 3).result(60) == 8


def test_function_may_ask_for_its_task(executor: zq.Executor) -> None:
    # zq fills the other argument in.
    assert executor.submit(functions.attempt_of).result(60) == ("zq.executor", 1)  # type: ignore[call-arg]


def test_cancel_stops_a_call_that_runs(executor: zq.Executor, tmp_path: Path) -> None:
    future = executor.submit(functions.wait_for, str(tmp_path / "never"), str(tmp_path / "started"))
    wait_until((tmp_path / "started").exists, "the call")

    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(futures.CancelledError):
        future.result(60)
    assert executor.submit(pow, 2, 3).result(60) == 8


def test_cancel_of_what_has_ended_is_refused(executor: zq.Executor) -> None:
    future = executor.submit(pow, 2, 3)
    future.result(60)

    assert not future.cancel()
    assert not future.cancelled()


def test_task_that_is_cancelled_elsewhere_cancels_its_future(tmp_path: Path) -> None:
    with (
        zq.Coordinator(tmp_path / "s.zq") as coordinator,
        zq.Client(coordinator.address) as client,
        zq.Executor(coordinator) as executor,
    ):
        future = executor.submit(pow, 2, 3)
        assert isinstance(future, CallFuture)
        wait_until(lambda: future.id, "its id")
        client.cancel(future.id or "")
        with pytest.raises(futures.CancelledError):
            future.result(60)


def test_callback_may_submit_and_cancel(executor: zq.Executor, tmp_path: Path) -> None:
    ended = threading.Event()
    waiting = executor.submit(functions.wait_for, str(tmp_path / "never"))

    def call_back(_: futures.Future[Any]) -> None:
        executor.submit(pow, 2, 4).add_done_callback(lambda future: ended.set())
        waiting.cancel()

    executor.submit(pow, 2, 3).add_done_callback(call_back)

    assert ended.wait(60)
    assert waiting.cancelled()


def test_event_loop_runs_calls_in_it(executor: zq.Executor) -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, n) for n in range(5)))

    assert asyncio.run(main()) == [1, 2, 4, 8, 16]


def test_executor_that_is_forgotten_finishes_its_calls(tmp_path: Path) -> None:
    executor = zq.Executor(max_workers=1)
    future = executor.submit(functions.wait_for, str(tmp_path / "go"))
    engine = executor._engine
    del executor
    (tmp_path / "go").touch()

    assert future.result(60)
    engine.join()
    assert engine._temporary is not None
    assert not Path(engine._temporary.path).exists()


def test_shutdown_cancels_what_has_not_started_and_waits_for_the_rest(tmp_path: Path) -> None:
    executor = zq.Executor(max_workers=1)
    running = executor.submit(functions.wait_for, str(tmp_path / "go"), str(tmp_path / "started"))
    wait_until((tmp_path / "started").exists, "the call")
    others = [executor.submit(pow, 2, n) for n in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    futures.wait(others, 60)
    (tmp_path / "go").touch()
    executor.shutdown()

    assert running.result(0)
    assert all(future.cancelled() for future in others)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"where": "ipc:///nowhere", "directory": "x"}, ValueError, "got both"),
        ({"where": 5}, TypeError, "expected an address, a zq.App or a zq.Coordinator, got int"),
        ({"where": zq.App.memory()}, ValueError, "an executor needs processes"),
        ({"priority": 10}, ValueError, "expected priority from 0 to 9"),
        ({"queue": "a b"}, ValueError, "expected queue"),
    ],
)
def test_executor_that_cannot_be_is_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        zq.Executor(**arguments)


def test_refusal_of_the_coordinator_is_the_exception_of_the_future(tmp_path: Path) -> None:
    options = zq.CoordinatorOptions(queue_tasks_max=1)
    with zq.Coordinator(tmp_path / "s.zq", options=options) as coordinator, zq.Executor(coordinator) as executor:
        first = executor.submit(pow, 2, 3)
        wait_until(lambda: isinstance(first, CallFuture) and first.id, "its id")
        with pytest.raises(zq.BusyError):
            executor.submit(pow, 2, 4).result(60)
        assert first.cancel()


def test_coordinator_that_does_not_answer_is_the_exception_of_the_future(tmp_path: Path) -> None:
    with zq.Executor(f"ipc://{tmp_path}/nobody", answer_timeout=0.2) as executor:
        future = executor.submit(pow, 2, 3)
        with pytest.raises(zq.UnreachableError):
            future.result(60)
        assert not future.cancel()


def test_map_takes_no_chunks_below_one(executor: zq.Executor) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        executor.map(pow, [1], [2], chunksize=0)
    with pytest.raises(ValueError, match="chunksize must be at most"):
        executor.map(pow, [1], [2], chunksize=10**30)
    odd: Any
    for odd in (2.5, "3", None):
        with pytest.raises(TypeError, match="chunksize must be a whole number"):
            executor.map(pow, [1], [2], chunksize=odd)
    odd = "x"
    with pytest.raises(TypeError, match="timeout must be a number of seconds"):
        executor.map(pow, [1], [2], timeout=odd)


def test_bytes_that_are_no_call_are_refused() -> None:
    assert unpack(pack((1, {2}), "x")) == (1, {2})
    with pytest.raises(ValueError, match="that are not"):
        unpack(b"\xc1")
    assert unpack(b"\xd4\x63\x00") == msgpack.ExtType(99, b"\0")  # as everywhere else


def nested(depth: int) -> object:
    value: object = ()
    for _ in range(depth):
        value = (value,)
    return value


def test_tuples_in_tuples_arrive_or_are_refused_and_never_end_a_process() -> None:
    assert unpack(pack(nested(99), "x")) == nested(99)
    with pytest.raises(TypeError, match="nested more than 100 deep"):
        pack(nested(100), "x")
    data = b"\x90"
    for _ in range(300):
        data = msgpack.packb(msgpack.ExtType(1, data))
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        unpack(data)


SCRIPT = """
import zq
from dataclasses import dataclass

@dataclass
class Point:
    x: int

class Odd(Exception):
    pass

def mirror(point: Point) -> Point:
    if point.x % 2:
        raise Odd(point.x)
    print("mirrored")
    return Point(-point.x)

if __name__ == "__main__":
    with zq.Executor(max_workers=1) as executor:
        print(executor.submit(mirror, Point(2)).result())
        try:
            executor.submit(mirror, Point(3)).result()
        except Odd as error:
            print("odd", error)
"""


@pytest.mark.parametrize("command", [["script.py"], ["-m", "script"]])
def test_script_calls_its_own_functions(tmp_path: Path, command: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )

    assert done.stdout.splitlines() == ["mirrored", "Point(x=-2)", "odd 3"]
    assert done.stderr == ""


def test_script_without_a_main_guard_is_told_so_and_starts_no_more_processes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import zq\n"
        "def double(x):\n    return 2 * x\n"
        "with zq.Executor(max_workers=2) as executor:\n    print(list(executor.map(double, range(3))))\n"
    )

    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(
        "an executor with processes is made while its module is imported for what it defines: "
        'put the run under `if __name__ == "__main__":`'
    )


def test_session_without_a_file_is_told_why_not() -> None:
    code = "import zq\ndef f(): pass\nzq.Executor('ipc:///nowhere').submit(f)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert "TypeError: expected a function that can be imported, got <function f at " in done.stderr
    assert "f was typed in or read from standard input, and is in no file" in done.stderr


# With workers elsewhere.


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[Kitchen]:
    one = Kitchen(tmp_path)
    try:
        one.start_coordinator()
        wait_until((tmp_path / "socket").exists, "the coordinator")
        yield one
    finally:
        one.close()


def test_remote_worker_calls_what_it_allows_and_nothing_else(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZQ_EXECUTOR_ALLOW", "_operator, tests.executor")
    kitchen.start("worker", "zq.executor:worker")

    with zq.Executor(zq.App(kitchen.address)) as executor:
        assert executor.submit(operator.add, 1, 2).result(60) == 3
        assert executor.submit(functions.mirror, Point(1)).result(60) == Point(-1)
        with pytest.raises(zq.TaskFailedError, match="json:dumps may not be called here: ZQ_EXECUTOR_ALLOW"):
            executor.submit(json.dumps, 1).result(60)


def test_payload_that_is_no_call_is_a_dead_letter(kitchen: Kitchen) -> None:
    kitchen.start("worker", "zq.executor:worker", "--concurrency", "1")

    with kitchen.client() as client, pytest.raises(zq.TaskFailedError, match="expected the payload of a call"):
        client.submit("zq.executor", [1]).result(60)


def test_calls_in_a_directory_outlive_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = zq.CoordinatorOptions(heartbeat_interval=0.5, suspect_after=1.5, gone_after=3.0)  # 15 s otherwise
    monkeypatch.setattr(engine, "Coordinator", functools.partial(zq.Coordinator, options=options))
    code = f"""
import zq, os, sys, time
from tests.executor import functions
executor = zq.Executor(max_workers=1, directory={str(tmp_path / "calls.zq")!r})
future = executor.submit(functions.wait_for, {str(tmp_path / "go")!r}, {str(tmp_path / "started")!r})
while not os.path.exists({str(tmp_path / "started")!r}):
    time.sleep(0.01)
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=False, cwd=ROOT)
    (tmp_path / "started").unlink()

    with zq.Executor(max_workers=1, directory=tmp_path / "calls.zq", queue="zq.executor") as executor:
        wait_until((tmp_path / "started").exists, "the call of the program that died")
        (tmp_path / "go").touch()
        assert executor.submit(pow, 2, 3).result(60) == 8
