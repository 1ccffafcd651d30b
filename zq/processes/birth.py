"""The beginning and the end of a child process, seen from the child; `zq.processes.children` is the parent's side.

A child is the leader of a session of its own, and so of a process group: what the user's functions start is in that
group, unless it asks for a session of its own, and ends with the child. A terminal's Ctrl-C reaches neither.

It has what `multiprocessing` gives to those that it spawns: the modules, the arguments and the flags of its parent, in
the environment of its parent. All signals have their default handlers, whatever the parent has made of its own.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from zq.processes.copies import silence, watch
from zq.processes.frames import read_frame
from zq.processes.logs import log_settings, take_log
from zq.processes.references import lend_main

BOOTSTRAP = """\
import sys
sys.path[:] = [place for place in sys.path if place]
import json, os
with open(int(sys.argv[3])) as sheet:
    sheet = json.load(sheet)
library = os.path.dirname(os.__file__)
sys.path[:] = [library, os.path.join(library, "lib-dynload"), *sheet["path"]]
from zq.processes.birth import begin
begin(sheet)
"""
"""The program of a child. Its arguments are a module, the parent's process id, the descriptor of what `birth_sheet` has
returned there, as JSON, and what is for the module.

Until the user's modules are imported, the standard library comes first: beside a script there may be a `queue.py`,
which the parent did not see either when it imported zq.
"""

PARENT_LOOK_INTERVAL = 0.25
"""Seconds between two looks whether the parent lives."""

GROUP_PATIENCE = 0.5
"""Seconds that what a child has started has to end after SIGTERM, before it is killed."""

DEATH_PATIENCE = 5.0
"""Seconds in which a parent is seen to be dead whose end of a pipe has been closed by that."""

KEPT_IGNORED = {signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that Python itself ignores, and that `subprocess` puts right for what it starts."""


def birth_sheet() -> dict[str, Any]:
    """Returns what a child of this process begins with."""
    return {"path": _absolute_path(), "argv": sys.argv, "log": log_settings()}


def _absolute_path() -> list[str]:
    """Returns where this process looks for modules; the folder that it is in by its name, as multiprocessing does."""
    try:
        here = str(Path.cwd())
    except OSError:  # it was removed
        here = ""
    return [place or here for place in sys.path if isinstance(place, str)]


# In the child.


class _Birth:
    """Of this process, which has one."""

    parent = 0
    arguments: list[str] = []
    is_abandoned = False  # its input has ended, and the parent did not say that it is to end


def begin(sheet: dict[str, Any]) -> None:
    """Makes this process what its parent wants: runs `main` of a module. The module imports the user's modules when it
    is called, not before.
    """
    module, parent, _, *arguments = sys.argv[1:]
    _Birth.arguments = [*arguments, *sheet["private"]]
    _Birth.parent = int(parent)
    sys.argv[:] = sheet["argv"]
    take_log(sheet["log"])
    lend_main()
    _take_default_signals()
    own = os.getpid()
    try:
        program = importlib.import_module(module)
        sys.path[:] = sheet["path"]
        program.main()
    except BrokenPipeError:  # nobody reads what it says: its parent is dying, or has dropped it
        _Birth.is_abandoned = True
        raise
    finally:
        if os.getpid() == own and _is_orphaned():  # else the parent ends the group
            end_own_group()


def _is_orphaned() -> bool:
    """Returns whether the parent has died. A process that dies closes its files before it is seen to be dead."""
    give_up_at = time.monotonic() + DEATH_PATIENCE
    while _Birth.is_abandoned and os.getppid() == _Birth.parent and time.monotonic() < give_up_at:
        time.sleep(0.001)
    return os.getppid() != _Birth.parent


def _take_default_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - KEPT_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def become_child(folder_at: int | None = None) -> list[str]:
    """Makes this process one that ends with its parent, and returns the arguments that `start_program` was given.

    It ends when the parent has died, whatever it is doing, and all of its group with it.

    Args:
        folder_at: which argument names a folder that is removed then, because nobody else is there to do it.
    """
    arguments = _Birth.arguments
    folder = None if folder_at is None else arguments[folder_at]
    threading.Thread(target=_end_with, args=(_Birth.parent, folder), name="zq-parent", daemon=True).start()
    return arguments


def _end_with(parent: int, folder: str | None) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_INTERVAL)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    end_own_group()


def end_own_group() -> None:
    """Ends this process and all that is in its group."""
    if os.getpgrp() != os.getpid():
        os._exit(1)
    if callable(signal.getsignal(signal.SIGTERM)):  # else it would not live to see who does not end by that
        os.killpg(0, signal.SIGTERM)
        time.sleep(GROUP_PATIENCE)
    os.killpg(0, signal.SIGKILL)


def open_pipes(prints: str) -> tuple[BinaryIO, BinaryIO]:
    """Opens what `start_child` has given to this process: returns what to read from, and what to write to.

    The user's functions and the programs that they start do not get the pipes: they read nothing, and what they print
    goes to another place. Nor do copies that they make of this process.

    SIGTERM is left to the parent: the end of the input is what ends such a child. It is not ignored, which all that is
    started here would inherit, but handled by doing nothing, which ends with an `exec`; `copies` sees to forks.

    Args:
        prints: the first argument of this process, the descriptor to which it prints.
    """
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    read_nothing()
    os.dup2(int(prints), 1)
    os.close(int(prints))
    # It is open for good.
    sys.stdout = open(1, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGTERM, _stay)
    signal.siginterrupt(signal.SIGTERM, False)
    _kept.append(_OwnPipes(source.fileno(), target.fileno()))
    return source, target


def read_frames(source: BinaryIO) -> Iterator[bytes]:
    """Yields what the parent says, until `end_child` ends it, or the parent's death."""
    while frame := read_frame(source):
        yield frame
    _Birth.is_abandoned = frame is None


def read_nothing() -> None:
    """Has standard input be empty, for this process and what it starts."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing:
        os.dup2(nothing, 0)
        os.close(nothing)


# It has the signature of signal handlers.
def _stay(number: int, frame: FrameType | None) -> None:
    """Does nothing."""


class _OwnPipes:
    """The pipes of this process."""

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = list(descriptors)
        watch(self)

    def become_copy(self) -> None:
        descriptors, self._descriptors = self._descriptors, []  # a copy of the copy may have others of these numbers
        if descriptors:
            silence(descriptors)
        if signal.getsignal(signal.SIGTERM) is _stay:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


_kept: list[_OwnPipes] = []
"""What is watched only as long as somebody keeps it."""
