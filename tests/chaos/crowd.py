"""Many workers in one process, of a thread each: `python -m tests.chaos.crowd NAME COUNT`."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack

import zq
from tests.chaos.shop import worker as model


def main(name: str, count: int) -> None:
    """Runs them until SIGTERM."""
    over = threading.Lock()
    over.acquire()
    signal.signal(signal.SIGTERM, lambda *_: over.release())
    with ExitStack() as running:
        for number in range(count):
            one = zq.Worker(name=f"{name}-{number}", concurrency=1)
            one.handlers.update(model.handlers)
            running.enter_context(one)
        over.acquire()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
