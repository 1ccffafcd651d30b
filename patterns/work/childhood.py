"""What all child processes of pipelines share: how they find the same modules, and how they end with their parent.

Children are started afresh, never forked: no socket and no thread survives a fork.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time

PARENT_LOOK_INTERVAL = 0.25
"""Seconds between two looks whether the parent lives."""


def child_environment() -> dict[str, str]:
    """Returns an environment in which a child finds the modules that this process finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}


def end_with_parent(parent: int, folder: str | None = None) -> None:
    """Has this process end when its parent has died, whatever it is doing; Ctrl-C and SIGTERM it leaves to the parent.

    Args:
        parent: process id.
        folder: with sockets, removed then, because nobody else is there to do it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    threading.Thread(target=_watch, args=(parent, folder), name="zq-parent", daemon=True).start()


def _watch(parent: int, folder: str | None) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_INTERVAL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
