"""The main program of a worker process: `python -m patterns.process CONTROL WORKER SECRET PARENT FOLDER`, started by the caller of a direct pipeline."""

from __future__ import annotations

import os
import sys

import zmq

from patterns.childhood import end_with_parent
from patterns.control import Hello
from patterns.session import ControlThread, Session


def main() -> None:
    """Works for one run, then ends."""
    endpoint, worker, secret, parent, folder = sys.argv[1:]
    end_with_parent(int(parent), folder)
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = ControlThread(context, endpoint, Hello(int(worker), secret), is_remote=False)
    Session(context, control, int(worker)).run()
    context.term()


if __name__ == "__main__":
    main()
