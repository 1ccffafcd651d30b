"""What mypy knows of task functions; each ignore is an error that it must find (an unused one fails)."""

from typing import assert_type

import pytest

import zq

app = zq.App("ipc:///nowhere")


@app.task
def bake(pizza: str, size: int = 3) -> bytes:
    return f"{pizza} {size}".encode()


@app.task(queue="box", priority=7)
async def box(name: str) -> dict[str, int]:
    return {name: 1}


@app.task
def deliver(task: zq.Task, street: str) -> bool:
    return bool(task.id) and bool(street)


@app.task
async def greet(task: zq.Task, name: str) -> str:
    return task.id + name


def check_types() -> None:
    """Never run: what counts is what mypy says."""
    assert_type(bake("funghi"), bytes)
    assert_type(bake.submit("funghi", size=5), zq.TypedReceipt[bytes])
    assert_type(bake.submit("funghi").result(), bytes)
    assert_type(bake.options(priority=7, id="a").submit("funghi").result(timeout=1), bytes)
    assert_type(bake.submit_many(bake.arguments(name) for name in "ab")[0].result(), bytes)
    assert_type(box.submit("a").result(), dict[str, int])
    assert_type(deliver.submit("street").result(), bool)
    assert_type(greet.submit("a").result(), str)
    bake.submit()  # type: ignore[call-arg]  # what it must find
    bake.submit(5)  # type: ignore[arg-type]  # what it must find
    bake.submit("a", colour=1)  # type: ignore[call-arg]  # what it must find
    bake("a", "b")  # type: ignore[arg-type]  # what it must find
    box.submit(name=5)  # type: ignore[arg-type]  # what it must find
    deliver.submit(5)  # type: ignore[arg-type]  # what it must find
    deliver("street")  # type: ignore[call-arg,arg-type]  # what it must find: the task itself
    bake.options(priority="high")  # type: ignore[arg-type]  # what it must find
    bake.options(colour=1)  # type: ignore[call-arg]  # what it must find
    box.submit_many([bake.arguments("a")])  # type: ignore[list-item]  # what it must find


async def check_async_types() -> None:
    """Never run, as above."""
    assert_type(await box("a"), dict[str, int])
    assert_type(await bake.asubmit("funghi"), zq.AsyncTypedReceipt[bytes])
    assert_type(await (await box.asubmit("a")).result(), dict[str, int])
    await bake.asubmit(5)  # type: ignore[arg-type]  # what it must find


def test_functions_are_still_called_as_they_were() -> None:
    assert bake("funghi", 4) == b"funghi 4"
    assert getattr(bake, "__name__") == "bake"  # noqa: B009 - mypy does not know it
    with pytest.raises(TypeError):
        bake()  # type: ignore[call-arg]  # the function's own error
