"""Ends what tests have started when they are killed: a process that outlives them, and looks for theirs.

Tests end their processes themselves, also when they fail. Who kills them, for they take too long, say, leaves
coordinators and workers behind, which are known by a variable in their environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

OF_TESTS = "ZQ_OF_TESTS"
"""The variable that names whose processes they are."""

PROGRAM = """
import os, signal, sys
if os.fork():  # it is nobody's child, so that no test counts it as its own
    os._exit(0)
sys.stdin.buffer.read()  # until whoever has the other end is gone
mark = sys.argv[1].encode()
for name in filter(str.isdecimal, os.listdir("/proc")):
    try:
        with open(f"/proc/{name}/environ", "rb") as file:
            if mark in file.read().split(b"\\0"):
                os.kill(int(name), signal.SIGKILL)
    except OSError:  # it has ended, or is another's
        pass
"""


def start_guardian() -> None:
    """Has all that this process starts from now on end with it, where the system tells what environments are."""
    if sys.platform != "linux":
        return
    mark = f"{OF_TESTS}={uuid.uuid4().hex}"
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, mark]
    guardian = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    guardian.wait()
    assert guardian.stdin is not None
    os.dup(guardian.stdin.fileno())  # open as long as this process is, whatever becomes of the object
    guardian.stdin.close()
    os.environ[OF_TESTS] = mark.partition("=")[2]
