"""`zq.App`: task functions that are submitted as they are called, with arguments and results of their own types.

An app makes no connection and no thread before something is submitted. What it has of handlers (`handlers`) is what a
`zq.Worker` has, so a worker, or a child process, finds in the module of an app what it needs. `App.memory` puts a
coordinator in memory under the same functions; see `zq.app.memory`.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload

from zq.app.handler import make_handler
from zq.app.middleware import Middleware
from zq.app.parameters import Parameters
from zq.app.task_function import TaskFunction
from zq.client.async_client import AsyncClient
from zq.client.client import Client
from zq.errors import ZqError
from zq.keys.own import KeySource, given_key, source_of_key
from zq.processes.copies import watch
from zq.processes.references import label_of
from zq.sockets.link import resolve_address, resolve_namespace
from zq.submit_options import SubmitOptions, check_queue, make_options
from zq.task import Task
from zq.wire.limits import PAYLOAD_BYTES_MAX
from zq.worker.runner import Handler

if TYPE_CHECKING:
    from zq.app.memory import Memory
    from zq.worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator:
    """Makes task functions with some options; what `App.task(queue=...)` returns."""

    def __init__(self, app: App, queue: str | None, options: SubmitOptions) -> None:
        self._app = app
        self._queue = queue
        self._options = options

    @overload
    def __call__(
        self, function: Callable[Concatenate[Task, P], Coroutine[Any, Any, R]], /
    ) -> TaskFunction[Concatenate[Task, P], Coroutine[Any, Any, R], P, R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Task, P], R], /
    ) -> TaskFunction[Concatenate[Task, P], R, P, R]: ...

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, Coroutine[Any, Any, R], P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskFunction[P, R, P, R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        return self._app.register(function, self._queue, self._options, _locals_of(function, 1))


class App:
    """Task functions, where they are submitted, and how they are run. Any thread may use it.

    Args:
        address: of the coordinator; None takes ZQ_ADDRESS from the environment when it is needed, else
            tcp://127.0.0.1:7700.
        timeout: seconds within which the coordinator must answer a submit.
        concurrency: of its workers; see `zq.Worker`.
        processes: of its workers; see `zq.Worker`.
        middleware: hooks around submitting and handling; see `zq.Middleware`.
        payload_bytes_max: limit of one encoded payload.
        namespace: in which it submits and works; None takes ZQ_NAMESPACE from the environment when it is needed, "" is
            none.
        tasks_per_child: of its workers; see `zq.Worker`.
        child_memory_max: of its workers; see `zq.Worker`.
        key: a `zq.Key`, or the path of its file, for a coordinator with keys; None takes the path in ZQ_KEY from the
            environment when it is needed, "" is none. In memory there are no keys.

    Attributes:
        tasks: the task functions, by queue.
        middleware: the hooks, in order; may be changed before the first use.

    Raises:
        ValueError: the address or namespace cannot be one.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 30.0,
        concurrency: int = 1,
        processes: int = 0,
        middleware: Sequence[Middleware] = (),
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        namespace: str | None = None,
        tasks_per_child: int | None = None,
        child_memory_max: int | None = None,
        key: KeySource | None = None,
    ) -> None:
        address = None if address is None else resolve_address(address)
        source_of_key(key, address or "")
        resolve_namespace(namespace)
        self._address = address
        self._key = given_key(key)
        self._namespace = namespace
        self._timeout = timeout
        self._payload_bytes_max = payload_bytes_max
        self._concurrency = concurrency
        self._processes = processes
        self._tasks_per_child = tasks_per_child
        self._child_memory_max = child_memory_max
        self.middleware = list(middleware)
        self.tasks: dict[str, TaskFunction[..., Any, ..., Any]] = {}
        self._handlers: dict[str, Handler] = {}
        self._lock = threading.RLock()  # guards the clients; a handler of signals may find it locked by its own thread
        watch(self)
        self._pid = os.getpid()
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None
        self._memory: Memory | None = None

    @classmethod
    def memory(
        cls,
        *,
        middleware: Sequence[Middleware] = (),
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        namespace: str | None = None,
        key: KeySource | None = None,  # noqa: ARG003 - alike for any app
        **world: Any,
    ) -> App:
        """Returns an app on a coordinator in memory, in virtual time, without sockets and threads.

        Args:
            middleware: as for any app.
            payload_bytes_max: as for any app.
            namespace: as for any app.
            key: without effect: in memory there are no keys.
            world: `options` and `start_time` of `zq.app.memory.Memory`.
        """
        app = cls("ipc://memory", middleware=middleware, payload_bytes_max=payload_bytes_max, namespace=namespace)
        app._memory = app._make_memory(**world)
        return app

    @contextmanager
    def in_memory(self, **world: Any) -> Iterator[Self]:
        """Puts this app on a coordinator in memory for the length of a `with`; arguments as in `memory`."""
        before, self._memory = self._memory, self._make_memory(**world)
        try:
            yield self
        finally:
            self._memory = before

    def _make_memory(self, **world: Any) -> Memory:
        from zq.app.memory import Memory

        return Memory(self.handlers, payload_bytes_max=self._payload_bytes_max, namespace=self.namespace, **world)

    @contextmanager
    def at(self, address: str, *, key: KeySource | None = None) -> Iterator[Self]:
        """Puts this app on another coordinator for the length of a `with`, in this process only.

        Args:
            key: for it, as of any app: that of the app itself is for its own coordinator.
        """
        address = resolve_address(address)
        source_of_key(key, address)
        before, memory, own_key = self._address, self._memory, self._key
        self.close()
        self._address, self._memory, self._key = address, None, given_key(key)
        try:
            yield self
        finally:
            self.close()
            self._address, self._memory, self._key = before, memory, own_key

    # Task functions.

    @overload
    def task(
        self, function: Callable[Concatenate[Task, P], Coroutine[Any, Any, R]], /
    ) -> TaskFunction[Concatenate[Task, P], Coroutine[Any, Any, R], P, R]: ...

    @overload
    def task(self, function: Callable[Concatenate[Task, P], R], /) -> TaskFunction[Concatenate[Task, P], R, P, R]: ...

    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskFunction[P, Coroutine[Any, Any, R], P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R, P, R]: ...

    @overload
    def task(self, *, queue: str | None = None, **options: Unpack[SubmitOptions]) -> TaskDecorator: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        *,
        queue: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """Makes a function, plain or `async def`, a task function; used as `@app.task` or `@app.task(queue=..., ...)`.

        Args:
            function: what to make one.
            queue: from which workers take its tasks; None takes the function's name.
            options: of its submits; see `zq.SubmitOptions`.

        Raises:
            ValueError: the queue has a task function already, or a name or option cannot be.
            TypeError: an option is unknown, or of another type.
        """
        if function is not None:
            return self.register(function, None, {}, _locals_of(function, 1))
        make_options(**options)
        return TaskDecorator(self, queue, options)

    def register(
        self,
        function: Callable[..., Any],
        queue: str | None,
        options: SubmitOptions,
        local_names: Mapping[str, Any] | None = None,
    ) -> TaskFunction[..., Any, ..., Any]:
        """Makes a task function; what the decorators do. Raises as `task`."""
        if not callable(function):
            raise TypeError(f"expected a function, got {type(function).__name__}")
        if queue is None:
            queue = getattr(function, "__name__", None)
            if queue is None:
                raise ValueError(f"a {label_of(function)} has no name to call its queue by; say @app.task(queue=...)")
        check_queue(queue)
        if queue in self.tasks:
            raise ValueError(f"queue {queue} has a task function already: {self.tasks[queue].name}")
        made: TaskFunction[..., Any, ..., Any] = TaskFunction(
            self, function, queue, options, Parameters(function, local_names)
        )
        self.tasks[queue] = made
        self._handlers[queue] = make_handler(self, made)
        return made

    # Connections.

    @property
    def address(self) -> str:
        """Where it connects to."""
        return resolve_address(self._address)

    @property
    def key(self) -> KeySource | None:
        """The key that it shows there, as it was given."""
        return self._key

    @property
    def namespace(self) -> str | None:
        """The namespace in which it submits and works, None for none."""
        found = resolve_namespace(self._namespace)
        return None if found is None else found.name

    @property
    def client(self) -> Client:
        """The client with which it submits; made when it is first asked for, and closed by `close`."""
        if self._memory is not None:
            return self._memory.client
        with self._lock:
            self._forget_parent()
            if self._client is None:
                made = self._connect(Client)
                if self._client is None:
                    self._client = made
                else:  # a handler of signals was quicker
                    made.close()
            return self._client

    @property
    def async_client(self) -> AsyncClient:
        """The client with which it submits from coroutines; as `client`."""
        if self._memory is not None:
            return self._memory.async_client
        with self._lock:
            self._forget_parent()
            if self._async_client is None:
                self._async_client = self._connect(AsyncClient)
            return self._async_client

    def _connect(self, kind: Callable[..., R]) -> R:
        return kind(
            self._address,
            timeout=self._timeout,
            payload_bytes_max=self._payload_bytes_max,
            name="app",
            namespace=self._namespace,
            key=self._key,
        )

    def become_copy(self) -> None:
        """Called in a copy of this process (`os.fork`) by zq itself."""
        self._lock = threading.RLock()  # whoever had it is not here

    def _forget_parent(self) -> None:
        """After a fork, the connections are the parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._client = self._async_client = None

    def close(self) -> None:
        """Closes its connections, if there are any; the next use makes new ones."""
        with self._lock:
            client, self._client = self._client, None
            async_client, self._async_client = self._async_client, None
        if client is not None:
            client.close()
        if async_client is not None:
            async_client.close_now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Running.

    @property
    def handlers(self) -> dict[str, Handler]:
        """What workers call, by queue."""
        return self._handlers

    def worker(
        self,
        *,
        address: str | None = None,
        name: str | None = None,
        concurrency: int | None = None,
        processes: int | None = None,
        namespace: str | None = None,
        key: KeySource | None = None,
    ) -> Worker:
        """Returns a worker of its tasks, not started; arguments as of `zq.Worker`, None takes the app's.

        Raises:
            ConversionError: an annotation of a task function is none that a payload can follow.
            ValueError: as `zq.Worker`.
        """
        from zq.worker.worker import Worker

        for one in self.tasks.values():
            one.parameters.check()
        made = Worker(
            address or self._address,
            name=name,
            concurrency=self._concurrency if concurrency is None else concurrency,
            processes=self._processes if processes is None else processes,
            namespace=self._namespace if namespace is None else namespace,
            tasks_per_child=self._tasks_per_child,
            child_memory_max=self._child_memory_max,
            key=self._key if key is None else key,
        )
        made.owner = self
        made.middleware = tuple(self.middleware)  # whose hooks around handlers are in these already
        made.handlers.update(self._handlers)
        return made

    def run(self, *, burst: bool = False) -> None:
        """Works until it is stopped; as `zq.Worker.run`."""
        self.worker().run(burst=burst)

    # Virtual time.

    def run_pending(self, tasks_max: int | None = None) -> int:
        """Runs the tasks that are due now, one after the other, and those that they submit; only for an app in memory.

        Args:
            tasks_max: how many starts at most; None runs until nothing is due.

        Returns:
            How many handlers were called.

        Raises:
            ZqError: the app is not in memory, or a handler calls this.
        """
        return self._world().run_pending(tasks_max)

    def advance(self, seconds: float) -> int:
        """Lets virtual time pass, and runs what becomes due at the moment at which it is due; only for an app in
        memory.

        Args:
            seconds: from now, 0 or more.

        Returns:
            How many handlers were called.

        Raises:
            ZqError: as `run_pending`.
            ValueError: the seconds are negative.
        """
        return self._world().advance(seconds)

    @property
    def is_in_memory(self) -> bool:
        """Whether it is on a coordinator in memory."""
        return self._memory is not None

    @property
    def time(self) -> float:
        """The virtual wall clock, in seconds since 1970; raises as `run_pending`."""
        return self._world().time

    def _world(self) -> Memory:
        if self._memory is None:
            raise ZqError("this app is not in memory: make it with zq.App.memory(), or use `with app.in_memory():`")
        return self._memory

    def __repr__(self) -> str:
        return f"<App of {', '.join(self.tasks) or 'no tasks'}>"


def _locals_of(function: Any, depth: int) -> Mapping[str, Any] | None:
    """Returns the local names where a function inside of another is decorated: its annotations may name them."""
    if "<locals>" not in getattr(function, "__qualname__", ""):
        return None
    frame = inspect.currentframe()
    for _ in range(depth + 1):
        frame = frame and frame.f_back
    return None if frame is None else dict(frame.f_locals)
