"""A worker of a direct pipeline, from hello to stop: what runs in a child process, in a thread, or on another machine.

Two threads. The control thread owns the control socket: it answers probes at once, whatever the user's function does,
and notices that the caller is silent. The worker's own thread owns the sockets for items and calls the function. They
share an inbox, an outbox and the counts, under one lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

import zmq

from patterns.direct.control import (
    Arrived,
    Become,
    ControlMessage,
    Counts,
    Flush,
    Forget,
    Gone,
    Probe,
    Ready,
    Stop,
    Unable,
    Wire,
    Wired,
    pack,
    unpack,
)
from patterns.direct.links import STALL_MAX, Intake, Links, set_patient
from patterns.direct.security import Security
from patterns.sockets import MESSAGE_BYTES_MAX, Socket, connect, make_socket, send_now
from patterns.work.calls import WORDS_BYTES_MAX, RemoteCallError
from patterns.work.execution import Execution
from patterns.work.items import UNSENDABLE, ItemChunk, Sent, decode, size_of, weight_of
from patterns.work.plan import Plan
from patterns.work.salvage import salvage
from zq.handling.raised import summary_of, trace_of
from zq.processes.bound_address import bind
from zq.processes.logs import configure_log_as_parent
from zq.processes.references import ModuleFailedError, StartedOnImportError
from zq.processes.wake import Wake

logger = logging.getLogger(__name__)

CALLER_SILENCE_MAX = 10.0
"""Seconds without a word of the caller after which a worker on another machine gives up; it is probed every second."""

LOOK_MILLISECONDS = 500
"""Milliseconds between two looks at the clock while nothing comes."""

COUNT_INTERVAL = 0.1
"""Seconds after which the counts of a worker that never rests are set anew."""


class ControlThread(threading.Thread):
    """The control channel of one worker.

    Attributes:
        hello: what it says first: which worker this is.
        wake: rings when the caller has said something, or the run is over.
        stopped: set when the run is over, by the caller's word or by its silence.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        endpoint: str,
        hello: Arrived,
        *,
        is_remote: bool,
        security: Security | None = None,
    ) -> None:
        super().__init__(name=f"zq-control-{hello.worker}", daemon=True)
        self.stopped = threading.Event()
        self._context = context
        self._endpoint = endpoint
        self.hello = hello
        self._is_remote = is_remote
        self._security = security
        self._lock = threading.Lock()  # guards the four below
        self._inbox: deque[ControlMessage] = deque()
        self._outbox: deque[ControlMessage] = deque([hello])
        self._counts = Counts(0, False, False, {}, {}, 0, 0.0)
        self._is_over = False
        self.wake = Wake()
        self._own_wake = Wake()

    # The worker's thread.

    def take(self) -> ControlMessage | None:
        """Returns what the caller said, one at a time."""
        with self._lock:
            return self._inbox.popleft() if self._inbox else None

    def say(self, message: ControlMessage) -> None:
        """Tells the caller something."""
        with self._lock:
            self._outbox.append(message)
        self._own_wake.ring()

    def count(self, counts: Counts) -> None:
        """Sets what the next probe is answered with."""
        self._counts = counts

    def end(self) -> None:
        """Sends what is left to say, and closes the channel."""
        with self._lock:
            self._is_over = True
        self._own_wake.ring()
        self.join(2.0)
        self.wake.close()
        self._own_wake.close()

    # Its own.

    def run(self) -> None:
        channel = make_socket(self._context, zmq.DEALER)
        set_patient(channel)
        if self._security is not None:
            self._security.secure(channel)
        poller = zmq.Poller()
        poller.register(channel, zmq.POLLIN)
        poller.register(self._own_wake, zmq.POLLIN)
        heard_at = looked_at = time.monotonic()
        try:
            connect(channel, self._endpoint)
            while not self._is_over or self._outbox:
                self._send(channel)
                if poller.poll(LOOK_MILLISECONDS):
                    self._own_wake.clear()
                now = time.monotonic()
                if self._receive(channel) or now - looked_at > STALL_MAX:
                    heard_at = now
                looked_at = now
                if self._is_remote and now - heard_at > CALLER_SILENCE_MAX:
                    self._stop()
        except (zmq.ZMQError, ValueError):
            logger.exception("worker %d has no channel to its caller at %s", self.hello.worker, self._endpoint)
        finally:
            channel.close(500)
            self._stop()  # without its channel nobody tells it when to end

    def _send(self, channel: Socket) -> None:
        while True:
            with self._lock:
                if not self._outbox:
                    return
                message = self._outbox.popleft()
            send_now(channel, [pack(message)])

    def _receive(self, channel: Socket) -> bool:
        is_heard = False
        while True:
            try:
                message = unpack(channel.recv(zmq.NOBLOCK))
            except zmq.Again:
                return is_heard
            except ValueError:  # not from a caller of ours
                continue
            is_heard = True
            if isinstance(message, Probe):
                send_now(channel, [pack(self._counts._replace(number=message.number))])
            elif isinstance(message, Stop):
                self._stop()
            else:
                with self._lock:
                    self._inbox.append(message)
                self.wake.ring()

    def _stop(self) -> None:
        self.stopped.set()
        self.wake.ring()


class StageSession:
    """One worker in one run. Call `run` once, from the thread that is to work."""

    def __init__(
        self,
        context: zmq.Context[Socket],
        control: ControlThread,
        *,
        plan: Plan | None = None,
        intake: Intake | None = None,
        node: int | None = None,
        security: Security | None = None,
    ) -> None:
        """Makes a worker.

        Args:
            context: for its sockets.
            control: its channel to the caller, not started yet.
            plan: the caller's own, for a thread of its process; None: it is told.
            intake: bound already, for a worker that serves an endpoint; None: it binds what it is told.
            node: what such a worker serves; None: it is told.
            security: of its sockets; None leaves them open.
        """
        self._context = context
        self._control = control
        self._plan = plan
        self._served = intake
        self._security = security
        self._node = node
        self._items = 0
        self._seconds = 0.0
        self._counted_at = 0.0
        self._senders: set[int] = set()
        self._is_wiring = False  # whether the caller waits for the first message of everyone who will give
        self._execution: Execution
        self._links: Links
        self._poller = zmq.Poller()

    def run(self) -> None:
        """Works until the run is over. What goes wrong is told to the caller."""
        self._intake = self._served or Intake(self._context)
        self._control.start()
        self._poller.register(self._control.wake, zmq.POLLIN)
        try:
            assign = self._wait_assign()
            if assign is not None:
                self._prepare(assign)
                self._work()
        except (
            ModuleFailedError,
            StartedOnImportError,
            RemoteCallError,
        ) as error:  # the text is for who wrote the module
            self._say_unable(str(error))
        except BaseException as error:  # nobody else is told, in a thread
            self._say_unable(f"{summary_of(error, WORDS_BYTES_MAX)}\n{trace_of(error, WORDS_BYTES_MAX)}")
        finally:
            self._close()

    def _say_unable(self, text: str) -> None:
        self._control.say(Unable(text))
        self._control.stopped.wait(5.0)  # the caller reads it and says stop

    def _wait_assign(self) -> Become | None:
        while not self._control.stopped.is_set():
            message = self._control.take()
            if isinstance(message, Become):
                return message
            self._poller.poll()
            self._control.wake.clear()
        return None

    def _prepare(self, assign: Become) -> None:
        """Imports the function and binds the socket, and says so."""
        plan = self._plan if self._plan is not None else Plan.from_wire(assign.plan)
        self._intake.tag = assign.tag
        if self._node not in (None, assign.node):
            raise ValueError(f"node {self._node} is served here, and node {assign.node} was asked for")
        self._execution = Execution(plan, assign.node, self._pause, self._control.stopped.is_set)
        self._execution.begin()
        configure_log_as_parent()
        self._links = Links(self._context, self._control.hello.worker, assign.tag, plan, self._security)
        endpoint = assign.endpoint
        if self._served is None:
            if self._security is not None:
                self._security.guard(self._intake.socket)
            endpoint = bind(self._intake.socket, assign.endpoint)
        self._poller.register(self._intake.socket, zmq.POLLIN)
        own = None if self._security is None else self._security.own
        self._control.say(Ready(endpoint, "" if own is None else own.public))

    def _pause(self, seconds: float) -> None:
        self._control.stopped.wait(seconds)

    def _work(self) -> None:
        while not self._control.stopped.is_set():
            self._obey()
            message = self._intake.take()
            if message is None:
                self._rest()
            elif message[1]:
                self._take(message[1])
            else:
                self._check_wired()

    def _rest(self) -> None:
        """Waits for something to do."""
        now = time.monotonic()
        next_at = self._execution.next_at()
        if next_at <= now:
            self._give(self._execution.tick(now), 0.0, 0)
            return
        self._count(is_idle=True)
        self._poller.poll(None if next_at == float("inf") else max(1, int((next_at - now) * 1000)))
        self._control.wake.clear()
        self._count(is_idle=False)

    def _take(self, frame: bytes) -> None:
        """Has a chunk worked on, and sends on what comes of it."""
        _, chunk, cost = decode(frame)
        size = size_of(chunk)
        began_at = time.monotonic()
        sent = self._execution.receive(began_at, chunk)
        seconds = time.monotonic() - began_at
        self._items += size
        self._seconds += seconds
        self._give(sent, max(cost, seconds / weight_of(chunk)), size, chunk)
        if began_at - self._counted_at > COUNT_INTERVAL:
            self._count(is_idle=False)

    def _give(self, sent: list[Sent], cost: float, came: int, chunk: ItemChunk | None = None) -> None:
        """Sends chunks on, for as long as that takes."""
        if not sent:
            return
        try:
            self._links.put(sent, cost, came)
        except UNSENDABLE:
            self._links.put(salvage(self._execution.node, sent, chunk, MESSAGE_BYTES_MAX), cost, came)
        while not self._links.pump() and not self._control.stopped.is_set():
            self._count(is_idle=False)
            poller = zmq.Poller()
            poller.register(self._control.wake, zmq.POLLIN)
            for socket in self._links.blocked():
                poller.register(socket, zmq.POLLOUT)
            poller.poll()
            self._control.wake.clear()
            self._obey()

    def _obey(self) -> None:
        """Does what the caller said."""
        while (message := self._control.take()) is not None:
            match message:
                case Wire(senders, targets):
                    self._senders.update(senders)
                    for target in targets:
                        self._links.connect(target)
                    self._is_wiring = True
                    self._check_wired()
                case Gone(worker):
                    self._links.drop(worker)
                    self._senders.discard(worker)
                    self._check_wired()
                case Flush():
                    self._give(self._execution.flush(), 0.0, 0)
                case Forget():
                    self._execution.forget()
                case _:
                    pass  # what a worker says, or an assignment after the first: not for us
            self._count(is_idle=False)

    def _check_wired(self) -> None:
        if self._is_wiring and self._senders <= self._intake.opened:
            self._is_wiring = False
            self._control.say(Wired())

    def _count(self, *, is_idle: bool) -> None:
        self._counted_at = time.monotonic()
        holding = self._execution.is_holding
        idle = is_idle and not self._links.has_unsent
        counts = Counts(0, idle, holding, dict(self._intake.received), self._links.sent, self._items, self._seconds)
        self._control.count(counts)

    def _close(self) -> None:
        if hasattr(self, "_execution"):
            self._execution.close()
            self._links.close()
        self._intake.socket.close(0)
        self._control.end()
