"""Calls a function in a process of its own, which can be killed when a call takes too long; for stages with a timeout.

The process reads an item on its standard input and writes the result on its standard output, each a msgpack array
behind its length. It is started with the first call and again after it died; a call that kills it is a call that
failed, and harms no other item.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from patterns.work.calls import RemoteCallError, StageCalls, failure_from
from patterns.work.plan import Node
from patterns.work.values import pack, unpack
from zq.handling.contexts import FreshContexts
from zq.processes.birth import become_child, open_pipes, read_frames
from zq.processes.children import end_child, kill_group, start_child
from zq.processes.exits import describe_exit
from zq.processes.frames import FrameReader, write_frame
from zq.processes.logs import configure_log_as_parent
from zq.processes.references import StartedOnImportError, load_reference


class HandCalls(StageCalls):
    """Calls the function of a node in another process. It belongs to one thread."""

    def __init__(self, node: Node, sleep: Callable[[float], None], is_over: Callable[[], bool]) -> None:
        """Makes calls; the process starts with `begin` or with the first.

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
        self._reader: FrameReader

    def begin(self) -> None:
        """Starts the process; raises RemoteCallError when it cannot work."""
        self._process = self._start()

    def close(self) -> None:
        """Ends the process, and what it has started, at once."""
        if self._process is not None:
            kill_group(self._process)
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_child(process, patience=0)

    def _ask(self, item: Any) -> Any:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._process = self._start()
        assert process.stdin is not None
        try:
            write_frame(process.stdin, pack(item))
            frame = self._reader.read(self._timeout, self._is_over)
        except TimeoutError:
            self._end()
            raise RemoteCallError(f"TimeoutError: ran longer than its timeout of {self._timeout:g} s") from None
        except OSError:  # the pipe broke: it died
            frame = None
        if frame is None:
            code = process.wait()
            self._end()
            raise RemoteCallError(f"ProcessError: the process that ran it {describe_exit(code)}")
        answer = unpack(frame)
        if len(answer) == 1:
            return answer[0]
        raise RemoteCallError(*answer)

    def _start(self) -> subprocess.Popen[bytes]:
        """Starts the process, and waits until it has imported the function: that is not part of a call's time."""
        process = start_child(__name__, *self._command)
        assert process.stdout is not None
        self._reader = FrameReader(process.stdout, lambda: process.poll() is not None)
        words = self._reader.read()
        if words == b"":
            return process
        end_child(process)
        if words is None:
            raise RemoteCallError("ProcessError: the process for it could not be started; its output says why")
        raise RemoteCallError(words.decode())


# In the process.


def main() -> None:
    """Answers calls until standard input ends."""
    prints, reference, how_many = become_child()
    source, target = open_pipes(prints)
    try:
        found = load_reference(reference)
    except (ValueError, StartedOnImportError) as error:
        write_frame(target, str(error).encode(errors="backslashreplace"))
        return
    function = getattr(found, "function", found)
    is_many = how_many == "many"
    configure_log_as_parent()
    contexts = FreshContexts()
    write_frame(target, b"")  # it is ready
    for frame in read_frames(source):
        item = unpack(frame)
        try:
            result = contexts.call(_listed, function, item) if is_many else contexts.call(function, item)
            answer = pack([result])
        except BaseException as error:
            failure = failure_from("", None, error, 1)
            answer = pack([failure.error, failure.remote_traceback])
        write_frame(target, answer)


def _listed(function: Callable[[Any], Any], item: Any) -> list[Any]:
    """Returns what a function yields for an item: a generator fails inside of the call."""
    return list(function(item))
