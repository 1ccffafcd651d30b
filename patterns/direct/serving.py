"""Workers of direct pipelines that wait at an endpoint to be called: how stages run on other machines.

A supervisor keeps one process for each endpoint. A process serves one run and ends, so that nothing of a run, a hanging
function included, is left for the next one; the supervisor starts it again. Who reaches the endpoint, and has a key
that it admits when it is served with one, can have the stage's function called with items of its own, and nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import FrameType

import msgpack
import zmq

from patterns.direct.control import Arrived, Unable
from patterns.direct.hiring import JOIN
from patterns.direct.links import Intake
from patterns.direct.places import split_endpoint
from patterns.direct.security import STAGE_DOMAIN, Security
from patterns.direct.session import ControlThread, StageSession
from patterns.pipeline.pipeline import load_pipeline
from zq.keys.key import Key
from zq.processes.birth import become_child
from zq.processes.bound_address import bind
from zq.processes.children import restart_pause, start_program, wait_or_kill
from zq.processes.exits import UNABLE
from zq.processes.forks import close_sockets_of, drop_in_forks
from zq.processes.logs import configure_log_as_parent
from zq.processes.references import StartedOnImportError
from zq.processes.shown import say
from zq.processes.wake import SignalFlag

LONG_RUN = 1.0
"""Seconds after which a process that ended is no sign of trouble."""

SIGNAL_LOOK_INTERVAL = 0.5
"""Seconds after which a signal is noticed at the latest."""


class StageServer:
    """Keeps workers at endpoints."""

    def __init__(self, spec: str, stage: str, endpoints: Sequence[str], key: Key | None = None) -> None:
        """Makes a server; nothing is started yet.

        Args:
            spec: of the pipeline, `module:attribute` or `file.py:attribute`.
            stage: name of the stage.
            endpoints: tcp://host:port, each for one worker.
            key: without which nobody can call them, see `patterns.direct.security`; None: everybody can.

        Raises:
            ValueError: there is no such pipeline or stage, or an endpoint has no port.
        """
        load_pipeline(spec).plan().node_named(stage)
        for endpoint in endpoints:
            split_endpoint(endpoint)
        self._commands = [[spec, stage, endpoint] for endpoint in endpoints]
        self._private = ["" if key is None else key.text()]
        self._stopped = threading.Event()
        self._asked = SignalFlag()

    def run(self) -> None:
        """Serves until SIGTERM or Ctrl-C, or `stop`."""
        threads = [threading.Thread(target=self._keep, args=(command,), name="zq-serve") for command in self._commands]
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                # A signal that another thread got does not wake a thread that waits for good.
                if self._asked.wait(SIGNAL_LOOK_INTERVAL):
                    break
        finally:
            self.stop()
            for thread in filter(threading.Thread.is_alive, threads):
                thread.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Ends serving; runs that use the workers lose what they hold."""
        self._asked.set()
        self._stopped.set()

    # It has the signature of signal handlers.
    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._asked.set()

    def _keep(self, command: list[str]) -> None:
        """Keeps one process running."""
        failures = 0
        while not self._stopped.is_set():
            began_at = time.monotonic()
            process = start_program(__name__, *command, private=self._private)
            while process.poll() is None and not self._stopped.wait(0.05):
                pass
            wait_or_kill(process, 0.0)
            is_fine = process.wait() == 0 or time.monotonic() - began_at > LONG_RUN
            failures = 0 if is_fine else failures + 1
            if failures:
                self._stopped.wait(restart_pause(failures))


# In a process that serves.


def main() -> None:
    """Waits to be called, and works for one run. The arguments are SPEC STAGE ENDPOINT KEY."""
    spec, stage, endpoint, text = become_child()
    os.dup2(2, 1)  # what stages print goes to stderr, as in all workers
    try:
        plan = load_pipeline(spec).plan()
        node = plan.node_named(stage)
    except (ValueError, StartedOnImportError) as error:  # it was there when the supervisor started
        say(f"zq pipeline serve: stage {stage} cannot work: {error}")
        sys.exit(UNABLE)
    configure_log_as_parent()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    intake = Intake(context)
    key = Key.parse(text) if text else None
    security = None if key is None else Security(context, None, key)
    if key is not None:
        key.guard(intake.socket, STAGE_DOMAIN)
    drop_in_forks(partial(close_sockets_of, bind(intake.socket, endpoint)))  # or what a stage forks keeps the port
    say(f"zq pipeline serve: stage {stage} at {endpoint}")
    control_endpoint, worker, secret, name, fingerprint = _wait_call(intake.socket, security)
    control = ControlThread(context, control_endpoint, Arrived(worker, secret), is_remote=True, security=security)
    if name != stage or fingerprint != plan.fingerprint:
        what = f"stage {stage} is served here" if name != stage else "another version of the pipeline is served here"
        control.say(Unable(f"{what}, at {endpoint}; serve the same pipeline that is run"))
        control.start()
        control.stopped.wait(5.0)
        control.end()
        intake.socket.close(0)
    else:
        threading.Thread(target=_end_when_stopped, args=(control,), daemon=True).start()
        StageSession(context, control, plan=plan, intake=intake, node=node.number, security=security).run()
    if security is not None:
        security.close()
    context.term()


def _wait_call(pull: zmq.Socket[bytes], security: Security | None) -> tuple[str, int, str, str, str]:
    while True:
        frames = pull.recv_multipart()
        if len(frames) != 2 or frames[0] != JOIN:
            continue  # items of a run that is over
        try:
            control_endpoint, worker, secret, name, fingerprint, run = msgpack.unpackb(frames[1])
            if security is not None:
                security.begin(Key.parse(run))
            return str(control_endpoint), int(worker), str(secret), str(name), str(fingerprint)
        except (ValueError, TypeError, msgpack.UnpackException):  # not from a caller of ours
            continue


def _end_when_stopped(control: ControlThread) -> None:
    """Ends this process soon after its run is over, also when its function does not return."""
    control.stopped.wait()
    time.sleep(1.0)
    os._exit(0)
