"""The pytest plugin: coordinators, workers and apps as fixtures.

It is loaded in every run of pytest where zq is installed, so it imports nothing that is not there already; the fixtures
import what they need when a test asks for one. docs/faces.md has their rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import zq

    Source = zq.App | zq.Worker | Mapping[str, Callable[[zq.Task], Any]]
    MakeWorker = Callable[..., zq.Worker]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ini option `zq_app`."""
    parser.addini(
        "zq_app",
        "module:attribute of the zq.App that the fixture zq_app puts into memory; without it, the app is a new one",
    )


@pytest.fixture
def zq_coordinator_options() -> zq.CoordinatorOptions:
    """Options of `zq_coordinator`; override it in a conftest."""
    from zq import CoordinatorOptions

    return CoordinatorOptions()


@pytest.fixture
def zq_coordinator(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    zq_coordinator_options: zq.CoordinatorOptions,
) -> Iterator[zq.Coordinator]:
    """A real coordinator, on a free port of this machine and in a directory of its own; ZQ_ADDRESS is its address, and
    ZQ_KEY empty, while the test runs.
    """
    from zq import Coordinator

    path: Path = tmp_path_factory.mktemp("zq") / "coordinator.zq"
    with Coordinator(path, options=zq_coordinator_options) as coordinator:
        monkeypatch.setenv("ZQ_ADDRESS", coordinator.address)
        monkeypatch.setenv("ZQ_KEY", "")  # which is for another one, and child processes would show it
        yield coordinator


@pytest.fixture
def zq_client(zq_coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    """A client of `zq_coordinator`."""
    from zq import Client

    with Client(zq_coordinator.address) as client:
        yield client


@pytest.fixture
def zq_worker(zq_coordinator: zq.Coordinator) -> Iterator[MakeWorker]:
    """Starts workers of `zq_coordinator`: `zq_worker(app)`, `zq_worker(worker)` or `zq_worker({"queue": handler})`;
    they end with the test.

    The app, too, submits to `zq_coordinator` until the test ends. Options are those of `zq.Worker`: name, concurrency
    and processes.
    """
    with ExitStack() as stack:

        def start(source: Source, **options: Any) -> zq.Worker:
            from zq import App

            if isinstance(source, App):
                stack.enter_context(source.at(zq_coordinator.address))
                worker = source.worker(**options)
            else:
                worker = _copy(source, zq_coordinator.address, options)
            return stack.enter_context(worker)

        yield start


def _copy(source: zq.Worker | Mapping[str, Any], address: str, options: dict[str, Any]) -> zq.Worker:
    """Returns a worker like another one, or one of some handlers, for another coordinator."""
    from zq import Worker

    if isinstance(source, Worker):
        worker = Worker(address, **{"concurrency": source.coroutines, "processes": source.processes, **options})
        worker.handlers.update(source.handlers)
        worker.owner = source.owner
        worker.namespace = source.namespace
        return worker
    if isinstance(source, Mapping):
        worker = Worker(address, **options)
        for queue, handler in source.items():
            worker.task(queue)(handler)
        return worker
    raise TypeError(f"expected a zq.App, a zq.Worker or a mapping of queues to handlers, got {type(source).__name__}")


@pytest.fixture
def zq_app(request: pytest.FixtureRequest) -> Iterator[zq.App]:
    """An app in memory, in virtual time: that of the ini option `zq_app`, for as long as the test runs, or a new
    one.
    """
    from zq import App

    spec = request.config.getini("zq_app")
    if not spec:
        yield App.memory()
        return
    from zq.processes.references import load_reference

    app = load_reference(spec)
    if not isinstance(app, App):
        raise pytest.UsageError(f"expected a zq.App at {spec} (ini option zq_app), got {type(app).__name__}")
    with app.in_memory():
        yield app
