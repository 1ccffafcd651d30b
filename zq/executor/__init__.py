"""`zq.Executor`: a `concurrent.futures.Executor` whose calls are tasks.

Without an address it has everything of its own: a coordinator in a directory, and child processes that run the calls.
With one it is a client, and the calls are run by whoever takes its queue, such as `zq worker zq.executor:worker`.

May import: app, client, worker, server, processes, handling, sessions, sockets, keys, task, submit_options, wire,
errors. It stands on the public faces of the others, and holds no protocol of its own.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Unpack

from zq.app.app import App
from zq.executor.call_future import CallFuture
from zq.executor.engine import CallDestination, ExecutorEngine
from zq.executor.gathering import GatheredRun
from zq.executor.mapping import CallsRun, ChunksRun, MapRun
from zq.executor.remote_call import Callee, describe, pack_call
from zq.executor.workers import ALLOW, QUEUE, make_worker
from zq.keys.own import KeySource
from zq.processes.references import refuse_while_loading
from zq.server.embedded import Coordinator
from zq.sockets.link import resolve_namespace
from zq.submit_options import SubmitOptions, check_queue, make_options
from zq.wire.retry import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


class Executor(futures.Executor):
    """Calls importable functions as tasks. Any thread may use it; a context manager shuts it down.

    Functions must be importable (`module:qualname`, or the top of the script that is run), arguments and results what
    msgpack holds or what the function's annotations convert; see docs/faces.md. No pickle anywhere.
    """

    def __init__(
        self,
        where: str | App | Coordinator | None = None,
        *,
        max_workers: int | None = None,
        max_tasks_per_child: int | None = None,
        directory: str | Path | None = None,
        queue: str = QUEUE,
        answer_timeout: float = 30.0,
        namespace: str | None = None,
        access_key: KeySource | None = None,
        **options: Unpack[SubmitOptions],
    ) -> None:
        """Makes an executor that can be used at once.

        Args:
            where: the coordinator: its address, the object, or an app that has one. None makes one of its own.
            max_workers: child processes of its own that run calls. None: as many as there are processors without
                `where`, none with it.
            max_tasks_per_child: calls that a process runs before another one takes its place; None: any number.
            directory: of its own coordinator; what was not finished there is run again. None: a temporary one, which is
                removed.
            answer_timeout: seconds within which the coordinator must answer a submit.
            namespace: in which the queue and its workers are. None takes that of the app if `where` is one, else
                ZQ_NAMESPACE from the environment; "" is none.
            access_key: a `zq.Key`, or the path of its file, for a coordinator with keys. None takes that of the app if
                `where` is one, else the path in ZQ_KEY from the environment; "" is none. (`key` is that of its tasks.)
            options: of the submits; see `zq.SubmitOptions`. A call that fails because its process died is not tried
                again unless `retry` says so; a call whose whole worker is lost is.

        Raises:
            ValueError: an argument is out of its range, or they contradict each other.
            TypeError: `where` is none of these, or an option of another type.
            StoreError, OSError: the directory cannot be used.
        """
        if max_workers is not None and not isinstance(max_workers, int):
            raise TypeError(f"expected max_workers as a whole number, got {max_workers!r}")
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if max_tasks_per_child is not None and max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")
        if where is not None and directory is not None:
            raise ValueError("expected a coordinator or a directory for one, got both")
        options.setdefault("retry", RetryPolicy.none())
        make_options(**options)
        check_queue(queue)
        self._max_workers = max_workers or (os.cpu_count() or 1)
        processes = self._max_workers if where is None else (max_workers or 0)
        if access_key is None and isinstance(where, App):
            access_key = where.key
        destination = CallDestination(_address_of(where), _namespace_of(where, namespace), queue, access_key)
        self._engine = ExecutorEngine(destination, processes, directory, answer_timeout, options, max_tasks_per_child)
        self._finalizer = weakref.finalize(self, self._engine.shut_down, cancels=False)
        self._finalizer.atexit = False  # `_at_exit` waits, too

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Submits a call.

        Returns:
            Its future, a `CallFuture`. It raises what the function raised, or TaskFailedError when the process that ran
            it died, BusyError when the coordinator refused it, UnreachableError when it did not answer.

        Raises:
            TypeError: the function cannot be imported, or an argument cannot be sent.
            PayloadTooLargeError: the arguments are over the limit.
            RuntimeError: the executor is shut down; or BrokenExecutor, which is one: its processes cannot work.
        """
        callee = describe(fn)
        refuse_while_loading("a call is submitted")
        payload = self._engine.pack(pack_call(callee, args, kwargs))
        future: CallFuture[T] = CallFuture(self._engine, callee)
        self._engine.submit(future, 0, payload)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Submits a call for each tuple of arguments; as `concurrent.futures.Executor.map`.

        Calls travel in batches, and how many of them a process runs in a row follows from how long they take there, so
        that no `chunksize` is needed to be fast; it still is for functions of a few microseconds.

        Args:
            timeout: seconds from now within which each result must come.
            chunksize: so many calls are one task, with one result: they run in one process, one after the other, and
                are lost together if that dies.
            buffersize: of the calls, or chunks, at most so many are submitted whose results nobody has taken; None: all
                at once.

        Returns:
            The results in order; what a call raised is raised at its place, and ends it. Closing it cancels the rest.

        Raises:
            ValueError: chunksize or buffersize is below 1, or chunksize larger than any list.
            TypeError, PayloadTooLargeError, RuntimeError: as `submit`.
        """
        if not isinstance(chunksize, int):
            raise TypeError(f"chunksize must be a whole number, got {chunksize!r}")
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize > sys.maxsize:
            raise ValueError(f"chunksize must be at most {sys.maxsize}, got {chunksize}")
        if timeout is not None and not isinstance(timeout, int | float):
            raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        refuse_while_loading("a call is submitted")
        deadline = None if timeout is None else time.monotonic() + timeout
        callee = describe(fn)
        run = self._make_run(callee, iterables, chunksize, gathers=buffersize is None)
        if buffersize is None:
            run.submit()
            return run.results(deadline)
        run.submit(buffersize)
        return run.results(deadline, self, buffersize)

    def _make_run(
        self, callee: Callee, iterables: tuple[Iterable[Any], ...], chunksize: int, *, gathers: bool
    ) -> MapRun:
        engine, columns = self._engine, callee.columns
        if chunksize > 1:
            return ChunksRun(engine, callee, iterables, chunksize)
        if engine.gathers and gathers and columns is not None and iterables and columns.fits(len(iterables)):
            return GatheredRun(engine, callee, iterables, engine.gathers)
        return CallsRun(engine, callee, iterables)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls, and closes everything when the last one has ended.

        Args:
            wait: until then.
            cancel_futures: cancel the calls that have not started.
        """
        self._engine.shut_down(cancels=cancel_futures)
        if wait:
            self._engine.join()


def _address_of(where: str | App | Coordinator | None) -> str | None:
    match where:
        case None | str():
            return where
        case App():
            if where.is_in_memory:
                raise ValueError("expected an app with a coordinator, got one in memory: an executor needs processes")
            return where.address
        case Coordinator():
            return where.address
    raise TypeError(f"expected an address, a zq.App or a zq.Coordinator, got {type(where).__name__}")


def _namespace_of(where: str | App | Coordinator | None, name: str | None) -> str:
    """Returns the name of a namespace, empty for none: the environment is read once, for the client and the workers."""
    if name is None and isinstance(where, App):
        return where.namespace or ""
    found = resolve_namespace(name)
    return "" if found is None else found.name


def __getattr__(name: str) -> Any:
    """Makes `worker` (for `zq worker zq.executor:worker`) and `local_worker` (for the children of an executor) when
    they are asked for.
    """
    if name == "worker":
        return make_worker(allow=[one.strip() for one in os.environ.get(ALLOW, "").split(",") if one.strip()])
    if name == "local_worker":
        return make_worker("ipc://nowhere", allow=["*"])
    raise AttributeError(f"module 'zq.executor' has no attribute {name!r}")
