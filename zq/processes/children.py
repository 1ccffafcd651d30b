"""Child processes: how a module is started as one, how it ends with its parent and with all that it started.

Children are started afresh, never forked: neither LMDB, ZeroMQ nor a thread survives a fork. The parent calls
`start_program` or `start_child`; the module's `main` calls `become_child` of `zq.processes.birth` first, which returns
its arguments, and then `open_pipes` if it was started by `start_child`. A program is named by its module's own
`__name__`, never by a text that a move of the file would leave behind.

Each child has a process group of its own, with its number, which is ended with it: SIGTERM for what it started, and
SIGKILL for what that does not end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

from zq.processes.birth import BOOTSTRAP, GROUP_PATIENCE, birth_sheet
from zq.processes.copies import silence, watch
from zq.processes.frames import GOODBYE, write_frame

END_PATIENCE = 2.0
"""Seconds that a child has to end by itself when its input has ended."""

GROUP_LOOK_INTERVAL = 0.01
"""Seconds between two looks whether what a child has started has ended."""

RESTART_MIN, RESTART_MAX = 0.1, 5.0
"""Seconds before a child is started again that is of no use: doubled with each in a row."""


def start_program(
    module: str,
    *arguments: str,
    private: Sequence[str] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a module as a child process.

    Args:
        module: to run, by its name; its `main` begins with `become_child`.
        arguments: that `become_child` returns there; all users of the machine can see them.
        private: the same, behind them, and nobody can.
        stdin: as of `subprocess.Popen`.
        stdout: as of `subprocess.Popen`.
        stderr: as of `subprocess.Popen`.
        pass_fds: descriptors that it keeps under their numbers.
        environment: its own; None: that of this process.

    Raises:
        OSError: the system refuses.
    """
    with tempfile.TemporaryFile("w+") as sheet:
        json.dump({**birth_sheet(), "private": list(private)}, sheet, default=str)
        sheet.seek(0)
        place = sheet.fileno()
        process = subprocess.Popen(
            [sys.executable, *interpreter_flags(), "-c", BOOTSTRAP, module, str(os.getpid()), str(place), *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL
            if stderr is None and sys.__stderr__ is None
            else stderr,  # else it would be the first file that it opens
            pass_fds=(place, *pass_fds),
            env=environment,
            start_new_session=True,
        )
    _pipes.add(process)
    return process


def interpreter_flags() -> list[str]:
    """Returns the options with which this interpreter was started, for another one."""
    # What multiprocessing starts its interpreters with; there is no public name for it.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # noqa: SLF001
    named = {flag.partition("=")[0] for flag, option in zip(flags[1:], flags, strict=False) if option == "-X"}
    for name, value in sys._xoptions.items():  # noqa: SLF001 - it is documented
        if name not in named:
            flags += ["-X", name if value is True else f"{name}={value}"]
    return flags


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
    prints = _printing(2 if stdout is None else stdout)  # under its own number the child has a pipe
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


def _printing(descriptor: int) -> int:
    """Returns a descriptor of where another one prints; of nowhere, if this process was started without that one."""
    if {1: sys.__stdout__, 2: sys.__stderr__}.get(descriptor, descriptor) is None:
        return os.open(os.devnull, os.O_WRONLY)
    return os.dup(descriptor)


# Ends.


def kill_child(process: subprocess.Popen[bytes]) -> None:
    """Ends a child at once and asks what it has started to end; `end_child` or `wait_or_kill` sees to it that it does.

    Args:
        process: the child; it may have ended.
    """
    process.kill()
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a child and what it has started, or what is left of that, at once.

    Args:
        process: the child; it may have ended.
    """
    process.kill()
    _signal_group(process, signal.SIGKILL)


def end_child(process: subprocess.Popen[bytes], patience: float = END_PATIENCE) -> None:
    """Ends a child of `start_child` by the end of its input, or by force when that does not help.

    Args:
        process: the child; it may have ended.
        patience: seconds before force is used, 0: at once.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    if not patience:
        kill_child(process)
    elif process.poll() is None:
        with suppress(OSError, ValueError):  # it has died just now, or this was done before
            write_frame(process.stdin, GOODBYE)
    with suppress(OSError):  # what was still to be said is said to nobody
        process.stdin.close()
    wait_or_kill(process, patience)
    process.stdout.close()


def wait_or_kill(process: subprocess.Popen[bytes], patience: float) -> None:
    """Waits for the end of a process, and makes it if it does not come within `patience` seconds; what it has started
    ends then, too.
    """
    try:
        process.wait(max(patience, 0.0))
    except subprocess.TimeoutExpired:
        kill_child(process)
        process.wait()
    _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what a child that has ended has left behind, and waits for that."""
    give_up_at = time.monotonic() + GROUP_PATIENCE
    number = int(signal.SIGTERM)
    while _signal_group(process, number):
        if time.monotonic() > give_up_at:
            _signal_group(process, signal.SIGKILL)
            return
        number = 0
        time.sleep(GROUP_LOOK_INTERVAL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Sends a signal to a child's group; False when nobody is in it. Its number is not another's as long as somebody
    is.
    """
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # of a process that may not be signalled is nothing left to do
        return False
    return True


def restart_pause(failures: int) -> float:
    """Returns the seconds to wait before a child is started again.

    Args:
        failures: how many children in a row were of no use, the last one included; at least 1.
    """
    return min(RESTART_MIN * (1 << min(failures, 10)), RESTART_MAX)


# In copies of this process.


class _ChildPipes:
    """The pipes to children, which copies of this process must not hold: a child ends when its input has ended."""

    def __init__(self) -> None:
        self._processes: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
        watch(self)

    def add(self, process: subprocess.Popen[bytes]) -> None:
        self._processes.add(process)

    def become_copy(self) -> None:
        processes, self._processes = list(self._processes), weakref.WeakSet()
        files = [file for process in processes for file in (process.stdin, process.stdout) if file is not None]
        silence([file.fileno() for file in files if not file.closed])


_pipes = _ChildPipes()
