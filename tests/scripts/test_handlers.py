"""Whatever can be called as a handler: right where that can be, else one sentence at once."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import zq
from tests.scripts.folder import PATIENCE, Folder

HANDLERS = """
    import functools, zq
    worker = zq.Worker(SETTINGS)
    def baked(n, task): return f"{n} {task.payload}"
    async def baked_later(n, task): return f"{n} {task.payload}"
    def undressed(function):
        def inner(task): return function(task)
        return inner
    def dressed(function):
        @functools.wraps(function)
        def inner(task): return function(task)
        return inner
    class Oven:
        def __call__(self, task): return baked("object", task)
        def bake(self, task): return baked("method", task)
        async def bake_later(self, task): return baked("async method", task)
        @classmethod
        def of_class(cls, task): return baked("class", task)
        @staticmethod
        def static(task): return baked("static", task)
    class LaterOven:
        async def __call__(self, task): return baked("async object", task)
    class Result:
        def __init__(self, task): raise zq.Bury("a class")
    def make():
        def nested(task): return baked("nested", task)
        return nested
    async def later(task): return baked("coroutine", task)
    oven = Oven()
    for queue, handler in {
        "partial": functools.partial(baked, "partial"),
        "async partial": functools.partial(baked_later, "async partial"),
        "partial of partial": functools.partial(functools.partial(baked_later, "partial of partial")),
        "partial of object": functools.partial(LaterOven()),
        "object": oven,
        "async object": LaterOven(),
        "method": oven.bake,
        "async method": oven.bake_later,
        "class": Oven.of_class,
        "static": Oven.static,
        "lambda": lambda task: baked("lambda", task),
        "nested": make(),
        "undressed": undressed(lambda task: baked("undressed", task)),
        "dressed": dressed(oven),
        "undressed coroutine": undressed(later),
        "dressed coroutine": dressed(later),
    }.items():
        worker.task(queue.replace(" ", "-"))(handler)
    if __name__ == "__main__":
        worker.run(burst=True)
"""
EXPECTED = {
    "partial": "partial", "async-partial": "async partial", "partial-of-partial": "partial of partial",
    "partial-of-object": "async object", "object": "object", "async-object": "async object", "method": "method",
    "async-method": "async method", "class": "class", "static": "static", "lambda": "lambda", "nested": "nested",
    "undressed": "undressed", "dressed": "object", "undressed-coroutine": "coroutine", "dressed-coroutine": "coroutine",
}  # fmt: skip


@pytest.mark.parametrize("settings", ["", "processes=2"], ids=["threads", "children"])
@pytest.mark.parametrize("command", [["shop.py"], ["-m", "zq.cli", "worker", "shop:worker", "--burst"]])
def test_handler_may_be_whatever_can_be_called(
    folder: Folder, client: zq.Client, settings: str, command: list[str]
) -> None:
    receipts = {queue: client.submit(queue, 1) for queue in EXPECTED}
    folder.write("shop.py", HANDLERS.replace("SETTINGS", settings))

    done = folder.run(*command)

    assert done.returncode == 0, done.stderr
    found = {queue: receipt.result(timeout=PATIENCE) for queue, receipt in receipts.items()}
    assert found == {queue: f"{name} 1" for queue, name in EXPECTED.items()}


class Oven:
    def __call__(self, n: int) -> str:
        return f"object {n}"

    async def bake(self, n: int) -> str:
        return f"method {n}"


class LaterOven:
    async def __call__(self, n: int) -> str:
        return f"async object {n}"


def baked(name: str, n: int) -> str:
    return f"{name} {n}"


async def baked_later(name: str, n: int) -> str:
    await asyncio.sleep(0)
    return f"{name} {n}"


def dressed(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (functools.partial(baked, "partial"), "partial 1"),
        (functools.partial(baked_later, "async partial"), "async partial 1"),
        (Oven(), "object 1"),
        (Oven().bake, "method 1"),
        (LaterOven(), "async object 1"),
        (dressed(functools.partial(baked_later, "dressed")), "dressed 1"),
        (dressed(LaterOven().__call__), "async object 1"),
    ],
)
def test_task_of_an_app_may_be_whatever_can_be_called(zq_app: zq.App, function: Any, result: str) -> None:
    task: Any = zq_app.task(queue="q")(function)

    receipt = task.submit(1)
    zq_app.run_pending()

    assert receipt.result() == result


def test_task_without_a_name_needs_a_queue(zq_app: zq.App) -> None:
    with pytest.raises(ValueError, match=r"a partial of baked has no name to call its queue by; say @app.task\(queue="):
        zq_app.task(functools.partial(baked, "partial"))


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (functools.partial(baked, "x"), "partial of baked"),
        (Oven(), "Oven object"),
        (lambda task: None, "test_second_handler_is_named_whatever_it_is"),
        ([].append, "list.append"),
    ],
)
def test_second_handler_is_refused_whatever_the_first_is(handler: Any, text: str) -> None:
    worker = zq.Worker("ipc://nowhere")
    worker.task("q")(handler)

    with pytest.raises(ValueError, match="queue q has a handler already: "):
        worker.task("q")


# What other processes cannot find.

IN_MAIN_PART = """
    import zq
    worker = zq.Worker(name="late", processes=1)
    def register():
        @worker.task("q")
        def bake(task): return 1
    @worker.task("other")
    def other(task): return 1
    if __name__ == "__main__":
        register()
        worker.run()
"""
WORKER_IN_MAIN_PART = """
    import zq
    def bake(task): return 1
    if __name__ == "__main__":
        worker = zq.Worker(name="hidden", processes=1)
        worker.task("q")(bake)
        worker.run()
"""
WORKER_IN_FUNCTION = """
    import zq
    def bake(task): return 1
    def main():
        worker = zq.Worker(name="hidden", processes=1)
        worker.task("q")(bake)
        worker.run()
    if __name__ == "__main__":
        main()
"""
TYPED_IN = """
import zq
worker = zq.Worker(name="typed", processes=1)
@worker.task("q")
def bake(task): return 1

worker.run()
"""


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (IN_MAIN_PART, "the handler of q is not there when its module is imported: register it at the top of the module"),
        (WORKER_IN_MAIN_PART, 'worker hidden has processes, and it (or its app) is made under `if __name__ == "__main__":`'),
        (WORKER_IN_FUNCTION, "worker hidden has processes, and it (or its app) must be a global variable of a module"),
    ],
    ids=["handler", "worker", "local"],
)  # fmt: skip
@pytest.mark.parametrize("command", [["shop.py"], ["-m", "shop"]], ids=["file", "module"])
def test_handler_that_children_would_not_find_is_told_at_once(
    folder: Folder, client: zq.Client, script: str, text: str, command: list[str]
) -> None:
    receipt = client.submit("q", 1)
    folder.write("shop.py", script)

    done = folder.run(*command)

    assert done.returncode == 1
    assert text in done.stderr.splitlines()[-1]
    assert (client.status(receipt.id).state, client.status(receipt.id).attempts) == ("waiting", 0)


@pytest.mark.parametrize("command", [["-"], ["-i"], ["-c", TYPED_IN]], ids=["stdin", "session", "command"])
def test_handler_that_is_in_no_file_is_told_at_once(folder: Folder, command: list[str]) -> None:
    done = folder.run(*command, input=TYPED_IN if "-c" not in command else "")

    assert "worker typed has processes, and it (or its app) was typed in or read from standard input" in done.stderr


CALLS = """
    import functools, os, zq
    from patterns import stage
    class Oven:
        def bake(self, x): return x
        __call__ = bake
    def check(what, function):
        for submit in (zq.Executor(os.environ["ZQ_ADDRESS"]).submit, lambda one: stage(one) | stage(one)):
            try:
                submit(function)
            except (TypeError, ValueError) as error:
                print(what, type(error).__name__, str(error).count("no other process") + str(error).count("expected a function"))
            else:
                print(what, "was taken")
    if __name__ == "__main__":
        def late(x): return x
        class Late:
            @staticmethod
            def bake(x): return x
        check("late", late)
        check("class", Late.bake)
        check("lambda", lambda x: x)
        check("partial", functools.partial(print))
        check("method", Oven().bake)
        check("object", Oven())
"""


def test_function_that_others_would_not_find_is_refused_where_it_is_given(folder: Folder) -> None:
    folder.write("shop.py", CALLS)

    done = folder.run("shop.py")

    assert done.stdout.splitlines() == [
        f"{what} {kind} 1"
        for what in ("late", "class", "lambda", "partial", "method", "object")
        for kind in ("TypeError", "ValueError")
    ], done.stderr
