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

READ_BYTES_MAX = 1 << 20
"""Bytes taken from a pipe at once by who must not wait for all of a frame."""

LOOK_INTERVAL = 0.1
"""Seconds between two looks whether anybody still wants the frame that is waited for."""


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


def wait_frame(pipe: IO[bytes], timeout: float, is_over: Callable[[], bool]) -> bytes | None:
    """Returns the one frame that is to come, or None at the end of the pipe; what comes behind it is lost.

    Args:
        pipe: of which nothing has been read ahead.
        timeout: seconds to wait for all of it.
        is_over: whether nobody wants it any more; asked now and then.

    Raises:
        TimeoutError: it did not come in time, or nobody wants it.
    """
    deadline = time.monotonic() + timeout
    found = bytearray()
    descriptor = pipe.fileno()
    poller = select.poll()  # select knows no descriptors above 1023, and a worker may have a thousand children
    poller.register(descriptor, select.POLLIN)
    while len(found) < LENGTH.size or len(found) < LENGTH.size + LENGTH.unpack_from(found)[0]:
        left = deadline - time.monotonic()
        if left <= 0 or is_over():
            raise TimeoutError(f"no frame came within {timeout:g} s")
        if poller.poll(min(left, LOOK_INTERVAL) * 1000):
            part = os.read(descriptor, READ_BYTES_MAX)
            if not part:
                return None
            found += part
    return bytes(found[LENGTH.size :])
