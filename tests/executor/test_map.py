"""`zq.Executor.map`: order, failures at their place, chunks, what is lost with a process, and what is cancelled."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import zq
from tests.executor import functions
from tests.executor.functions import Point
from tests.process.kitchen import wait_until
from zq.executor.gathering import GatheredRun
from zq.executor.mapping import CallsRun, ChunksRun
from zq.executor.remote_call import describe


@pytest.fixture(scope="module")
def executor() -> Iterator[zq.Executor]:
    with zq.Executor(max_workers=2) as one:
        yield one


WAYS = pytest.mark.parametrize("more", [{}, {"chunksize": 1000}, {"chunksize": 7}, {"buffersize": 50}], ids=str)


@WAYS
def test_results_come_in_the_order_of_the_calls(executor: zq.Executor, more: dict[str, int]) -> None:
    assert list(executor.map(functions.double, range(3001), **more)) == list(range(0, 6002, 2))
    assert list(executor.map(pow, count(2), [3, 4, 5], **more)) == [8, 81, 1024]
    assert list(executor.map(functions.double, [], **more)) == []


@WAYS
def test_each_process_gets_some_of_the_calls(executor: zq.Executor, tmp_path: Path, more: dict[str, int]) -> None:
    list(executor.map(functions.double, range(3001), **more))  # known to be short, so that many are taken together

    assert len(set(executor.map(functions.meet, [str(tmp_path)] * 3001, **more))) == 2


@WAYS
def test_values_of_all_kinds_are_mapped(executor: zq.Executor, more: dict[str, int]) -> None:
    values = [None, 1, 1 << 200, "a", (1, (2,)), {3}, [b"x"], {"a": 1.5}]
    assert list(executor.map(functions.untyped, values, **more)) == values
    points = [Point(n) for n in range(20)]
    assert list(executor.map(functions.mirror, points, **more)) == [Point(-n) for n in range(20)]
    assert list(executor.map(functions.same, [1, 2], [3, 4], **more)) == [((1, 3), {}), ((2, 4), {})]
    assert [attempt for _, attempt in executor.map(functions.attempt_of, **more)] == []
    assert list(executor.map(functions.Shop.bake, ["a", "b"], **more)) == ["baked a", "baked b"]


@WAYS
def test_exception_is_raised_at_its_place(executor: zq.Executor, tmp_path: Path, more: dict[str, int]) -> None:
    notes = str(tmp_path / "notes")
    results = executor.map(functions.noted, range(100), [notes] * 100, [40] * 100, **more)

    assert [next(results) for _ in range(40)] == list(range(40))
    with pytest.raises(functions.Odd) as caught:
        next(results)
    assert caught.value.number == 40
    assert "raise Odd(number)" in str(caught.value.__cause__)
    assert list(results) == []
    assert set(Counter((tmp_path / "notes").read_text().split()).values()) == {1}


@pytest.mark.parametrize("more", [{}, {"chunksize": 5}], ids=str)
def test_call_that_raises_keeps_no_other_from_running(
    executor: zq.Executor, tmp_path: Path, more: dict[str, int]
) -> None:
    results = executor.map(functions.noted, range(10), [str(tmp_path / "notes")] * 10, [2] * 10, **more)
    notes = tmp_path / "notes"
    wait_until(lambda: notes.exists() and len(notes.read_text().split()) == 10, "all calls")

    with pytest.raises(functions.Odd):
        list(results)


def test_calls_of_a_task_whose_process_dies_fail_and_none_runs_twice(executor: zq.Executor, tmp_path: Path) -> None:
    notes = str(tmp_path / "notes")
    results = executor.map(functions.noted, [0, 1, 2, -3, 4, 5, 6, 7], [notes] * 8, [3] * 8, chunksize=3)

    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(zq.TaskFailedError, match="ended with exit code 7") as caught:
        next(results)
    assert caught.value.__notes__ == ["zq: the calls 3 to 5 of the map, counted from 0, were one task"]
    assert list(executor.map(functions.double, [1, 2])) == [2, 4]
    assert set(Counter((tmp_path / "notes").read_text().split()).values()) == {1}


def test_calls_whose_process_dies_in_a_gathered_task_are_told(executor: zq.Executor, tmp_path: Path) -> None:
    numbers = [*range(2000), -5]
    got = []
    with pytest.raises(zq.TaskFailedError, match="ended with exit code 7"):
        for one in executor.map(functions.noted, numbers, [str(tmp_path / "notes")] * 2001, [5000] * 2000 + [5]):
            got.append(one)

    assert got == numbers[: len(got)]
    assert set(Counter((tmp_path / "notes").read_text().split()).values()) == {1}


@pytest.mark.parametrize("more", [{}, {"chunksize": 2}, {"buffersize": 2}], ids=str)
def test_time_is_up_while_a_call_runs_and_the_rest_is_cancelled(
    executor: zq.Executor, tmp_path: Path, more: dict[str, int]
) -> None:
    paths = [str(tmp_path / name) for name in "abcd"]
    results = executor.map(functions.wait_for, paths, [f"{path}.started" for path in paths], timeout=0.01, **more)
    with pytest.raises(TimeoutError):
        next(results)

    assert list(executor.map(functions.double, range(10))) == list(range(0, 20, 2))  # nothing is in its way


@WAYS
def test_map_that_is_closed_midway_cancels_the_rest(
    executor: zq.Executor, tmp_path: Path, more: dict[str, int]
) -> None:
    never = str(tmp_path / "never")
    (tmp_path / "there").touch()
    results = executor.map(functions.wait_for, [str(tmp_path / "there")] + [never] * 60)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator, as that of the standard library

    assert list(executor.map(functions.double, range(3), **more)) == [0, 2, 4]
    wait_until(lambda: not executor._engine._batches, "the end of all calls")


@WAYS
def test_map_takes_the_place_of_the_end_of_an_iterator_for_an_exception(
    executor: zq.Executor, more: dict[str, int]
) -> None:
    results = executor.map(functions.end_early, range(5), **more)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(results)


def test_call_that_cannot_be_sent_is_a_type_error_where_it_is(executor: zq.Executor) -> None:
    with pytest.raises(TypeError, match=r"double, number: expected int, got str 'a'"):
        list(executor.map(functions.double, [1, "a", 2], chunksize=3))
    results = executor.map(functions.double, [1, "a", 2])
    assert next(results) == 2
    with pytest.raises(TypeError, match=r"double, number: expected int, got str 'a'"):
        next(results)


def test_chunks_too_large_to_be_sent_are_halved_and_results_are_refused(executor: zq.Executor) -> None:
    parts = [bytes([n]) * 300_000 for n in range(10)]
    assert list(executor.map(functions.untyped, parts, chunksize=2)) == parts
    with pytest.raises(zq.PayloadTooLargeError, match="the results of 10 calls in one task have"):
        list(executor.map(functions.repeated, [300_000] * 10, chunksize=10))


@pytest.mark.parametrize("sizes", [[50_000] * 200, [1] * 500 + [900_000] * 3, [1] * 500 + [30_000] * 50], ids=len)
def test_large_results_do_not_share_a_task_with_too_many(executor: zq.Executor, sizes: list[int]) -> None:
    assert [len(one) for one in executor.map(functions.repeated, sizes)] == sizes


@pytest.mark.parametrize("more", [{}, {"chunksize": 500}], ids=str)
def test_many_long_exceptions_in_a_task_keep_their_place(executor: zq.Executor, more: dict[str, int]) -> None:
    results = executor.map(functions.fail_at_length_from, range(1000), [400] * 1000, **more)

    assert [next(results) for _ in range(400)] == list(range(400))
    with pytest.raises(ValueError, match="xxx"):
        next(results)


@WAYS
def test_notes_of_an_exception_arrive(executor: zq.Executor, more: dict[str, int]) -> None:
    with pytest.raises(functions.Odd) as caught:
        list(executor.map(functions.fail_with_notes, [1], **more))
    assert [len(one) for one in caught.value.__notes__] == [10, 1000]
    assert caught.value.__notes__[0] == "seen there"


class Interrupt(BaseException):
    """As KeyboardInterrupt, which pytest takes for itself."""


def interrupt(executor: zq.Executor, seconds: float, more: dict[str, int] | None) -> None:
    """Submits calls, and is interrupted meanwhile."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if more is None:
            list(map(executor.submit, [functions.double] * 50, range(50)))
        else:
            list(executor.map(functions.double, range(500), **more))
        signal.setitimer(signal.ITIMER_REAL, 0)
    except (Interrupt, RuntimeError):  # the latter of `threading.Condition`, which it strikes between its own steps
        pass


def is_unheard(frame: FrameType | None) -> bool:
    """Whether what is raised there is raised to nobody: in what the interpreter calls while it clears up."""
    while frame is not None:
        place, name = frame.f_code.co_filename, frame.f_code.co_name
        if name in ("gc_callback", "__del__") or (name in ("_remove", "remove") and "weakref" in place):
            return True
        frame = frame.f_back
    return False


def test_interrupt_wherever_it_strikes_leaves_an_executor_that_works_and_ends() -> None:
    def strike(_: int, frame: FrameType | None) -> None:
        if not is_unheard(frame):
            raise Interrupt

    before = signal.signal(signal.SIGALRM, strike)
    executor = zq.Executor(max_workers=1)
    try:
        for number in range(160):
            interrupt(executor, 1e-5 * 1.045**number, [None, {}, {"chunksize": 50}, {"buffersize": 5}][number % 4])
        assert executor.submit(functions.double, 4).result() == 8
        assert list(executor.map(functions.double, range(100))) == list(range(0, 200, 2))
    finally:
        signal.signal(signal.SIGALRM, before)
    executor.shutdown()

    assert not executor._engine._batches
    assert not executor._engine._runs


def test_arguments_are_read_no_further_than_the_buffer(executor: zq.Executor) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    results = executor.map(functions.double, numbers(), buffersize=3)
    assert len(read) == 3
    for taken in range(1, 15):
        next(results)
        assert len(read) == 3 + taken
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        executor.map(functions.double, [1], buffersize=0)
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        executor.map(functions.double, [1], buffersize="3")  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("before", [1, 50])
def test_calls_run_while_their_arguments_are_still_read(executor: zq.Executor, tmp_path: Path, before: int) -> None:
    """A generator may wait for what its own calls do."""
    notes = tmp_path / "notes"

    def numbers() -> Iterator[int]:
        yield from range(before)
        wait_until(lambda: notes.exists() and len(notes.read_text().split()) == before, "the calls before")
        yield before

    assert list(executor.map(functions.noted, numbers(), [str(notes)] * 100, [1000] * 100)) == list(range(before + 1))


def test_shutdown_runs_what_was_mapped_or_cancels_it(tmp_path: Path) -> None:
    notes = str(tmp_path / "notes")
    executor = zq.Executor(max_workers=1)
    executor.map(functions.noted, range(100), [notes] * 100, [1000] * 100)
    executor.shutdown()
    assert sorted(map(int, (tmp_path / "notes").read_text().split())) == list(range(100))
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(functions.double, [1])

    executor = zq.Executor(max_workers=1)
    results = executor.map(functions.wait_for, [str(tmp_path / "go")] * 50, [str(tmp_path / "started")] * 50)
    wait_until((tmp_path / "started").exists, "the first call")
    executor.shutdown(wait=False, cancel_futures=True)
    (tmp_path / "go").touch()
    executor.shutdown()
    with pytest.raises(futures.CancelledError):
        list(results)


def test_calls_share_a_task_only_where_nothing_is_said_of_each(executor: zq.Executor) -> None:
    def run_of(executor: zq.Executor, chunksize: int = 1) -> type:
        return type(executor._make_run(describe(functions.double), ([1],), chunksize, gathers=True))

    def run_with(**options: Any) -> type:
        with zq.Executor(max_workers=1, **options) as executor:
            return run_of(executor)

    assert run_of(executor) is GatheredRun
    assert run_of(executor, 2) is ChunksRun
    assert run_with(timeout=60) is CallsRun
    assert run_with(max_tasks_per_child=5) is CallsRun
