"""The main program of a worker process that the caller of a direct pipeline starts.

Its arguments are CONTROL WORKER SECRET FOLDER.
"""

from __future__ import annotations

import os

import zmq

from patterns.direct.control import Arrived
from patterns.direct.session import ControlThread, StageSession
from zq.processes.birth import become_child


def main() -> None:
    """Works for one run, then ends."""
    endpoint, worker, secret, _ = become_child(folder_at=3)
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = ControlThread(context, endpoint, Arrived(int(worker), secret), is_remote=False)
    StageSession(context, control).run()
    context.term()
