"""Calls a function in a process of its own, which can be killed when a call takes too long; for stages with a timeout.

The process reads an item on its standard input and writes the result on its standard output, each a msgpack array
behind its length. It is started with the first call and again after it died; a call that kills it is a call that
failed, and harms no other item.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import msgpack

from patterns.work.calls import Calls, failure_from
from patterns.work.childhood import child_environment, end_with_parent
from patterns.work.plan import Node
from patterns.work.references import load_reference
from zq.processes.exits import describe_exit

LENGTH = struct.Struct("<I")
READ_BYTES_MAX = 1 << 20
LOOK_INTERVAL = 0.1
"""Seconds between two looks whether the run is over."""


class RemoteCallError(Exception):
    """A call in the other process failed.

    Attributes:
        description: type and text of the exception.
        remote_traceback: as it was there.
    """

    def __init__(self, description: str, remote_traceback: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.remote_traceback = remote_traceback


class HandCalls(Calls):
    """Calls the function of a node in another process. It belongs to one thread."""

    def __init__(self, node: Node, sleep: Callable[[float], None], is_over: Callable[[], bool]) -> None:
        """Makes calls; the process starts with the first.

        Args:
            node: whose function it is; it has a timeout and a reference.
            sleep: waits for seconds, between retries.
            is_over: whether the run is over, and nobody waits for results any more.
        """
        super().__init__(node.name, self._ask, node.options, sleep)
        assert node.options.timeout is not None and node.reference is not None  # a thread cannot have a timeout
        self._timeout = node.options.timeout
        self._command = [node.reference, "many" if node.options.flat or node.kind == "split" else "one"]
        self._is_over = is_over
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _ask(self, item: Any) -> Any:
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            write_frame(process.stdin, msgpack.packb(item))
            frame = self._read(process.stdout)
        except OSError:  # the pipe broke: it died
            frame = None
        if frame is None:
            code = process.wait()
            self.close()
            raise RemoteCallError(f"ProcessError: the process that ran it {describe_exit(code)}")
        answer = msgpack.unpackb(frame, strict_map_key=False)
        if len(answer) == 1:
            return answer[0]
        raise RemoteCallError(*answer)

    def _start(self) -> subprocess.Popen[bytes]:
        """Starts the process, and waits until it has imported the function: that is not part of a call's time."""
        process = subprocess.Popen(
            [sys.executable, "-m", "patterns.work.hand", *self._command, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
        )
        assert process.stdout is not None
        if read_frame(process.stdout) is None:
            process.wait()
            _close_pipes(process)
            raise RemoteCallError("ProcessError: the process for it could not be started; its output says why")
        return process

    def _read(self, pipe: IO[bytes]) -> bytes | None:
        """Returns the answer, or None when the process died.

        Raises:
            RemoteCallError: the time is over, and the process was killed.
        """
        deadline = time.monotonic() + self._timeout
        found = bytearray()
        descriptor = pipe.fileno()
        while len(found) < LENGTH.size or len(found) < LENGTH.size + LENGTH.unpack_from(found)[0]:
            left = deadline - time.monotonic()
            if left <= 0 or self._is_over():
                self.close()
                raise RemoteCallError(f"TimeoutError: ran longer than its timeout of {self._timeout:g} s")
            if not select.select([descriptor], [], [], min(left, LOOK_INTERVAL))[0]:
                continue
            part = os.read(descriptor, READ_BYTES_MAX)
            if not part:
                return None
            found += part
        return bytes(found[LENGTH.size :])


def write_frame(pipe: IO[bytes], frame: bytes) -> None:
    """Writes bytes behind their length."""
    pipe.write(LENGTH.pack(len(frame)) + frame)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes | None:
    """Returns the next bytes that `write_frame` wrote, or None at the end."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size: int = LENGTH.unpack(head)[0]
    frame = pipe.read(size)
    return frame if len(frame) == size else None


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # what was to be flushed has nobody to read it
                pass


# In the process.


def main() -> None:
    """Answers calls until standard input ends."""
    reference, how_many, parent = sys.argv[1:]
    end_with_parent(int(parent))
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints goes where the log goes, and not into the pipe
    found = load_reference(reference)
    function = getattr(found, "function", found)
    is_many = how_many == "many"
    write_frame(target, b"ready")
    while (frame := read_frame(source)) is not None:
        item = msgpack.unpackb(frame, strict_map_key=False)
        try:
            answer = msgpack.packb([list(function(item)) if is_many else function(item)])
        except (Exception, SystemExit) as error:
            failure = failure_from("", None, error, 1)
            answer = msgpack.packb([failure.error, failure.remote_traceback])
        write_frame(target, answer)


if __name__ == "__main__":
    main()
