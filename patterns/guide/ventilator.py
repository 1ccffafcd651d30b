"""Ventilator and workers of the guide: numbered tasks are spread over PUSH sockets; `patterns.guide.sink` counts what
comes of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import zmq
from zmq.utils.monitor import recv_monitor_message

from patterns.guide.device import Device
from patterns.guide.sink import END, NUMBER_MAX, RESULT, task_number
from patterns.guide.socket_owner import SocketOwner
from patterns.sockets import Frames, connect, make_socket, pack_number, send_now
from zq import TimedOutError
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.processes.bound_address import BoundAddress, bind
from zq.processes.endpoints import kept_address

logger = logging.getLogger(__name__)

TASKS_HIGH_WATER_MARK = 10
"""Tasks that wait at each end of a worker's connection: what a dying worker takes along, beside the kernel's
buffers.
"""

TASKS_LINGER = 30.0
"""Seconds for which a closing ventilator waits for workers to take the last tasks."""


class Ventilator(SocketOwner):
    """Spreads tasks over workers; one thread uses it, and a context manager closes it.

    Guarantee: a task goes to one worker. Nothing is sent before `wait_workers` if it is called first, so that the first
    worker does not get everything. Together with `Sink`: sent = received + reported missing, exactly.

    Args:
        sink: address of the sink.
        tasks: where workers connect; port `*` takes a free one.

    Attributes:
        tasks: where it was bound.
        sent: how many tasks were sent.

    Raises:
        OSError: the address cannot be bound.
        ValueError: the sink's address cannot be one.
    """

    def __init__(self, *, sink: str, tasks: str = "tcp://127.0.0.1:*") -> None:
        super().__init__()
        self.sent = 0
        self._workers = 0
        with self._opening():
            self._tasks = make_socket(
                self._context, zmq.PUSH, high_water_mark=TASKS_HIGH_WATER_MARK, linger=TASKS_LINGER
            )
            events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
            self._monitor = self._tasks.get_monitor_socket(events)
            self.tasks = bind(self._tasks, tasks)
            self._bound = BoundAddress(self.tasks)
            self._sink = make_socket(self._context, zmq.PUSH, linger=TASKS_LINGER)
            connect(self._sink, sink)

    def wait_workers(self, count: int, timeout: float = 30.0) -> None:
        """Waits until `count` workers are connected, so that they start together.

        Raises:
            TimedOutError: there are fewer after `timeout` seconds.
        """
        stop_at = time.monotonic() + timeout
        while True:
            while self._monitor.poll(0):
                event = recv_monitor_message(self._monitor)["event"]
                self._workers += 1 if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else -1
            if self._workers >= count:
                return
            if not self._monitor.poll(max(0, int((stop_at - time.monotonic()) * 1000))):
                raise TimedOutError(f"expected {count} workers within {timeout:g} s, got {self._workers}")

    def send(self, payload: bytes, timeout: float | None = None) -> int:
        """Sends a task to one of the workers, and returns its number; waits while all of them have enough.

        Args:
            payload: what the worker's handler gets.
            timeout: seconds to wait for a worker that has room; None waits as long as it takes.

        Raises:
            TimedOutError: no worker had room; the task was not sent.
            ValueError: this ventilator has sent as many as a batch may have.
        """
        if self.sent >= NUMBER_MAX:
            raise ValueError(f"expected at most {NUMBER_MAX} tasks in a batch; make another ventilator")
        stop_at = None if timeout is None else time.monotonic() + timeout
        while not send_now(self._tasks, [pack_number(self.sent), payload]):
            patience = None if stop_at is None else max(0, int((stop_at - time.monotonic()) * 1000))
            if not self._tasks.poll(patience, zmq.POLLOUT):
                raise TimedOutError(f"no worker had room for task {self.sent} within {timeout:g} s")
        self.sent += 1
        return self.sent - 1

    def finish(self) -> None:
        """Tells the sink how many tasks there were; call it once."""
        send_now(self._sink, [END, pack_number(self.sent)])  # the first message in this socket has room

    def close(self) -> None:
        """Closes the sockets; waits up to TASKS_LINGER seconds for workers and sink to take what was sent."""
        if not self._tasks.closed:
            self._tasks.disable_monitor()
            super().close()
            self._bound.leave()  # last: until here workers that come late still get what was sent


class VentilatorWorker(Device):
    """Takes tasks from a ventilator and sends results to a sink; one thread does it all.

    A handler that raises is logged and counted, and its task is reported missing by the sink.

    Args:
        tasks: the ventilator's address.
        results: the sink's address.
        handler: gets the payload of a task, returns its result; called in the thread that runs.

    Attributes:
        failures: tasks whose handler raised.
    """

    def __init__(self, tasks: str, results: str, handler: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.failures = 0
        self._addresses = kept_address(tasks), kept_address(results)
        self._handler = handler
        self._result: Frames | None = None  # for which the sink had no room yet

    def _open(self) -> None:
        self._results = self._make(zmq.PUSH, None, TASKS_HIGH_WATER_MARK)
        connect(self._results, self._addresses[1])
        self._tasks = self._make(zmq.PULL, self._work, TASKS_HIGH_WATER_MARK)
        connect(self._tasks, self._addresses[0])

    def _work(self, frames: Frames) -> None:
        number, payload = frames if len(frames) == 2 else (b"", b"")
        task_number(number)
        try:
            self._result = [RESULT, number, self._handler(payload)]
        except BaseException as error:  # whatever it is, it ends no more than this task
            self.failures += 1
            trace = trace_of(error, LOGGED_BYTES_MAX)
            logger.error("the handler failed; the sink will report task %d as missing\n%s", task_number(number), trace)
        self._tick(time.monotonic())

    def _tick(self, now: float) -> float:
        if self._result is not None and send_now(self._results, self._result):
            self._result = None
        self._listen(self._results, self._result is not None)
        self._listen(self._tasks, self._result is None)
        return super()._tick(now)
