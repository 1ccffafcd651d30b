"""Task functions on a coordinator in memory, and the same with real workers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.app import pizzeria
from tests.process.kitchen import Kitchen, wait_until
from zq.core.coordinator import Machine
from zq.worker.runner import Runner


@dataclass
class Pizza:
    name: str
    size: int = 3


@pytest.fixture
def app() -> zq.App:
    return zq.App.memory()


# What is submitted.


def test_payload_is_the_arguments_by_their_names(app: zq.App) -> None:
    @app.task(queue="bake")
    def bake(pizza: Pizza, /, *toppings: str, hot: bool = True, **more: int) -> None: ...

    bake.submit(Pizza("funghi"), "olives", "capers", salt=3)

    (task,) = app.client.pull("bake")
    assert task.payload == {
        "pizza": {"name": "funghi", "size": 3},
        "toppings": ["olives", "capers"],
        "more": {"salt": 3},
    }


def test_handler_gets_its_arguments_and_the_submitter_the_result(app: zq.App) -> None:
    seen: list[Any] = []

    @app.task
    def bake(pizza: Pizza, /, *toppings: str, hot: bool = True, **more: int) -> list[Pizza]:
        seen.append((pizza, toppings, hot, more))
        return [pizza]

    receipt = bake.submit(Pizza("funghi"), "olives", salt=3)

    assert receipt.result() == [Pizza("funghi")]
    assert seen == [(Pizza("funghi"), ("olives",), True, {"salt": 3})]


def test_payload_may_come_from_anywhere(app: zq.App) -> None:
    @app.task
    def bake(pizza: Pizza, hot: bool = True) -> str:
        return f"{pizza.name} {hot}"

    assert app.client.submit("bake", {"pizza": {"name": "a"}}).result() == "a True"


def test_task_goes_to_the_parameter_that_is_annotated_with_it(app: zq.App) -> None:
    @app.task
    def first(task: zq.Task, x: int) -> tuple[str, int]:
        return task.queue, x

    @app.task
    def last(x: int, *, order: zq.Task | None = None) -> tuple[str | None, int]:
        return None if order is None else order.queue, x

    assert first.submit(1).result() == ("first", 1)
    assert last.submit(2).result() == ("last", 2)
    assert last(3) == (None, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'order'"):
        last.submit(1, order=None)


def test_coroutine_functions_are_awaited(app: zq.App) -> None:
    @app.task
    async def bake(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert bake.submit(1).result() == 2
    assert asyncio.run(bake(2)) == 3


def test_options_of_the_function_are_overridden_by_those_of_the_call(app: zq.App) -> None:
    @app.task(priority=2, headers={"a": "b"})
    def bake(x: int) -> int:
        return x

    receipt = bake.options(priority=7, id="mine").submit(1)
    bake.submit(2)

    assert receipt.id == "mine"
    tasks = [app.client.pull("bake")[0] for _ in range(2)]
    assert [(task.payload, task.priority, task.headers) for task in tasks] == [
        ({"x": 1}, 7, {"a": "b"}),
        ({"x": 2}, 2, {"a": "b"}),
    ]


def test_many_are_submitted_in_batches(app: zq.App) -> None:
    @app.task
    def double(x: int) -> int:
        return 2 * x

    receipts = double.submit_many((double.arguments(n) for n in range(250)), batch_size=100)

    assert [receipt.result() for receipt in receipts] == list(range(0, 500, 2))
    assert len({receipt.id.partition("#")[0] for receipt in receipts}) == 3


def test_arguments_of_another_function_are_refused(app: zq.App) -> None:
    @app.task
    def one(x: int) -> None: ...

    @app.task
    def two(x: int) -> None: ...

    with pytest.raises(TypeError, match=r"expected what .*one's arguments"):
        one.submit_many([two.arguments(1)])


async def submit_async(app: zq.App) -> tuple[list[int], bool]:
    @app.task
    async def double(x: int) -> int:
        return 2 * x

    receipt = await double.asubmit(1)
    many = await double.asubmit_many(double.arguments(n) for n in (2, 3))
    cancelled = await (await double.options(delay=60).asubmit(4)).cancel()
    return [await one.result() for one in (receipt, *many)], cancelled


def test_everything_is_there_for_coroutines() -> None:
    assert asyncio.run(submit_async(zq.App.memory())) == ([2, 4, 6], True)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "bake: missing a required argument: 'pizza'"),
        ((Pizza("a"), 1, 2), "bake: too many positional arguments"),
        (("funghi",), r"bake, pizza: expected Pizza, got str 'funghi'"),
        ((Pizza(1),), r"bake, pizza\.name: expected str, got int 1"),  # type: ignore[arg-type]  # what is refused
    ],
)
def test_arguments_that_do_not_fit_are_a_type_error_and_nothing_is_sent(
    app: zq.App, args: tuple[Any, ...], text: str
) -> None:
    @app.task
    def bake(pizza: Pizza, hot: bool = True) -> None: ...

    with pytest.raises(TypeError, match=text):
        bake.submit(*args)
    assert app.client.query("queues") == []


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ([1], "expected a map of the arguments pizza, got list"),
        ({}, "got none for pizza"),
        ({"pizza": {"name": "a"}, "x": 1}, "x that it does not know"),
        ({"pizza": {"name": 3}}, r"pizza\.name: expected str, got int 3"),
    ],
)
def test_payload_that_does_not_fit_is_a_dead_letter_at_once(app: zq.App, payload: Any, text: str) -> None:
    calls: list[Pizza] = []

    @app.task(max_attempts=5)
    def bake(pizza: Pizza) -> None:
        calls.append(pizza)

    receipt = app.client.submit("bake", payload, max_attempts=5)

    assert app.run_pending() == 1
    with pytest.raises(zq.TaskFailedError, match=text):
        receipt.result()
    assert not calls


def test_result_that_does_not_fit_fails_at_once(app: zq.App) -> None:
    @app.task
    def bake() -> int:
        return "no"  # type: ignore[return-value]  # what is refused

    with pytest.raises(zq.TaskFailedError, match="the result: expected int, got str 'no'"):
        bake.submit().result()


def test_result_without_annotation_must_be_what_msgpack_holds(app: zq.App) -> None:
    def bake():  # type: ignore[no-untyped-def]  # what it is about
        return {1, 2}

    with pytest.raises(zq.TaskFailedError, match="no annotation that says otherwise, got set"):
        app.task(bake).submit().result()


def test_annotation_that_cannot_be_converted_is_refused_before_anything_runs() -> None:
    app = zq.App("ipc:///nowhere")

    @app.task
    def bake(x: complex) -> None: ...

    with pytest.raises(zq.ConversionError, match=r"bake: its parameter x: expected an annotation that a payload can"):
        app.worker()


def test_annotations_may_name_what_is_local_and_what_comes_later(app: zq.App) -> None:
    @dataclass
    class Local:
        name: str

    @app.task
    def bake(one: Local, other: Later | None = None) -> Local:
        assert other == Later(1)
        return Local(one.name * 2)

    assert bake.submit(Local("a"), Later(1)).result() == Local("aa")


@dataclass
class Later:
    number: int


def test_second_function_of_a_queue_and_bad_options_are_refused(app: zq.App) -> None:
    @app.task(queue="q")
    def one() -> None: ...

    with pytest.raises(ValueError, match=r"queue q has a task function already: tests.app.test_app:.*one"):
        app.task(queue="q")(one.function)
    with pytest.raises(ValueError, match="expected priority from 0 to 9"):
        app.task(priority=10)
    with pytest.raises(ValueError, match="expected an address like"):
        zq.App("localhost")


# Middleware.


class Log(zq.Middleware):
    """Notes every hook; raises where it is told to."""

    def __init__(self, name: str, notes: list[Any], raises: str = "") -> None:
        self.name = name
        self.notes = notes
        self.raises = raises

    def note(self, hook: str, *more: Any) -> None:
        self.notes.append((self.name, hook, *more))
        if hook == self.raises:
            raise RuntimeError(f"{self.name} {hook}")

    def before_submit(self, submission: zq.Submission) -> None:
        submission.options["headers"] = {**(submission.options.get("headers") or {}), self.name: "was here"}
        self.note("before_submit", submission.payload)

    def after_submit(self, submission: zq.Submission, receipt: Any, error: BaseException | None) -> None:
        self.note("after_submit", receipt is not None, error and str(error))

    def before_task(self, task: zq.Task) -> None:
        self.note("before_task", task.headers)

    def after_task(self, task: zq.Task, outcome: str, error: BaseException | None) -> None:
        self.note("after_task", outcome, error and str(error))


def make_app(*raises: str) -> tuple[zq.App, list[Any], zq.TaskFunction[[int], int, [int], int]]:
    """Makes an app in memory with a middleware for each of the arguments."""
    notes: list[Any] = []
    app = zq.App.memory(middleware=[Log(name, notes, one) for name, one in zip("ab", raises, strict=True)])

    @app.task(max_attempts=1)
    def invert(x: int) -> int:
        return 1 // x

    return app, notes, invert


def test_each_middleware_encloses_those_after_it() -> None:
    _, notes, invert = make_app("", "")

    assert invert.submit(1).result() == 1

    headers = {"a": "was here", "b": "was here"}
    assert notes == [
        ("a", "before_submit", {"x": 1}),
        ("b", "before_submit", {"x": 1}),
        ("b", "after_submit", True, None),
        ("a", "after_submit", True, None),
        ("a", "before_task", headers),
        ("b", "before_task", headers),
        ("b", "after_task", "done", None),
        ("a", "after_task", "done", None),
    ]


def test_after_task_is_told_of_failures() -> None:
    app, notes, invert = make_app("", "")
    invert.submit(0)
    app.run_pending()

    assert notes[-1] == ("a", "after_task", "failed", "integer division or modulo by zero")


def test_before_submit_that_raises_refuses_the_submit() -> None:
    app, notes, invert = make_app("", "before_submit")

    with pytest.raises(RuntimeError, match="b before_submit"):
        invert.submit(1)

    assert [note[:2] for note in notes] == [("a", "before_submit"), ("b", "before_submit"), ("a", "after_submit")]
    assert notes[-1] == ("a", "after_submit", False, "b before_submit")
    assert app.run_pending() == 0


def test_after_submit_that_raises_is_logged_and_the_receipt_is_there(caplog: pytest.LogCaptureFixture) -> None:
    _, notes, invert = make_app("", "after_submit")

    assert invert.submit(1).result() == 1
    assert "after_submit of Log failed" in caplog.text
    assert ("a", "after_submit", True, None) in notes


def test_submit_that_fails_is_told_to_after_submit() -> None:
    app, notes, invert = make_app("", "")

    with pytest.raises(ValueError, match="expected an id without"):
        invert.options(id="a#b").submit(1)

    assert notes[-1][:3] == ("a", "after_submit", False)
    assert notes[-1][3].startswith("expected an id without")
    assert app.run_pending() == 0


def test_before_task_that_raises_fails_the_task_and_the_handler_is_not_called() -> None:
    _, notes, invert = make_app("", "before_task")

    with pytest.raises(zq.TaskFailedError, match="b before_task"):
        invert.submit(1).result()
    assert notes[-1] == ("a", "after_task", "failed", "b before_task")


def test_after_task_that_raises_is_logged_and_the_task_is_done(caplog: pytest.LogCaptureFixture) -> None:
    _, notes, invert = make_app("", "after_task")

    assert invert.submit(1).result() == 1
    assert "after_task of Log failed" in caplog.text
    assert notes[-1] == ("a", "after_task", "done", None)


def test_many_are_one_submission_without_payload() -> None:
    _, notes, invert = make_app("", "")

    invert.submit_many(invert.arguments(1) for _ in range(3))

    assert [note for note in notes if note[1].endswith("submit")] == [
        ("a", "before_submit", None),
        ("b", "before_submit", None),
        ("b", "after_submit", True, None),
        ("a", "after_submit", True, None),
    ]


# Virtual time.


def test_delayed_task_runs_when_its_time_has_come_and_not_before(app: zq.App) -> None:
    times: list[float] = []

    @app.task
    def bake() -> None:
        times.append(app.time)

    start = app.time
    bake.options(delay=3600).submit()

    assert app.run_pending() == 0
    assert app.advance(3599) == 0
    assert app.advance(1000) == 1
    assert times == [pytest.approx(start + 3600, abs=0.01)]
    assert app.time == start + 4599


def test_retries_wait_in_virtual_time(app: zq.App) -> None:
    attempts: list[tuple[int, float]] = []

    @app.task(max_attempts=3, retry=zq.RetryPolicy.exponential(10.0))
    def fail(task: zq.Task) -> None:
        attempts.append((task.attempt, app.time))
        raise ValueError("burnt")

    receipt = fail.submit()
    with pytest.raises(zq.TaskFailedError, match="burnt"):
        receipt.result(timeout=100)

    assert [attempt for attempt, _ in attempts] == [1, 2, 3]
    assert attempts[1][1] - attempts[0][1] == pytest.approx(10.0, abs=0.01)
    assert attempts[2][1] - attempts[1][1] == pytest.approx(20.0, abs=0.01)


def test_waiting_lets_time_pass_and_no_more_than_its_timeout(app: zq.App) -> None:
    @app.task
    def bake() -> int:
        return 1

    start = app.time
    receipt = bake.options(delay=100).submit()

    with pytest.raises(zq.TimedOutError, match=r"has not ended within 60\.0 s"):
        receipt.result(timeout=60)
    assert app.time == start + 60
    assert receipt.result() == 1
    assert app.time == pytest.approx(start + 100, abs=0.01)


def test_wait_in_vain_ends(app: zq.App) -> None:
    receipt = app.client.submit("nobody", 1)
    receipt.cancel()
    with pytest.raises(zq.TaskCancelledError):
        receipt.result()
    with pytest.raises(zq.TimedOutError, match="nothing that is due could end it"):
        app.client.submit("nobody", 1).result()


def test_priority_is_strict_in_memory_too(app: zq.App) -> None:
    order: list[int] = []

    @app.task
    def bake(n: int) -> None:
        order.append(n)

    for n in (1, 9, 5):
        bake.options(priority=n).submit(n)

    assert app.run_pending(tasks_max=2) == 2
    assert order == [9, 5]
    assert app.client.query("queues")[0]["waiting"] == 1
    assert app.run_pending() == 1


def test_what_handlers_forward_and_submit_runs_in_the_same_go(app: zq.App) -> None:
    seen: list[str] = []

    @app.task
    def bake(task: zq.Task) -> None:
        task.forward("box", {"name": "forwarded"})
        box.submit("submitted")

    @app.task
    def box(name: str) -> None:
        seen.append(name)

    bake.submit()

    assert app.run_pending() == 3
    assert sorted(seen) == ["forwarded", "submitted"]


def test_handler_in_memory_cannot_wait_for_another_task(app: zq.App) -> None:
    @app.task
    def inner() -> int:
        return 1

    @app.task(max_attempts=1)
    def outer() -> int:
        return inner.submit().result()

    with pytest.raises(zq.TaskFailedError, match="a handler cannot wait for another task"):
        outer.submit().result()


def test_handler_that_cancels_its_own_task_is_told(app: zq.App) -> None:
    seen: list[bool] = []

    @app.task
    def bake(task: zq.Task) -> None:
        app.client.cancel(task.id)
        seen.append(task.cancelled)

    with pytest.raises(zq.TaskCancelledError):
        bake.submit().result()
    assert seen == [True]


def test_pulled_task_that_is_kept_too_long_comes_back(app: zq.App) -> None:
    app.client.submit("q", 1)
    (task,) = app.client.pull("q", lease=30)
    app.advance(31)
    (again,) = app.client.pull("q", wait=60)
    with pytest.raises(zq.StaleLeaseError):
        task.done()
    again.done()
    assert app.client.status(again.id).state == "done"


def test_same_program_has_the_same_course() -> None:
    def run() -> list[Any]:
        app = zq.App.memory()
        course: list[Any] = []

        @app.task(max_attempts=4)
        def bake(task: zq.Task, n: int) -> None:
            course.append((n, task.id, task.attempt, app.time))
            if n % 3:
                raise ValueError

        bake.submit_many(bake.arguments(n) for n in range(10))
        app.advance(3600)
        return course

    assert run() == run()


def test_memory_drives_the_real_machine_and_the_real_loop(app: zq.App, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for kind, name in ((Machine, "turn"), (Runner, "run")):
        real = getattr(kind, name)

        def spy(self: Any, *args: Any, real: Any = real, name: str = name) -> Any:
            calls.append(name)
            return real(self, *args)

        monkeypatch.setattr(kind, name, spy)
    threads = threading.active_count()

    @app.task
    def bake() -> None: ...

    bake.submit().result()

    assert set(calls) == {"turn", "run"}
    assert threading.active_count() == threads


def test_real_app_is_put_into_memory_and_back() -> None:
    with pizzeria.app.in_memory():
        assert pizzeria.bake.submit(pizzeria.Pizza("a")).result() == pizzeria.Pizza("hot a")
    with pytest.raises(zq.ZqError, match="this app is not in memory"):
        pizzeria.app.advance(1)


def test_coroutine_runs_in_memory_beside_a_running_loop() -> None:
    app = zq.App.memory()

    @app.task
    async def bake() -> int:
        await asyncio.sleep(0)
        return 1

    async def main() -> int:
        return bake.submit().result()

    assert asyncio.run(main()) == 1


# With real workers.


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kitchen]:
    one = Kitchen(tmp_path)
    monkeypatch.setenv("ZQ_ADDRESS", one.address)
    try:
        one.start_coordinator()
        wait_until((tmp_path / "socket").exists, "the coordinator")
        yield one
    finally:
        pizzeria.app.close()
        one.close()


@pytest.mark.parametrize("options", [("--processes", "1"), ("--concurrency", "2")], ids=["children", "threads"])
def test_command_line_runs_an_app_as_a_worker(kitchen: Kitchen, options: tuple[str, ...]) -> None:
    worker = kitchen.start("worker", "tests.app.pizzeria:app", *options)

    assert pizzeria.bake.submit(pizzeria.Pizza("a"), hot=False).result(timeout=60) == pizzeria.Pizza("cold a")
    receipt = pizzeria.cut.submit(pizzeria.Pizza("b"))
    assert receipt.result(timeout=60) == (receipt.id, 8)
    id, pid = pizzeria.resubmit.submit("c").result(timeout=60).split()
    assert pizzeria.app.client.result(id, timeout=60) == {"name": "hot c", "slices": 8}
    assert (int(pid) == worker.pid) == (options[0] == "--concurrency")


def test_app_makes_workers_of_its_own(kitchen: Kitchen) -> None:
    with pizzeria.app.worker(processes=1):
        _, pid = pizzeria.resubmit.submit("c").result(timeout=60).split()

    assert int(pid) != os.getpid()


def test_app_submits_from_a_handler_of_signals_and_in_a_forked_child(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.App(coordinator.address) as app:
        app.task(queue="q")(_nothing)
        with app._lock:  # as a signal finds it that comes while this thread makes a client
            assert app.tasks["q"].submit().id
        holding, held = threading.Event(), threading.Event()

        def hold() -> None:
            with app._lock:
                held.set()
                holding.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if app.tasks["q"].submit().id else 2
            finally:
                os._exit(code)
        holding.set()
        holder.join()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _nothing() -> None:
    pass
