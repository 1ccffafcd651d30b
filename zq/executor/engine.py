"""What a `zq.Executor` runs on: the futures, the courses of the calls, and the coordinator and worker of its own.

Each batch of calls is a course (a `Call` of `zq.client.driving`), driven by what comes back: its first step in the
thread that submits, all others in one thread of the engine, which also sets the futures. That thread closes everything
when the last call has ended after a shutdown, so an executor may be forgotten while its calls still run.
"""

from __future__ import annotations

import atexit
import logging
import queue as queues
import threading
import time
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from zq.client.calls import Calls
from zq.client.driving import Ask, Blocking, Call
from zq.errors import BusyError, ClosedError, InvalidTaskError, ZqError
from zq.executor.batches import CallBatch, CallHolder, CallOwner
from zq.executor.call_future import CallFuture
from zq.executor.workers import make_worker
from zq.keys.own import KeySource
from zq.processes.own_folder import OwnFolder
from zq.processes.references import refuse_while_loading
from zq.server.embedded import Coordinator
from zq.submit_options import SubmitOptions, make_options
from zq.wire.address import SOCKET_PATH_BYTES_MAX
from zq.wire.batch import pack_payloads
from zq.wire.messages import Batch
from zq.wire.retry import RetryPolicy
from zq.worker.worker import Worker

log = logging.getLogger(__name__)

BATCHES_SMALL = 2
"""Batches on their way that need not be full: one is on its way to the disk while another arrives. With more, batches
become smaller and nothing faster.
"""

GATHERED_OPTIONS = frozenset({"retry", "priority", "headers", "ttl"})
"""With which calls may share a task: all others say something about each call, or are its own."""

SUBMIT_INTERRUPTED = "the submit of the call was interrupted, and it may be run"

BATCHES_MAX = 32
"""Batches on their way after which a map waits before it submits more: several times what the session has in flight."""


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
        self._temporary: OwnFolder | None = None
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
        self._is_alone = options.get("unique") is not None or options.get("group") is not None  # of each task its own
        self._timers: list[tuple[float, Callable[[], None]]] = []  # of the engine's thread; monotonic seconds
        is_plain = options.keys() <= GATHERED_OPTIONS and options.get("retry") in ("none", RetryPolicy.none())
        self.gathers = processes if self.is_own and is_plain and tasks_per_child is None else 0
        self._lock = threading.RLock()  # guards what follows
        self._runs: set[CallHolder] = set()  # maps that have calls to submit
        self._batches: set[CallBatch] = set()  # that have not ended
        self._open: CallBatch | None = None  # of these, the one in which calls gather
        self._unaccepted: dict[CallBatch, None] = {}  # that are on their way, the oldest first
        self._is_shut = False
        self._cancels = False
        self._thread = threading.Thread(target=self._run, name="zq-executor", daemon=True)
        self._thread.start()
        _engines.add(self)

    def _open_coordinator(self, directory: str | Path | None) -> str:
        # Whoever reaches the socket can have any function called: it is in a directory that only this user can enter.
        self._temporary = OwnFolder("executor")
        socket = f"{self._temporary.path}/socket"
        if len(socket.encode()) > SOCKET_PATH_BYTES_MAX:
            raise OSError(
                f"expected a path of at most {SOCKET_PATH_BYTES_MAX} bytes for a socket, got {socket}; set TMPDIR to a shorter one"
            )
        self._coordinator = Coordinator(directory or f"{self._temporary.path}/data.zq", bind=f"ipc://{socket}").open()
        return self._coordinator.address

    # Any thread.

    def pack(self, payload: dict[str, Any]) -> bytes:
        """Returns the payload of a call; raises PayloadTooLargeError."""
        return self._calls.pack(payload)

    def submit(self, caller: CallOwner, place: int, payload: bytes, *, is_new: bool = True) -> None:
        """Starts a call, or has it wait for those that are on their way to the coordinator; raises BrokenExecutor when
        none can run, and RuntimeError after a shutdown if it is new.
        """
        with self._lock:  # also while a batch is sent: they leave in the order of the calls
            self._check_open(is_new=is_new)
            if self._open is not None and not self._open.has_room(len(payload)):
                self._send_open()
            if self._open is None:
                self._open = CallBatch()
                self._batches.add(self._open)
            caller.placed(place, self._open, self._open.add(caller, place, payload))
            if self._is_alone or len(self._unaccepted) < BATCHES_SMALL:
                self._send_open()

    def _check_open(self, *, is_new: bool = True) -> None:
        if self._is_shut and is_new:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._broken is not None:
            raise futures.BrokenExecutor(self._broken)

    def hold(self, run: CallHolder) -> None:
        """A map has calls that it will submit; raises as `submit`."""
        with self._lock:
            self._check_open()
            self._runs.add(run)

    def release(self, run: CallHolder) -> None:
        """It has none any more."""
        with self._lock:
            if run in self._runs:
                self._runs.discard(run)
                self._inbox.put(_nothing)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Has a function called in the engine's thread."""
        self._inbox.put(lambda: self._timers.append((time.monotonic() + seconds, function)))

    def wait_room(self) -> None:
        """Waits while too many batches are on their way, unless this thread is the one that ends them."""
        while threading.current_thread() is not self._thread:
            with self._lock:
                oldest = next(iter(self._unaccepted)) if len(self._unaccepted) > BATCHES_MAX else None
            if oldest is None:
                return
            oldest.accepted.wait()

    def cancel(self, future: CallFuture[Any]) -> bool:
        """Cancels a call; see `CallFuture.cancel`."""
        if (
            threading.current_thread() is self._thread
        ):  # a callback of a future: this thread cannot wait for what it takes itself
            self._advance(self._cancel(future.id), None, None)
            return future.end_cancelled()
        future.wait_accepted()
        if future.id is not None and self._block(self._calls.cancel(future.id)):
            return future.end_cancelled()
        return future.cancelled()

    def drop(self, caller: CallOwner) -> None:
        """Cancels the calls of a caller that have not ended; does not wait."""
        self._inbox.put(partial(self._drop, caller))

    def shut_down(self, *, cancels: bool) -> None:
        """Ends everything when nothing is pending any more; does not wait."""
        with self._lock:
            self._is_shut = True
            is_news = cancels and not self._cancels
            batches, runs = (list(self._batches), list(self._runs)) if is_news else ([], [])
            self._cancels = self._cancels or cancels
            if not self._unaccepted:  # nobody else would send what an interrupted submit left
                self._send_open()
        for run in runs:
            run.abort(futures.CancelledError())
        for batch in batches:
            self._inbox.put(partial(self._cancel_batch, batch))
        self._inbox.put(_nothing)

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    # Courses.

    def _send_open(self) -> None:
        """Sends what has gathered; with the lock."""
        if self._open is not None:
            self._open.settle()
            self._start(self._open)

    def _start(self, batch: CallBatch) -> None:
        course = self._course(batch)
        try:
            if batch is self._open:
                self._open = None
            self._batches.add(batch)
            self._unaccepted[batch] = None
            self._advance(course, None, None)
        except BaseException:  # of a signal handler, anywhere above
            self._inbox.put(partial(self._interrupted, course, batch))
            raise

    def _interrupted(self, course: Call[None], batch: CallBatch) -> None:
        """A batch whose first step was interrupted: nobody knows how far that came."""
        course.close()
        self._end(batch, ClosedError(SUBMIT_INTERRUPTED))

    def _accepted(self, batch: CallBatch) -> None:
        """A batch has arrived: what gathered behind it may go."""
        with self._lock:
            if self._unaccepted.pop(batch, batch) is None and len(self._unaccepted) < BATCHES_SMALL:
                self._send_open()

    def _course(self, batch: CallBatch) -> Call[None]:
        """A batch from its submit to the end of its last call."""
        error: Exception | None = None
        try:
            if batch.payloads:
                yield from self._submit(batch)
            left = len(batch.waiting())
            while left and batch.outcome is not None:
                for ended in (yield from self._calls.follow(batch.outcome)):
                    left -= batch.note(ended)
        except (BusyError, InvalidTaskError) as why:
            if len(batch.payloads) > 1:
                self._take_apart(batch)
            else:
                error = why
        except Exception as why:
            error = why
        except BaseException:
            error = ClosedError(SUBMIT_INTERRUPTED)
            raise
        finally:  # not in a thread that submits: it has the lock, and who is told takes its own
            if threading.current_thread() is self._thread:
                self._end(batch, error)
            else:
                self._inbox.put(partial(self._end, batch, error))

    def _end(self, batch: CallBatch, error: Exception | None) -> None:
        if error is not None:
            batch.fail(error)
        self._accepted(batch)
        batch.accepted.set()
        with self._lock:
            self._batches.discard(batch)

    def _submit(self, batch: CallBatch) -> Call[None]:
        made = make_options(**self._options)
        message = Batch(self._calls.session.make_id(), self._queue, made, *pack_payloads(batch.payloads))
        batch.outcome = yield from self._calls.submit_whole(message)
        batch.payloads = []
        self._accepted(batch)
        batch.accepted.set()
        for caller in batch.unwanted:
            self._drop_from(batch, caller)
        if self._cancels:
            self._cancel_batch(batch)

    def _take_apart(self, batch: CallBatch) -> None:
        """Nothing of a batch was stored: nobody is refused because of a neighbour."""
        with self._lock:
            for alone in batch.apart():
                self._batches.add(alone)
                self._start(alone)

    def _drop(self, caller: CallOwner) -> None:
        """On the engine's thread, where batches are accepted, too."""
        with self._lock:
            if self._open is not None:
                self._open.remove(caller)
                if not self._open.payloads:
                    self._batches.discard(self._open)
                    self._open = None
            batches = [one for one in self._batches if one is not self._open]
        for batch in batches:
            self._drop_from(batch, caller)

    def _drop_from(self, batch: CallBatch, caller: CallOwner) -> None:
        if not (indexes := batch.waiting(caller)):
            return
        if batch.outcome is None:
            batch.unwanted.append(caller)
        elif len(indexes) == len(batch.waiting()):
            self._advance(self._cancel(batch.outcome.id), None, None)
        else:
            for index in indexes:
                self._advance(self._cancel(batch.id_of(index)), None, None)

    def _cancel_batch(self, batch: CallBatch) -> None:
        """Cancels the calls of a batch that have not been given to a worker; one that is not accepted is looked at
        when it is.
        """
        if batch.outcome is not None:
            for index in batch.waiting():
                self._advance(self._cancel_waiting(batch.id_of(index)), None, None)

    def _cancel_waiting(self, id: str | None) -> Call[None]:
        """Cancels a call unless it has been given to a worker."""
        status = yield from self._calls.query("task", {"id": id})
        if status.get("state") in ("waiting", "scheduled"):
            yield from self._cancel(id)

    def _cancel(self, id: str | None) -> Call[None]:
        if id is not None:
            yield from self._calls.cancel(id)

    def _advance(self, course: Call[None], value: Any, error: Exception | None) -> None:
        """Takes the next step of a course; what comes of it goes on in the executor's thread."""
        try:
            ask: Ask = course.send(value) if error is None else course.throw(error)
            try:
                ask.start(_StepReply(self._inbox, partial(self._advance, course)))
            except ZqError as problem:  # what comes of it is not for a thread that holds a lock
                self._inbox.put(partial(self._advance, course, None, problem))
        except StopIteration:
            pass

    # The executor's thread.

    def _break(self, why: str) -> None:
        """Ends what is pending when the executor's own processes cannot work."""
        with self._lock:
            self._broken = why
            pending, self._batches = self._batches, set()
            runs = list(self._runs)
            self._open = None
        for run in runs:
            run.abort(futures.BrokenExecutor(why))
        for batch in pending:
            batch.fail(futures.BrokenExecutor(why))
            batch.accepted.set()

    def _run(self) -> None:
        while True:
            try:
                self._next_step()()
            except Exception:
                log.exception("a step of a call failed")
            with self._lock:
                if self._is_shut and not self._batches and not self._runs:
                    break
        _engines.discard(self)
        try:
            self._calls.close()
        finally:
            self._close_own()

    def _next_step(self) -> Callable[[], None]:
        """Waits for what is to be done next; nobody keeps it, since a result must not live until the next one."""
        if not self._timers:
            return self._inbox.get()
        at, function = min(self._timers, key=lambda timer: timer[0])
        try:
            return self._inbox.get(timeout=max(at - time.monotonic(), 0.0))
        except queues.Empty:
            self._timers.remove((at, function))
            return function

    def _close_own(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._coordinator is not None:
            self._coordinator.close()
        if self._temporary is not None:
            self._temporary.close()


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
