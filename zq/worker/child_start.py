"""How a child of a worker begins: it imports its handlers, and says that it is ready, or in words why it cannot be.

What it says is the first frame on its pipe. The worker reads it before it gives the child anything, so a child that
cannot work has no task that would be charged for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

from zq.handling.hooks import hooked_all
from zq.processes.exits import UNABLE, describe_exit
from zq.processes.frames import FrameReader, write_frame
from zq.processes.import_errors import StartedOnImportError, own_traceback
from zq.processes.logs import task_log
from zq.processes.references import load_handlers, source_of

READY_PATIENCE = 300.0
"""Seconds in which a child must have imported its module: large programs on busy machines take many."""


class CannotStartError(Exception):
    """A child is of no use; the text says why.

    Attributes:
        is_told: whether the child has said so itself, by which the fault is that of the module that it imports.
    """

    def __init__(self, text: str, *, is_told: bool = False) -> None:
        super().__init__(text)
        self.is_told = is_told


class Source(NamedTuple):
    """The file of a worker's module as a child found it."""

    file: str
    changed_at: int  # nanoseconds


# In the worker.


def wait_ready(
    process: subprocess.Popen[bytes], reader: FrameReader, queues: Collection[str], is_over: Callable[[], bool]
) -> Source | None:
    """Waits until a child can work; returns what it has imported, None when that is in no file.

    Args:
        process: that was started, and whose `main` calls `begin`.
        reader: of what it says, unused.
        queues: that it must have handlers of.
        is_over: whether nobody wants it any more.

    Raises:
        CannotStartError: it cannot work, or is not wanted any more.
    """
    try:
        frame = reader.read(READY_PATIENCE, is_over)
    except TimeoutError:
        raise CannotStartError(f"it has not imported its module within {READY_PATIENCE:.0f} s") from None
    if frame is None:
        raise CannotStartError(f"it {describe_exit(process.wait())} before it was ready; its output says why")
    try:
        told: dict[str, Any] = json.loads(frame)
    except ValueError:
        raise CannotStartError("what it says of itself cannot be read") from None
    if "unable" in told:
        raise CannotStartError(told["unable"], is_told=True)
    missing = [] if told["queues"] is None else sorted(set(queues).difference(told["queues"]))
    if missing:
        raise CannotStartError(
            f"the handler of {', '.join(missing)} is not there when its module is imported: register it at the top of "
            'the module, not in a function or under `if __name__ == "__main__":`',
            is_told=True,
        )
    return Source(*told["source"]) if told["source"] else None


# In the child.


def begin(spec: str, target: BinaryIO) -> Mapping[str, Any]:
    """Returns the handlers of a worker, and says that the child is ready; or says why not, and ends this process.

    Args:
        spec: of the worker; see `zq.processes.references`.
        target: the pipe to the worker.
    """
    try:
        handlers = hooked_all(load_handlers(spec), task_log())
    except (ValueError, StartedOnImportError) as error:
        _end_unable(target, str(error))
    except Exception as error:
        _end_unable(target, own_traceback(error))
    queues = None if hasattr(type(handlers), "__missing__") else list(handlers)  # None: all that there are
    write_frame(target, json.dumps({"queues": queues, "source": source_of(spec)}).encode())
    return handlers


def _end_unable(target: BinaryIO, text: str) -> NoReturn:
    write_frame(target, json.dumps({"unable": text}).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(UNABLE)  # the module may have left threads
