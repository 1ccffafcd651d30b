"""Child processes: how a module is started as one, how it lives and ends with its parent, how the two get pipes.

Children are started afresh, never forked: neither LMDB, ZeroMQ nor a thread survives a fork. The parent calls
`start_program` or `start_child`; the module's `main` calls `become_child` first, which returns its arguments, and then
`open_pipes` if it was started by `start_child`. A program is named by its module's own `__name__`, never by a text that
a move of the file would leave behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

PARENT_LOOK_INTERVAL = 0.25
"""Seconds between two looks whether the parent lives."""

END_PATIENCE = 2.0
"""Seconds that a child has to end by itself when its input has ended."""

RESTART_MIN, RESTART_MAX = 0.1, 5.0
"""Seconds before a child is started again that is of no use: doubled with each in a row."""


# In the parent.


def child_environment() -> dict[str, str]:
    """Returns an environment in which a child finds the modules that this process finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}


def start_program(
    module: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a module as a child process.

    Args:
        module: to run, by its name; its `main` begins with `become_child`.
        arguments: that `become_child` returns there.
        stdin: as of `subprocess.Popen`.
        stdout: as of `subprocess.Popen`.
        pass_fds: descriptors that it keeps under their numbers.

    Raises:
        OSError: the system refuses.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, str(os.getpid()), *arguments],
        stdin=stdin,
        stdout=stdout,
        pass_fds=pass_fds,
        env=child_environment(),
    )


def start_child(
    module: str, *arguments: str, stdout: int | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts a module as a child with two pipes, which `open_pipes` opens there.

    Args:
        module: as of `start_program`.
        arguments: behind the one that is for `open_pipes`.
        stdout: descriptor to which the child prints; None: standard error.
        pass_fds: as of `start_program`.

    Raises:
        OSError: the system refuses.
    """
    prints = os.dup(2 if stdout is None else stdout)  # under its own number the child has a pipe
    try:
        return start_program(
            module,
            str(prints),
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(prints, *pass_fds),
        )
    finally:
        os.close(prints)


def end_child(process: subprocess.Popen[bytes], patience: float = END_PATIENCE) -> None:
    """Ends a child of `start_child` by the end of its input, or by force when that does not help.

    Args:
        process: the child; it may have ended.
        patience: seconds before force is used, 0: at once.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    if not patience:
        process.kill()
    try:
        process.stdin.close()
    except OSError:
        pass  # it has died, and what was still to be said was said to nobody
    wait_or_kill(process, patience)
    process.stdout.close()


def wait_or_kill(process: subprocess.Popen[bytes], patience: float) -> None:
    """Waits for the end of a process, and makes it if it does not come within `patience` seconds."""
    try:
        process.wait(max(patience, 0.0))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def restart_pause(failures: int) -> float:
    """Returns the seconds to wait before a child is started again.

    Args:
        failures: how many children in a row were of no use, the last one included; at least 1.
    """
    return min(RESTART_MIN * (1 << min(failures, 10)), RESTART_MAX)


# In the child.


def become_child(folder_at: int | None = None) -> list[str]:
    """Makes this process one that ends with its parent, and returns the arguments that `start_program` was given.

    It ends when the parent has died, whatever it is doing. Ctrl-C it leaves to the parent: a terminal sends it to all.

    Args:
        folder_at: which argument names a folder that is removed then, because nobody else is there to do it.
    """
    parent, arguments = int(sys.argv[1]), sys.argv[2:]
    folder = None if folder_at is None else arguments[folder_at]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent, folder), name="zq-parent", daemon=True).start()
    return arguments


def _end_with(parent: int, folder: str | None) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_INTERVAL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def open_pipes(prints: str) -> tuple[BinaryIO, BinaryIO]:
    """Opens what `start_child` has given to this process: returns what to read from, and what to write to.

    The user's functions and the programs that they start do not get the pipes: they read nothing, and what they print
    goes to another place. SIGTERM is left to the parent, too: the end of the input is what ends such a child.

    Args:
        prints: the first argument of this process, the descriptor to which it prints.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(int(prints), 1)
    os.close(int(prints))
    # It is open for good.
    sys.stdout = open(1, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)  # noqa: SIM115
    return source, target
