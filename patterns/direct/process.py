"""The main program of a worker process, started by the caller of a direct pipeline, or by `zq pipeline serve`.

python -m patterns.direct.process work CONTROL WORKER SECRET PARENT FOLDER
python -m patterns.direct.process serve SPEC STAGE ENDPOINT PARENT
"""

from __future__ import annotations

import os
import sys

import zmq

from patterns.direct.control import Hello
from patterns.direct.session import ControlThread, Session
from patterns.work.childhood import end_with_parent


def main() -> None:
    """Works for one run, then ends."""
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    if sys.argv[1] == "work":
        endpoint, worker, secret, parent, folder = sys.argv[2:]
        work_for(endpoint, Hello(int(worker), secret), int(parent), folder)
    else:
        from patterns.direct.serving import serve_one_run

        spec, stage, endpoint, parent = sys.argv[2:]
        serve_one_run(spec, stage, endpoint, int(parent))


def work_for(endpoint: str, hello: Hello, parent: int, folder: str) -> None:
    """Works for the caller that started this process."""
    end_with_parent(parent, folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = ControlThread(context, endpoint, hello, is_remote=False)
    Session(context, control, hello.worker).run()
    context.term()


if __name__ == "__main__":
    main()
