"""The main program of a worker process that the caller of a direct pipeline starts.

Its arguments are CONTROL WORKER FOLDER SECRET KEY, of which the last is the key of the run, or empty.
"""

from __future__ import annotations

import os

import zmq

from patterns.direct.control import Arrived
from patterns.direct.security import Security
from patterns.direct.session import ControlThread, StageSession
from zq.keys.key import Key
from zq.processes.birth import become_child


def main() -> None:
    """Works for one run, then ends."""
    endpoint, worker, _, secret, key = become_child(folder_at=2)
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    security = Security(context, Key.parse(key)) if key else None
    control = ControlThread(context, endpoint, Arrived(int(worker), secret), is_remote=False, security=security)
    StageSession(context, control, security=security).run()
    if security is not None:
        security.close()
    context.term()
