"""What is durable about the Majordomo broker: requests are tasks, services are queues, a worker at work is a lease.

An event loop in a thread of its own runs one short coroutine for each request that waits for its result, and one for
each worker, which reads like the life of that worker: pull, hand over, hold the lease, settle, again. The broker's
thread calls `submit`, `hire`, `replied`, `dismiss` and `look_up`; answers go back to it through `post`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgpack

from patterns.sockets import Frames
from zq import (
    AsyncClient,
    AsyncPulledTask,
    AsyncReceipt,
    ClosedError,
    PayloadTooLargeError,
    StaleLeaseError,
    TaskError,
    TimedOutError,
    ZqError,
)

logger = logging.getLogger(__name__)

PULL_WAIT = 20.0
"""Seconds of one pull; it is asked again as long as the worker is there."""

PAUSE = 1.0
"""Seconds before a pull that the coordinator did not answer is tried again."""

CLOSE_TIMEOUT = 3.0
"""Seconds for giving leases back when the broker stops; later they run out by themselves."""

Post = Callable[[Callable[[], None]], None]


class MajordomoWorker:
    """A worker of a service, from its READY on."""

    __slots__ = ("address", "life", "lost_because", "reply", "service", "task_id")

    def __init__(self, address: bytes, service: str) -> None:
        self.address = address
        self.service = service
        self.task_id: bytes | None = None  # in hand; the broker's thread alone touches it
        self.life: asyncio.Task[None] | None = None  # these three belong to the event loop
        self.reply: asyncio.Future[Frames] | None = None
        self.lost_because: str | None = None


class MajordomoServices:
    """The coordinator's queues as services; made and used by a `MajordomoBroker`.

    Attributes:
        completed: replies of workers that completed a task.
        stale: replies that came after the lease was lost; another worker has the task, or had it.
        refused: requests that were not stored: the coordinator was busy, unreachable, or said no.
        failed: requests that ended without a result (dead letter, cancelled); MDP has no reply for that.
        expired: requests that were cancelled because their service had no workers.
    """

    def __init__(self, post: Post, lease: float, request_ttl: float | None) -> None:
        self.completed = self.stale = self.refused = self.failed = self.expired = 0
        self._post = post
        self._lease = lease
        self._request_ttl = request_ttl
        self._lives: set[asyncio.Task[None]] = set()  # requests and workers
        self._completions: set[asyncio.Task[None]] = set()  # go on when their worker has left
        self._workers: Counter[str] = Counter()  # by service
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._client: AsyncClient

    # The broker's thread.

    def open(self, address: str | None) -> None:
        """Connects to the coordinator; raises ValueError for what can be no address."""
        self._client = AsyncClient(address, name="majordomo")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="zq-majordomo-services", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives leases back, and ends."""
        self._call(self._loop.stop)
        self._thread.join()

    def submit(self, service: str, body: Frames, reply: Callable[[Frames], None], ended: Callable[[], None]) -> None:
        """Makes a request a task; its result goes to `reply`, and `ended` comes in any case."""
        self._start(self._request(service, body, reply, ended))

    def hire(self, worker: MajordomoWorker, give: Callable[[bytes, Frames], None]) -> None:
        """Pulls tasks for a worker from now on, one at a time, and hands them to `give`."""

        def start() -> None:
            self._workers[worker.service] += 1
            worker.life = self._start_in_loop(self._serve(worker, give), self._lives)

        self._call(start)

    def replied(self, worker: MajordomoWorker, body: Frames) -> None:
        """The worker has replied to what it holds."""

        def resolve() -> None:
            if worker.reply is not None and not worker.reply.done():
                worker.reply.set_result(body)

        self._call(resolve)

    def dismiss(self, worker: MajordomoWorker, lost_because: str | None) -> None:
        """The worker is gone: what it holds goes back; None: it said goodbye, so that no attempt is charged."""

        def cancel() -> None:
            worker.lost_because = lost_because
            self._workers[worker.service] -= 1
            if worker.life is not None:
                worker.life.cancel()

        self._call(cancel)

    def look_up(self, service: str, reply: Callable[[Frames], None]) -> None:
        """Answers mmi.service: 200 when a worker of MDP or of zq serves it, else 404."""

        async def answer() -> None:
            try:
                code = b"200" if await self._has_workers(service) else b"404"
            except ZqError:
                code = b"404"  # a coordinator that does not answer serves nothing
            self._post(partial(reply, [code]))

        self._start(answer())

    def _call(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _start(self, steps: Coroutine[Any, Any, None]) -> None:
        self._loop.call_soon_threadsafe(self._start_in_loop, steps, self._lives)

    # The event loop.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._finish())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _finish(self) -> None:
        for life in self._lives:
            if not life.cancelling():  # a worker that was dismissed gives back what it held: that is not cut short
                life.cancel()
        if rest := self._lives | self._completions:
            await asyncio.wait(rest, timeout=CLOSE_TIMEOUT)
        await self._client.close()  # what still waits ends with ClosedError
        if rest := self._lives | self._completions:
            await asyncio.wait(rest)

    def _start_in_loop(self, steps: Coroutine[Any, Any, None], group: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        life = self._loop.create_task(steps)
        group.add(life)
        life.add_done_callback(self._forget)
        return life

    def _forget(self, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        self._completions.discard(life)
        if not life.cancelled() and life.exception() is not None:
            logger.error("a request or worker of a service ended unexpectedly", exc_info=life.exception())

    async def _has_workers(self, service: str) -> bool:
        if self._workers[service] > 0:
            return True
        return any(one.name == service and one.workers for one in await self._client.queues.list())

    # A request.

    async def _request(
        self, service: str, body: Frames, reply: Callable[[Frames], None], ended: Callable[[], None]
    ) -> None:
        try:
            receipt = await self._client.submit(service, body)
        except (ZqError, ValueError) as error:
            self.refused += 1
            logger.warning("a request for %r was not stored: %s", service, error)
        else:
            await self._wait_result(receipt, service, reply)
        finally:
            self._post(ended)

    async def _wait_result(self, receipt: AsyncReceipt, service: str, reply: Callable[[Frames], None]) -> None:
        while True:
            try:
                result = await receipt.result(self._request_ttl)
            except TimedOutError:
                if await self._expire(receipt, service):
                    return
            except ClosedError:
                return  # the broker stops; the task stays
            except TaskError as error:
                self.failed += 1
                logger.warning("a request for %r has no reply: %s", service, error)
                return
            else:
                self._post(partial(reply, frames_of(result)))
                return

    async def _expire(self, receipt: AsyncReceipt, service: str) -> bool:
        """Cancels a request for which nobody is there, as RFC 7 asks; returns whether it did."""
        try:
            if await self._has_workers(service) or (await receipt.status()).state == "leased":
                return False
            is_expired = await receipt.cancel()
        except TimedOutError:
            return False
        self.expired += is_expired
        return is_expired

    # A worker.

    async def _serve(self, worker: MajordomoWorker, give: Callable[[bytes, Frames], None]) -> None:
        while True:
            try:
                tasks = await self._client.pull(worker.service, wait=PULL_WAIT, lease=self._lease)
            except TimedOutError as error:
                logger.warning("no tasks for service %r: %s; it is tried again", worker.service, error)
                await asyncio.sleep(PAUSE)
                continue
            except ClosedError:
                return
            for task in tasks:
                await self._serve_task(worker, task, give)

    async def _serve_task(
        self, worker: MajordomoWorker, task: AsyncPulledTask, give: Callable[[bytes, Frames], None]
    ) -> None:
        worker.reply = reply = self._loop.create_future()
        self._post(partial(give, task.id.encode(), frames_of(task.payload)))
        try:
            await self._hold(task, reply)
        except asyncio.CancelledError:
            if reply.done():  # it has replied and left at once
                self._start_completion(task, reply.result())
            else:
                await self._give_back(task, worker.lost_because)
            raise
        await asyncio.shield(self._start_completion(task, reply.result()))

    def _start_completion(self, task: AsyncPulledTask, body: Frames) -> asyncio.Task[None]:
        """Completes a task, whatever becomes of its worker: who has replied may leave."""
        return self._start_in_loop(self._complete(task, body), self._completions)

    async def _hold(self, task: AsyncPulledTask, reply: asyncio.Future[Frames]) -> None:
        """Prolongs the lease until the worker has replied."""
        while not (await asyncio.wait({reply}, timeout=self._lease / 3))[0]:
            try:
                await task.extend(self._lease)
            except StaleLeaseError as error:
                logger.info("%s; the worker's reply will be too late", error)
            except TimedOutError as error:
                logger.warning("the lease of task %s could not be prolonged: %s; it is tried again", task.id, error)

    async def _complete(self, task: AsyncPulledTask, body: Frames) -> None:
        while True:
            try:
                await task.done(body)
                self.completed += 1
            except TimedOutError:
                continue  # unknown whether it was stored: the same again is accepted once
            except StaleLeaseError:
                self.stale += 1
            except (PayloadTooLargeError, TypeError) as error:
                await self._give_back(task, f"{type(error).__name__}: {error}", is_final=True)  # it would end alike
            except ClosedError:
                pass  # the broker stops, and the coordinator has not answered for seconds: the lease runs out
            return

    async def _give_back(self, task: AsyncPulledTask, lost_because: str | None, *, is_final: bool = False) -> None:
        try:
            if lost_because is None:
                await task.release()
            else:
                # charged: a request may be what kills its workers
                await task.fail(lost_because, retry_in=0.0, is_final=is_final)
        except ZqError as error:
            logger.info("task %s was not given back: %s; its lease runs out", task.id, error)


def frames_of(value: Any) -> Frames:
    """Returns a payload or result as frames: bytes, and lists of them, as they are; anything else as msgpack."""
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, list) and value and all(isinstance(frame, bytes) for frame in value):
        return value
    return [b""] if value is None else [msgpack.packb(value)]
