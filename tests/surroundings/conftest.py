"""Workers of every kind, each of which does what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Unpack

import pytest

import zq
from patterns.pipeline.pipeline import Pipeline
from patterns.run.settings import RunOptions
from tests.process.kitchen import PATIENCE, Kitchen
from tests.surroundings import probes, shop

Ask = Callable[..., Any]
"""`ask(name, *arguments)` returns what a probe returns."""

CHILDREN = ["child", "coroutine child", "executor", "direct", "direct timed", "durable", "durable timed"]
"""Kinds whose functions run in processes that were made for them."""

THREADS = ["thread", "coroutine", "direct thread", "durable thread"]
"""Kinds whose functions run in the process of a worker, or of a run."""


@pytest.fixture(scope="package")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    kitchen = Kitchen(tmp_path_factory.mktemp("kitchen"))
    kitchen.start_coordinator()
    yield kitchen
    kitchen.close()


@pytest.fixture(scope="package")
def asks(kitchen: Kitchen) -> Iterator[dict[str, Ask]]:
    """Returns how each kind is asked. One worker after the other, so that no task goes to the wrong one."""
    with ExitStack() as open_ones:
        executor = open_ones.enter_context(zq.Executor(max_workers=1))
        made: dict[str, Ask] = {"executor": lambda *asked: executor.submit(probes.run, list(asked)).result(PATIENCE)}
        for place, options in {"threads": ("--concurrency", "1"), "children": ("--processes", "1")}.items():
            client = open_ones.enter_context(zq.Client(kitchen.address, namespace=place, timeout=PATIENCE))
            kitchen.start("--namespace", place, "worker", "tests.surroundings.shop:worker", "--name", place, *options)
            plain, coroutine = ("thread", "coroutine") if place == "threads" else ("child", "coroutine child")
            made[plain] = _asking(client, "plain")
            made[coroutine] = _asking(client, "coroutine")
        address = kitchen.address
        made["direct"] = _running(shop.staged)
        made["direct flat"] = _running(shop.flat)
        made["direct timed"] = _running(shop.timed)
        made["direct thread"] = _running(shop.staged, threads=True)
        made["durable"] = _running(shop.staged, address=address)
        made["durable timed"] = _running(shop.timed, address=address)
        made["durable thread"] = _running(shop.staged, address=address, threads=True)
        yield made


def _asking(client: zq.Client, queue: str) -> Ask:
    return lambda *asked: client.submit(queue, list(asked), max_attempts=1).result(PATIENCE)


def _running(stage: Pipeline[Any, Any], **options: Unpack[RunOptions]) -> Ask:
    options["quiet"] = True

    def ask(*asked: Any) -> Any:
        with stage.run([list(asked)], **options) as results:
            return next(iter(results))

    return ask
