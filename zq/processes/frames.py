"""Frames over a pipe: bytes behind their length, which is how a process and its child speak.

What is in a frame is up to those who speak. A frame has no limit of its own: both ends are the same program.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable
from typing import IO, Any

LENGTH = struct.Struct("<I")

GOODBYE = b""
"""The frame with which a parent ends a child: without it, the end of the pipe is the end of the parent."""

READ_BYTES_MAX = 1 << 20
"""Bytes taken from a pipe at once by who must not wait for all of a frame."""

LOOK_INTERVAL = 0.1
"""Seconds between two looks whether anybody still wants the frame that is waited for."""

DEATH_LOOK_INTERVAL = 0.5
"""Seconds between two looks whether the process lives whose frame is waited for for ever: its end shows at once, unless
others hold its end of the pipe.
"""


def write_frame(pipe: IO[bytes] | Any, frame: bytes) -> None:
    """Writes bytes behind their length; raises OSError when nobody can read them any more."""
    pipe.write(LENGTH.pack(len(frame)) + frame)
    pipe.flush()


def read_frame(pipe: IO[bytes] | Any) -> bytes | None:
    """Returns the next bytes that `write_frame` wrote, or None at the end of the pipe."""
    head = pipe.read(LENGTH.size)
    if head is None or len(head) < LENGTH.size:
        return None
    size = LENGTH.unpack(head)[0]
    frame: bytes = pipe.read(size)
    return frame if len(frame) == size else None


class FrameReader:
    """Reads the frames that a process sends, and sees its end, also when others hold its end of the pipe and keep it
    open: programs that were started by code which knows nothing of the pipe.
    """

    def __init__(self, pipe: IO[bytes], is_dead: Callable[[], bool]) -> None:
        """Makes a reader of a pipe of which nothing has been read, and nothing will be but by it.

        Args:
            pipe: to read from.
            is_dead: whether the process has ended; asked when nothing comes.
        """
        self._pipe = pipe
        self._is_dead = is_dead
        self._found = bytearray()
        self._poll = select.poll()
        self._poll.register(pipe.fileno(), select.POLLIN)

    def read(self, timeout: float | None = None, is_over: Callable[[], bool] | None = None) -> bytes | None:
        """Returns the next frame, or None when none will come any more.

        Args:
            timeout: seconds to wait for all of it; None: for ever.
            is_over: whether nobody wants it any more; asked now and then. None: somebody does.

        Raises:
            TimeoutError: it did not come in time, or nobody wants it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (frame := self._take()) is None:
            seconds = DEATH_LOOK_INTERVAL if is_over is None else LOOK_INTERVAL
            if deadline is not None:
                seconds = min(seconds, deadline - time.monotonic())
            if seconds <= 0 or (is_over is not None and is_over()):
                raise TimeoutError(f"no frame came within {timeout} s")
            if not self._fill(seconds):
                return None
        return frame

    def _fill(self, seconds: float) -> bool:
        """Reads what comes within some seconds; False at the end of the pipe, and when the process has ended."""
        if not self._poll.poll(seconds * 1000):
            if not self._is_dead():
                return True
            if not self._poll.poll(0):  # what it has sent before it ended is in the pipe by now
                return False
        if self._pipe.closed:  # by another thread, which has seen the end
            return False
        part = os.read(self._pipe.fileno(), READ_BYTES_MAX)
        self._found += part
        return bool(part)

    def _take(self) -> bytes | None:
        """Returns the first frame of what was read, if it is whole."""
        found = self._found
        if len(found) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(found)[0]
        if len(found) < end:
            return None
        frame = bytes(found[LENGTH.size : end])
        del found[:end]
        return frame
