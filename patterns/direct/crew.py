"""The workers of a direct pipeline, as their caller sees them: started, wired, watched, replaced and stopped.

A thread owns the control socket and looks after the processes, so that workers on other machines hear from the caller
also while its program is busy with a result. The caller's own thread asks for what it wants with the methods here, and
is woken through `wake` when something has changed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import zmq

from patterns.direct.control import (
    CALLER,
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
    Target,
    Unable,
    Wire,
    Wired,
    pack,
    unpack,
)
from patterns.direct.hiring import Hired, Hiring, why_not
from patterns.direct.links import STALL_MAX, set_patient
from patterns.direct.places import Places
from patterns.direct.security import RunKeys
from patterns.errors import StartError
from patterns.sockets import Socket, make_socket, send_now
from patterns.work.plan import SINK, Node, Plan
from zq.processes.bound_address import bind
from zq.processes.children import kill_child, kill_group, wait_or_kill
from zq.processes.wake import Wake

START_TIMEOUT = 60.0
"""Seconds in which a worker must be ready: imports of a large program on a busy machine take many."""

PROBE_INTERVAL = 1.0
"""Seconds between probes in normal times; they are the heartbeats."""

QUICK_PROBE_INTERVAL = 0.02
"""Seconds between the first probes while the caller waits for everything to come to rest; each later interval is
longer, because that may take hours.
"""

PROBE_GROWTH = 1.2

GONE_AFTER = 6.0
"""Seconds of silence after which a worker on another machine is gone. A child process shows by itself that it has
ended.
"""

CALL_INTERVAL = 1.0
"""Seconds between two calls of a worker that serves at an endpoint, until it answers."""

CREW_LOOK_INTERVAL = 0.05
"""Seconds between two looks at the child processes."""

STOP_PATIENCE = 1.0
"""Seconds that workers have to end by themselves before they are killed."""


class Crew:
    """All workers of one run. The methods belong to the caller's thread.

    Attributes:
        wake: rings when something has changed: a death, or a complete round of counts.
        workers: by number; those that are dead stay until they are replaced.
        round: number of the last probe that all living workers have answered, and their answers.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        plan: Plan,
        places: Places,
        endpoints: Mapping[str, Sequence[str]],
        keys: RunKeys | None = None,
        *,
        threads: bool,
    ) -> None:
        """Makes a crew; nobody is started yet.

        Args:
            context: for its sockets, and those of workers in threads.
            places: says where sockets are bound.
            endpoints: by stage, of serving workers on this or other machines, which are called instead of starting any.
            keys: of the run; None for one without.
            threads: whether all other workers are threads, and not only those of stages that say so.
        """
        self.workers: dict[int, Hired] = {}
        self.round: tuple[int, dict[int, Counts]] = (0, {})
        self.tag = secrets.token_bytes(8)
        self.wake = Wake()
        self._own_wake = Wake()
        self._context = context
        self._plan = plan
        self._places = places
        self._endpoints = endpoints
        self._changed = threading.Condition()  # guards all that the thread and the caller share
        self._outbox: deque[tuple[Hired, ControlMessage]] = deque()
        self._dead: list[Hired] = []
        self._hired: list[Hired] = []  # all that ever were, by number
        self._probe = 0
        self._probe_at = 0.0
        self._probe_interval = PROBE_INTERVAL
        self._looked_at = time.monotonic()
        self._is_closing = False
        self._error: Exception | None = None
        self._channel = make_socket(context, zmq.ROUTER)
        set_patient(self._channel)
        if keys is not None:
            keys.security.guard(self._channel)
        control = bind(self._channel, places.place("control"))
        self._hiring = Hiring(context, plan, places, control, keys, threads=threads)
        self._thread = threading.Thread(target=self._run, name="zq-crew", daemon=True)

    # Starting.

    def start(self) -> None:
        """Starts all workers, and waits until each could take items.

        Raises:
            StartError: one cannot.
        """
        for node in self._plan.working:
            endpoints = self._endpoints.get(node.name)
            for index in range(len(endpoints) if endpoints else node.options.workers):
                self._add(node, index, endpoints[index] if endpoints else None)
        self._thread.start()
        self._launch(list(self.workers.values()))

    def wire(self, sink: str, fresh: list[Hired] | None = None) -> None:
        """Tells workers whom to give to and who will give: new ones of everybody, the others of the new ones.

        Args:
            sink: where the caller takes results.
            fresh: those that are new, or None for all.
        """
        living = [worker for worker in self.workers.values() if not worker.is_dead]
        fresh = living if fresh is None else fresh
        for worker in living:
            is_fresh = worker in fresh
            message = self._wiring(worker.node, living if is_fresh else fresh, sink if is_fresh else None)
            if is_fresh or message.senders or message.targets:
                worker.is_wired = False
                self._say(worker, message)

    def _wiring(self, node: Node, others: list[Hired], sink: str | None) -> Wire:
        """Returns who gives to a node and who takes from it, of some workers, and the caller if `sink` says where."""
        followers = self._plan.followers(node.number)
        senders = [one.number for one in others if node.number in self._plan.followers(one.node.number)]
        targets = [one.target() for one in others if one.node.number in followers]
        if sink is not None and node.number in self._plan.followers(SINK):
            senders.append(CALLER)
        if sink is not None and SINK in followers:
            targets.append(Target(CALLER, SINK, 0, sink))
        return Wire(senders, targets)

    def entries(self) -> list[Target]:
        """Returns the workers that the caller gives to."""
        followers = self._plan.followers(SINK)
        return [worker.target() for worker in self.workers.values() if worker.node.number in followers]

    def exits(self) -> set[int]:
        """Returns the numbers of the living workers that give to the caller."""
        return {
            number
            for number, worker in self.workers.items()
            if not worker.is_dead and SINK in self._plan.followers(worker.node.number)
        }

    def wait_wired(self, pump: Callable[[], object], fresh: list[Hired] | None = None) -> None:
        """Waits until every link between the living has carried a first message.

        Args:
            pump: called again and again meanwhile; takes what comes to the caller.
            fresh: those that must not die before, or None for all.

        Raises:
            StartError: one of those died or failed before.
        """

        def is_done() -> bool:
            pump()
            return all(worker.is_wired or worker.is_dead for worker in self.workers.values())

        self._wait(is_done, list(self.workers.values()) if fresh is None else fresh, "be wired")

    def replace(self, dead: list[Hired], sink: str) -> list[Hired]:
        """Starts workers in the places of dead ones, and wires them in; `wait_wired` says when that is done.

        Returns:
            the new ones.

        Raises:
            StartError: one cannot be started.
        """
        with self._changed:
            for worker in dead:
                self.workers.pop(worker.number, None)
            fresh = [self._add(worker.node, worker.index, worker.place) for worker in dead]
        self._launch(fresh)
        self.wire(sink, fresh)
        return fresh

    def _add(self, node: Node, index: int, place: str | None) -> Hired:
        worker = Hired(len(self._hired) + 1, node, index, place)
        self._hired.append(worker)
        self.workers[worker.number] = worker
        return worker

    def _launch(self, workers: list[Hired]) -> None:
        for worker in workers:
            worker.heard_at = time.monotonic()
            self._hiring.start(worker)
        self._wait(lambda: all(worker.endpoint for worker in workers), workers, "start")

    def _wait(self, is_done: Callable[[], bool], workers: list[Hired], what: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        with self._changed:
            while not is_done():
                if self._error is not None:
                    raise self._error
                for worker in workers:
                    if worker.failure or worker.is_dead:
                        raise StartError(why_not(worker))
                if time.monotonic() > deadline:
                    late = next((w for w in workers if not w.endpoint or not w.is_wired), workers[0])
                    where = f" at {late.place}; is it served there?" if late.place else ""
                    raise StartError(
                        f"stage {late.node.name}: a worker did not {what} within {START_TIMEOUT:.0f} s{where}"
                    )
                self._changed.wait(0.02)

    # Watching.

    def take_dead(self) -> list[Hired]:
        """Returns the workers that have died since the last time; all others have been told."""
        with self._changed:
            dead, self._dead = self._dead, []
        return dead

    def hurry(self, *, is_hurried: bool) -> int:
        """Has counts come quickly, or at leisure; returns the number of the last probe that was sent."""
        with self._changed:
            self._probe_interval = QUICK_PROBE_INTERVAL if is_hurried else PROBE_INTERVAL
            if is_hurried:
                self._probe_at = 0.0
        self._own_wake.ring()
        return self._probe

    def flush(self, worker: Hired) -> None:
        """Has a worker give what it holds back."""
        self._say(worker, Flush())

    def forget(self) -> None:
        """Has all workers drop what they hold back."""
        for worker in self.workers.values():
            self._say(worker, Forget())

    def failure(self) -> str | None:
        """Returns why a worker cannot go on, if one has said so.

        Raises:
            Exception: what the crew's own thread has failed with.
        """
        if self._error is not None:
            raise self._error
        return next((why_not(worker) for worker in self.workers.values() if worker.failure), None)

    def _say(self, worker: Hired, message: ControlMessage) -> None:
        with self._changed:
            self._outbox.append((worker, message))
        self._own_wake.ring()

    # Stopping.

    def close(self) -> None:
        """Stops all workers; those that do not end by themselves are killed."""
        if self._is_closing:
            return
        for worker in self.workers.values():
            self._say(worker, Stop())
        deadline = time.monotonic() + STOP_PATIENCE
        processes = [worker.process for worker in self._hired if worker.process is not None]
        for worker in self.workers.values():
            if worker.process is not None and worker.route is None:
                kill_child(worker.process)  # it has not said hello, and hears nothing
        for process in processes:
            wait_or_kill(process, deadline - time.monotonic())
        for worker in self.workers.values():
            if worker.thread is not None:
                worker.thread.join(max(deadline - time.monotonic(), 0.1))
        with self._changed:
            self._is_closing = True
        self._own_wake.ring()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._channel.close(200)
        self.wake.close()
        self._own_wake.close()

    # The thread.

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._channel, zmq.POLLIN)
        poller.register(self._own_wake, zmq.POLLIN)
        try:
            while not self._is_closing or self._outbox:
                patience = min(CREW_LOOK_INTERVAL, max(self._probe_at - time.monotonic(), 0.001))
                if poller.poll(int(patience * 1000) + 1):
                    self._own_wake.clear()
                with self._changed:
                    self._receive()
                    self._look()
                    self._send_probes()
                    self._send()
                    self._changed.notify_all()
        except Exception as error:
            self._error = error  # the caller's thread raises it; without this one it would wait for ever
            self.wake.ring()

    def _send(self) -> None:
        waiting: list[tuple[Hired, ControlMessage]] = []
        while self._outbox:
            worker, message = self._outbox.popleft()
            if worker.is_dead:
                continue
            if worker.route is None:
                if not (self._is_closing or isinstance(message, Stop)):
                    waiting.append((worker, message))  # until it says hello
            else:
                send_now(self._channel, [worker.route, pack(message)])
        self._outbox.extend(waiting)

    def _send_probes(self) -> None:
        now = time.monotonic()
        if now < self._probe_at:
            return
        self._probe_at = now + self._probe_interval
        self._probe_interval = min(self._probe_interval * PROBE_GROWTH, PROBE_INTERVAL)
        living = [worker for worker in self.workers.values() if not worker.is_dead and worker.route is not None]
        is_answered = all(worker.counts is not None and worker.counts.number == self._probe for worker in living)
        if is_answered or self._probe_interval >= PROBE_INTERVAL:
            self._probe += 1
        for worker in living:
            if worker.counts is None or worker.counts.number != self._probe:
                self._outbox.append((worker, Probe(self._probe)))

    def _receive(self) -> None:
        routes = {worker.route: worker for worker in self.workers.values() if worker.route is not None}
        while True:
            try:
                route, *frames = self._channel.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = unpack(frames[0])
            except (ValueError, IndexError):  # nobody of ours
                continue
            worker = routes.get(route)
            if isinstance(message, Arrived):
                worker = self.workers.get(message.worker)
                if worker is None or worker.route is not None or message.secret != self._hiring.secret:
                    continue
                worker.route = route
                routes[route] = worker
                self._outbox.append((worker, self._assignment(worker)))
            if worker is not None:
                worker.heard_at = time.monotonic()
                self._note(worker, message)

    def _assignment(self, worker: Hired) -> Become:
        plan = b"" if worker.thread is not None or worker.place is not None else self._plan.to_wire()
        endpoint = worker.place or self._places.place(f"worker-{worker.number}")
        return Become(worker.node.number, plan, self.tag, endpoint)

    def _note(self, worker: Hired, message: ControlMessage) -> None:
        match message:
            case Ready(endpoint, public):
                worker.public = public
                worker.endpoint = worker.place or endpoint
                if worker.call is not None:
                    worker.call.close()
                    worker.call = None
            case Wired():
                worker.is_wired = True
            case Unable(text):
                worker.failure = text
                self.wake.ring()
            case Counts():
                worker.counts = message
                living = {number: one.counts for number, one in self.workers.items() if not one.is_dead}
                known = {number: one for number, one in living.items() if one is not None and one.number == self._probe}
                if len(known) == len(living) and self.round[0] != self._probe:
                    self.round = (self._probe, known)
                    self.wake.ring()
            case _:
                pass  # hello, which is dealt with, or what only the caller says

    def _look(self) -> None:
        """Finds out who has died."""
        now = time.monotonic()
        is_stalled, self._looked_at = now - self._looked_at > STALL_MAX, now
        for worker in list(self.workers.values()):
            if worker.is_dead:
                continue
            if is_stalled:
                worker.heard_at = now
            if worker.call is not None:
                worker.failure = worker.failure or worker.call.refusal()
            if worker.call is not None and now - worker.heard_at > CALL_INTERVAL:
                worker.heard_at = now
                self._hiring.call_again(worker)  # it may have been in another run, or may not have been there
            is_ended = worker.process is not None and worker.process.poll() is not None
            is_silent = worker.place is not None and worker.route is not None and now - worker.heard_at > GONE_AFTER
            if is_ended or is_silent:
                worker.is_dead = True
                if worker.process is not None:
                    kill_group(worker.process)
                self._dead.append(worker)
                for other in self.workers.values():
                    self._outbox.append((other, Gone(worker.number)))
                self.wake.ring()
