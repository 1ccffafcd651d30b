"""The worker: takes tasks from a coordinator, runs their handlers, reports how they end.

What programs call; `zq.worker.run` is one run of it, with its threads.
"""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from zq.errors import ClosedError
from zq.handling.hooks import Hooks, hooked
from zq.keys.own import KeySource, given_key, source_of_key
from zq.processes.pulse import NO_PULSE
from zq.processes.references import label_of, reference_to_object, refuse_if_served, refuse_while_loading
from zq.sockets.link import resolve_address, resolve_namespace
from zq.submit_options import check_count, check_name, check_queue
from zq.task import Task
from zq.worker.child_thread import IN_HANDLER_PROCESS
from zq.worker.run import HANDLERS_PATIENCE, WorkerRun
from zq.worker.runner import Handler

CHILD_LIMIT_MAX = 1 << 40
"""Above what anybody means: of tasks or MiB that a child process may have before it is replaced."""

H = TypeVar("H", bound=Callable[[Task], Any])


class Worker:
    """Runs the tasks of some queues.

    Register handlers with `task`, then `run`. All methods may be called from any thread; handlers run in threads of the
    worker, or in child processes of it. One that is dropped while it works in the background warns (`ResourceWarning`)
    and ends without waiting for what runs.

    Attributes:
        name: under which it is known; a second worker of the same name takes this one's place.
        handlers: by queue, with the hooks of the middleware around them.
        middleware: as given.
        concurrency: plain functions that run at once.
        tasks_per_child: as given.
        child_memory_max: as given.
        coroutines: coroutines that run at once.
        key: as given; its file is read when the worker starts.
        spec: `module:name` or `file.py:name` that its child processes import to find the handlers; None: `owner` is
            looked for in the modules of this process when it starts, first in those of the handlers.
        owner: what is looked for: this worker, or the app that made it.
        pulse: signs of life, which its link's thread gives.
        on_connected: called once in each run, when the coordinator has let it in, in a thread of the connection; None:
            the log says so.
        child_stdout: descriptor to which plain functions in child processes print; None: standard error.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        name: str | None = None,
        concurrency: int = 1,
        processes: int = 0,
        namespace: str | None = None,
        tasks_per_child: int | None = None,
        child_memory_max: int | None = None,
        key: KeySource | None = None,
        middleware: Sequence[Hooks] = (),
    ) -> None:
        """Makes a worker that is not connected yet.

        Args:
            address: of the coordinator; None takes ZQ_ADDRESS from the environment, else tcp://127.0.0.1:7700.
            name: unlike every other worker's; None makes one of host, process and chance.
            concurrency: handlers that run at once: plain functions in threads of this process, and as many coroutines
                in one event loop.
            processes: 0, or how many child processes run the plain functions instead, one task each at a time; the
                event loop of the coroutines is then in a child process, too. A handler that holds the interpreter's
                lock for long silences the heartbeat of its process: give such handlers processes.
            namespace: in which its name, its queues and all names are that handlers see; None takes ZQ_NAMESPACE from
                the environment, "" is none.
            tasks_per_child: that a child process runs before another one takes its place; None: any number.
            child_memory_max: MiB of memory above which a child process is replaced when its task has ended (one task
                may take more); None: any number.
            key: a `zq.Key`, or the path of its file, for a coordinator with keys; None takes the path in ZQ_KEY from
                the environment, "" is none.
            middleware: hooks around the handlers that are registered; see `zq.Middleware`.

        Raises:
            ValueError: a number is out of range, or the address, name or namespace cannot be one.
        """
        self.address = resolve_address(address)
        source_of_key(key, self.address)
        self.key = given_key(key)
        self.namespace = resolve_namespace(namespace)
        self.name = check_name("name", name or f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}")
        check_count("concurrency", concurrency, 1, 1000)
        check_count("processes", processes, 0, 1000)
        if tasks_per_child is not None:
            check_count("tasks_per_child", tasks_per_child, 1, CHILD_LIMIT_MAX)
        if child_memory_max is not None:
            check_count("child_memory_max", child_memory_max, 1, CHILD_LIMIT_MAX)
        self.middleware = tuple(middleware)
        self.handlers: dict[str, Handler] = {}
        self.processes = processes
        self.tasks_per_child = tasks_per_child
        self.child_memory_max = child_memory_max
        self.concurrency = processes or concurrency
        self.coroutines = concurrency
        self.spec: str | None = None
        self.owner: object = self
        self.child_stdout: int | None = None
        self.pulse = NO_PULSE
        self.on_connected: Callable[[], None] | None = None
        self._run: WorkerRun | None = None

    def adopt(self, settings: Worker) -> None:
        """Takes over with what another worker was made, but not its namespace, handlers and whereabouts: so whoever
        runs a worker of another's module gives it settings of his own, and it is still that worker which runs.
        """
        self.address = settings.address
        self.key = settings.key
        self.name = settings.name
        self.processes = settings.processes
        self.concurrency = settings.concurrency
        self.coroutines = settings.coroutines
        self.tasks_per_child = settings.tasks_per_child
        self.child_memory_max = settings.child_memory_max

    def task(self, queue: str) -> Callable[[H], H]:
        """Returns a decorator that makes a function, plain or `async def`, the handler of a queue; the function stays
        as it is.

        Raises:
            ValueError: the queue has a handler already, or its name cannot be one.
        """
        check_queue(queue)
        if queue in self.handlers:
            raise ValueError(f"queue {queue} has a handler already: {label_of(self.handlers[queue])}")

        def register(handler: H) -> H:
            if not callable(handler):
                raise TypeError(f"expected a function as the handler of {queue}, got {type(handler).__name__}")
            self.handlers[queue] = hooked(handler, self.middleware)
            return handler

        return register

    # Running.

    def run(self, *, burst: bool = False) -> None:
        """Works until it is stopped: by SIGTERM or SIGINT, if this is the main thread, or by `stop`.

        The first signal drains: what runs is finished, what has not started goes back. The second ends it at once:
        child processes are killed, and all goes back; a handler in a thread cannot be killed and runs until the process
        ends. The third is left to Python.

        Args:
            burst: end when nothing has come for half a second.

        Raises:
            ValueError: it has no handler, or is running.
            WorkerFencedError: another worker has its name, and keeps it.
            AccessDeniedError: the coordinator does not let its key in, or not to these queues.
            KeyFileError: the key's file cannot be read, or is no key.
            RunnerBrokenError: a thread that runs handlers ended by a fault that is not a handler's; the tasks that it
                ran have failed, all others went back.
        """
        run = self._make_run()
        signals = run.take_signals()  # before anything is begun that a signal would leave half done
        try:
            run.start()
        except BaseException:
            signals.restore()
            raise
        try:
            run.wait(burst=burst)
        finally:
            try:
                run.stop(HANDLERS_PATIENCE)
            finally:
                signals.restore()  # not before: the second signal comes while it drains
        failure = run.failure or run.session.failure
        if failure is not None and not isinstance(failure, ClosedError):
            raise failure

    def start(self) -> WorkerRun:
        """Starts working in the background; `stop` ends it. Raises as `run`."""
        run = self._make_run()
        run.start()
        return run

    def _make_run(self) -> WorkerRun:
        if self._live_run() is not None:
            raise ValueError(f"worker {self.name} is running")
        if not self.handlers:
            raise ValueError(f"worker {self.name} has no handler; register one with @worker.task(queue)")
        refuse_while_loading(f"worker {self.name} is started")
        refuse_if_served(self.owner, f"worker {self.name} is started")
        self._run = WorkerRun(self, self.child_spec() if self.processes else None)
        self._run.on_connected = self.on_connected
        return self._run

    def stop(self, timeout: float = HANDLERS_PATIENCE, *, drain: bool = True) -> None:
        """Ends the work: what has not started goes back at once, and what runs is finished. It returns when that is
        done, whoever stops it meanwhile, too; a second call may shorten the timeout.

        In a handler, plain or a coroutine, it returns at once, and the worker ends after the handler; so it does in a
        signal handler that interrupts the thread that stops it.

        Args:
            timeout: seconds to let running handlers finish; their tasks are given back when it is over.
            drain: False does not wait for them at all.

        Raises:
            ValueError: this is a handler in a child process, whose copy of the worker does not run.
        """
        run = self._live_run()
        if run is not None:
            run.stop(timeout if drain else 0.0)
        elif IN_HANDLER_PROCESS.is_set():
            raise ValueError(
                f"worker {self.name} runs in another process than this handler; send that one, os.getppid(), a SIGTERM"
            )

    def _live_run(self) -> WorkerRun | None:
        """Returns the run that has begun and not ended."""
        run = self._run
        return None if run is None or run.is_over else run

    @property
    def counters(self) -> dict[str, int]:
        """Tasks by how they ended here: done, failed, stale (refused by the coordinator), cancelled."""
        run = self._live_run()
        return {} if run is None else dict(run.session.counters)

    def __del__(self) -> None:
        """Whoever forgets a worker that works in the background need not keep its threads, or what it holds."""
        run = self.__dict__.get("_run")  # None: its making has failed
        if run is not None and not sys.is_finalizing() and run.drop():
            text = f"worker {self.name} was not stopped: end it with stop(), or use it in a with statement"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def child_spec(self) -> str:
        """Returns where a child process finds this worker.

        Raises:
            ValueError: no other process can import it.
        """
        if self.spec is not None:
            return self.spec
        try:
            return reference_to_object(self.owner, self.handlers.values())
        except ValueError as why:
            raise ValueError(
                f"worker {self.name} has processes, and it (or its app) {why}: child processes import it from there"
            ) from None
