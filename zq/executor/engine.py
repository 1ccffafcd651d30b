"""What a `zq.Executor` runs on: the futures, the courses of the calls, and the coordinator and worker of its own.

Each call is a course (a `Call` of `zq.client.driving`), driven by what comes back: its first step in the thread that
submits, all others in one thread of the engine, which also sets the futures. That thread closes everything when the
last call has ended after a shutdown, so an executor may be forgotten while its calls still run.
"""

from __future__ import annotations

import atexit
import logging
import queue as queues
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from zq.client.calls import Calls
from zq.client.driving import Ask, Blocking, Call
from zq.errors import TaskCancelledError, ZqError
from zq.executor.remote_call import Callee, unpack_result
from zq.executor.workers import make_worker
from zq.keys.own import KeySource
from zq.processes.references import refuse_while_loading
from zq.server.embedded import Coordinator
from zq.submit_options import SubmitOptions
from zq.task import task_id
from zq.wire.address import SOCKET_PATH_BYTES_MAX
from zq.worker.worker import Worker

log = logging.getLogger(__name__)

T = TypeVar("T")


class CallFuture(futures.Future[T]):
    """The future of a call; made by `Executor.submit`."""

    def __init__(self, engine: ExecutorEngine, callee: Callee) -> None:
        super().__init__()
        self.callee = callee
        self.accepted = threading.Event()  # its id is known, or it has ended
        self.id: str | None = None  # of its task, once the coordinator has accepted it
        self._engine = engine
        self._ending = threading.RLock()  # one of those who end it comes first

    def cancel(self) -> bool:
        """Cancels the call, also one that runs: in a child process it is stopped. Asks the coordinator, and waits for
        the answer.

        Returns:
            False when it has ended already.
        """
        return self.cancelled() if self.done() else self._engine.cancel(self)

    def begin_ending(self) -> bool:
        """Returns whether its result may be set; False when it is cancelled."""
        with self._ending:
            return not self.cancelled() and self.set_running_or_notify_cancel()

    def end_cancelled(self) -> bool:
        """Notes that it is cancelled; returns False when it has ended otherwise."""
        with self._ending:
            if self.cancelled():
                return True
            return super().cancel() and not self.set_running_or_notify_cancel()


class CallDestination(NamedTuple):
    """Where calls go: `address` is None for a coordinator of the executor's own, `namespace` empty for none."""

    address: str | None
    namespace: str
    queue: str
    key: KeySource | None


class ExecutorEngine:
    """What an executor runs on; it lives until its last call has ended, also without the executor."""

    def __init__(
        self,
        destination: CallDestination,
        processes: int,
        directory: str | Path | None,
        timeout: float,
        options: SubmitOptions,
        tasks_per_child: int | None = None,
    ) -> None:
        """Opens what it needs; the arguments are those of `zq.Executor`, checked."""
        if processes:
            refuse_while_loading("an executor with processes is made")
        address, namespace, self._queue, key = destination
        self._options = options
        self._temporary: str | None = None
        self._coordinator: Coordinator | None = None
        self._worker: Worker | None = None
        self.is_own = address is None
        self._broken: str | None = None  # why no call will ever be run
        self._inbox: queues.SimpleQueue[Callable[[], None]] = queues.SimpleQueue()
        try:
            if address is None:
                address = self._open_coordinator(directory)
            if processes:
                self._worker = make_worker(
                    address, allow=(), queue=self._queue, processes=processes, namespace=namespace, key=key
                )
                self._worker.spec = f"{__package__}:{'local_worker' if self.is_own else 'worker'}"
                self._worker.tasks_per_child = tasks_per_child
                self._worker.child_stdout = 1  # what functions print goes where this program prints
                run = self._worker.start()
                if self.is_own:  # nobody else could run the calls
                    run.on_failure = lambda: self._inbox.put(partial(self._break, str(run.failure)))
            self._calls = Calls(address, timeout=timeout, name="executor", namespace=namespace, key=key)
        except BaseException:
            self._close_own()
            raise
        self._block = Blocking(self._calls.abandon)
        self._lock = threading.Lock()  # guards _pending and _is_shut
        self._pending: set[CallFuture[Any]] = set()
        self._is_shut = False
        self._cancels = False
        self._thread = threading.Thread(target=self._run, name="zq-executor", daemon=True)
        self._thread.start()
        _engines.add(self)

    def _open_coordinator(self, directory: str | Path | None) -> str:
        # Whoever reaches the socket can have any function called: it is in a directory that only this user can enter.
        self._temporary = tempfile.mkdtemp(prefix="zq-executor-")
        socket = f"{self._temporary}/socket"
        if len(socket.encode()) > SOCKET_PATH_BYTES_MAX:
            raise OSError(
                f"expected a path of at most {SOCKET_PATH_BYTES_MAX} bytes for a socket, got {socket}; set TMPDIR to a shorter one"
            )
        self._coordinator = Coordinator(directory or f"{self._temporary}/data.zq", bind=f"ipc://{socket}").open()
        return self._coordinator.address

    # Any thread.

    def submit(self, future: CallFuture[Any], payload: dict[str, Any]) -> None:
        """Starts a call; raises RuntimeError after a shutdown, BrokenExecutor when none can run, and
        PayloadTooLargeError.
        """
        refuse_while_loading("a call is submitted")
        self._calls.pack(payload)  # what cannot be sent is the caller's mistake, and not the future's end
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._broken is not None:
                raise futures.BrokenExecutor(self._broken)
            self._pending.add(future)
        self._advance(self._course(future, payload), None, None)

    def cancel(self, future: CallFuture[Any]) -> bool:
        """Cancels a call; see `CallFuture.cancel`."""
        if (
            threading.current_thread() is self._thread
        ):  # a callback of a future: this thread cannot wait for what it takes itself
            self._advance(self._cancel(future), None, None)
            return future.end_cancelled()
        future.accepted.wait()
        if future.id is not None and self._block(self._calls.cancel(future.id)):
            return future.end_cancelled()
        return future.cancelled()

    def shut_down(self, *, cancels: bool) -> None:
        """Ends everything when nothing is pending any more; does not wait."""
        with self._lock:
            self._is_shut = True
            news = list(self._pending) if cancels and not self._cancels else []
            self._cancels = self._cancels or cancels
        for future in news:
            if future.id is not None:  # else it is looked at when it is accepted
                self._inbox.put(partial(self._advance, self._cancel_waiting(future), None, None))
        self._inbox.put(_nothing)

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    # Courses.

    def _course(self, future: CallFuture[Any], payload: dict[str, Any]) -> Call[None]:
        """One call from its submit to its end, which ends the future."""
        try:
            outcome, index, _ = yield from self._calls.submit(self._queue, payload, None, self._options)
            future.id = task_id(outcome.id, outcome.size, index)
            future.accepted.set()
            if self._cancels:
                yield from self._cancel_waiting(future)
            plain = yield from self._calls.result(outcome, index, None)
            _end(future, plain)
        except TaskCancelledError:
            future.end_cancelled()
        except Exception as error:
            if future.begin_ending():
                future.set_exception(error)
        finally:
            future.accepted.set()
            with self._lock:
                self._pending.discard(future)

    def _cancel_waiting(self, future: CallFuture[Any]) -> Call[None]:
        """Cancels a call unless it has been given to a worker."""
        status = yield from self._calls.query("task", {"id": future.id})
        if status.get("state") in ("waiting", "scheduled"):
            yield from self._cancel(future)

    def _cancel(self, future: CallFuture[Any]) -> Call[None]:
        if future.id is not None:
            yield from self._calls.cancel(future.id)

    def _advance(self, course: Call[None], value: Any, error: Exception | None) -> None:
        """Takes the next step of a course; what comes of it goes on in the executor's thread."""
        try:
            while True:
                ask: Ask = course.send(value) if error is None else course.throw(error)
                try:
                    ask.start(_StepReply(self._inbox, partial(self._advance, course)))
                except ZqError as problem:
                    error = problem
                else:
                    return
        except StopIteration:
            pass

    # The executor's thread.

    def _break(self, why: str) -> None:
        """Ends what is pending when the executor's own processes cannot work."""
        with self._lock:
            self._broken = why
            pending, self._pending = self._pending, set()
        for future in pending:
            if future.begin_ending():
                future.set_exception(futures.BrokenExecutor(why))
            future.accepted.set()

    def _run(self) -> None:
        while True:
            step = self._inbox.get()
            try:
                step()
            except Exception:
                log.exception("a step of a call failed")
            del step  # a future, or its result, must not live until the next one
            with self._lock:
                if self._is_shut and not self._pending:
                    break
        _engines.discard(self)
        try:
            self._calls.close()
        finally:
            self._close_own()

    def _close_own(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._coordinator is not None:
            self._coordinator.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _end(future: CallFuture[Any], plain: Any) -> None:
    """Sets the result of a call, or the exception."""
    if not future.begin_ending():
        return
    try:
        value = unpack_result(future.callee, future.id or "", plain)
    except BaseException as error:  # what the function raised, SystemExit included
        future.set_exception(error)
    else:
        future.set_result(value)


class _StepReply:
    """The end of one step; see `zq.sessions.outcomes.Reply`."""

    __slots__ = ("_advance", "_inbox")

    def __init__(
        self, inbox: queues.SimpleQueue[Callable[[], None]], advance: Callable[[Any, Exception | None], None]
    ) -> None:
        self._inbox = inbox
        self._advance = advance

    def resolve(self, value: Any) -> None:
        self._inbox.put(partial(self._advance, value, None))

    def reject(self, error: Exception) -> None:
        self._inbox.put(partial(self._advance, None, error))


_engines: set[ExecutorEngine] = set()


def _nothing() -> None:
    """Wakes an executor's thread, which then looks for itself."""


@atexit.register
def _at_exit() -> None:
    """Calls that were submitted are run before the interpreter ends, as by the executors of the standard library; other
    coordinators keep theirs.
    """
    engines = list(_engines)
    for engine in engines:
        engine.shut_down(cancels=False)
    for engine in engines:
        if engine.is_own:
            engine.join()
