"""A fake coordinator, clients that connect to it, and the proof that they were closed."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.client import Client


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not [one for one in threading.enumerate() if one not in before and one.name.startswith("zq-")])


@pytest.fixture
def coordinator() -> Iterator[FakeCoordinator]:
    with FakeCoordinator() as fake:
        yield fake


@pytest.fixture
def client(coordinator: FakeCoordinator) -> Iterator[Client]:
    with Client(coordinator.address, timeout=20.0) as one:
        yield one


class Spawned:
    """A call that runs in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments, options), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        try:
            self._value = function(*arguments, **options)
        except BaseException as error:
            self._error = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Any:
        """Returns the value of the call or raises its error."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the call still waits"
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def spawn() -> Callable[..., Spawned]:
    return Spawned
