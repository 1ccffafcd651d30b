"""The workers of a direct pipeline one by one: what is known of each, and how it is started."""

from __future__ import annotations

import secrets
import subprocess
import threading
from contextvars import copy_context
from dataclasses import dataclass, field

import msgpack
import zmq

from patterns.direct import process
from patterns.direct.control import Arrived, Counts, Target
from patterns.direct.places import Places
from patterns.direct.security import RunKeys, StageCall
from patterns.direct.session import ControlThread, StageSession
from patterns.sockets import Socket
from patterns.work.plan import Node, Plan
from zq.processes.children import start_program
from zq.processes.exits import describe_exit

JOIN = b"join"
"""First frame of what a serving worker is called with, in the place of a head."""


@dataclass(slots=True, eq=False)
class Hired:
    """One worker. `place` is where a serving worker listens; None for processes and threads of this machine."""

    number: int
    node: Node
    index: int
    place: str | None
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None
    route: bytes | None = None
    endpoint: str | None = None
    is_wired: bool = False
    is_dead: bool = False
    failure: str | None = None
    heard_at: float = 0.0
    counts: Counts | None = None
    public: str = ""
    call: StageCall | None = field(default=None, repr=False)

    def target(self) -> Target:
        """Returns where its items go; it must be ready."""
        assert self.endpoint is not None, "a worker that is not ready was to be connected to"
        return Target(self.number, self.node.number, self.index, self.endpoint, self.public)


class Hiring:
    """Starts workers.

    Attributes:
        secret: by which those who say hello show that they were meant.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        plan: Plan,
        places: Places,
        control_endpoint: str,
        keys: RunKeys | None,
        *,
        threads: bool,
    ) -> None:
        """Prepares to start workers.

        Args:
            context: for workers in threads, and for calls to serving workers.
            places: where sockets are bound.
            control_endpoint: where the caller hears workers.
            keys: of the run; None for one without.
            threads: whether workers that serve nowhere are threads, whatever their stage says.
        """
        self.secret = secrets.token_hex(16)
        self._context = context
        self._plan = plan
        self._places = places
        self._control_endpoint = control_endpoint
        self._keys = keys
        self._threads = threads

    def start(self, worker: Hired) -> None:
        """Starts a process or a thread for a worker, or calls the one that serves at its place."""
        if worker.place is not None:
            self._call(worker, worker.place)
        elif self._threads or worker.node.options.threads:
            self._start_thread(worker)
        else:
            self._start_process(worker)

    def _start_process(self, worker: Hired) -> None:
        arguments = (self._control_endpoint, str(worker.number), self._places.folder or "")
        run = "" if self._keys is None else self._keys.run.text()
        worker.process = start_program(process.__name__, *arguments, private=(self.secret, run))

    def _start_thread(self, worker: Hired) -> None:
        hello = Arrived(worker.number, self.secret)
        security = None if self._keys is None else self._keys.security
        control = ControlThread(self._context, self._control_endpoint, hello, is_remote=False, security=security)
        session = StageSession(self._context, control, plan=self._plan, security=security)
        context = copy_context()  # items of a thread have copies of the caller's
        name = f"zq-stage-{worker.node.name}"
        worker.thread = threading.Thread(target=context.run, args=(session.run,), name=name, daemon=True)
        worker.thread.start()

    def _call(self, worker: Hired, place: str) -> None:
        worker.call = StageCall(self._context, place, None if self._keys is None else self._keys.own)
        self.call_again(worker)

    def call_again(self, worker: Hired) -> None:
        """Asks a serving worker to join."""
        assert worker.call is not None
        run = "" if self._keys is None else self._keys.run.text()
        call = [self._control_endpoint, worker.number, self.secret, worker.node.name, self._plan.fingerprint, run]
        worker.call.say([JOIN, msgpack.packb(call)])


def why_not(worker: Hired) -> str:
    """Returns why a worker is of no use, for people."""
    if worker.failure:
        return f"stage {worker.node.name}: a worker cannot work: {worker.failure}"
    code = worker.process.poll() if worker.process is not None else None
    what = (
        f"{describe_exit(code)} before it could take items; its output says why" if code is not None else "fell silent"
    )
    return f"stage {worker.node.name}: a worker {what}"
