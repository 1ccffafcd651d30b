"""A program for each task: started, fed, watched and ended in the event loop of a worker's coroutines.

There is no process of ours between the worker and a program. Each program has a session of its own, and so a process
group: a terminal's Ctrl-C does not reach it, and what it starts ends with it, unless that asks for another group.

What a program says is kept in bounded memory: of standard output as much as may become a result, and more than that
ends it; of standard error the end, for the reason of a failure.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Literal, cast

from zq.cli.starting.placeholders import ArgumentPiece, PlaceMissingError, as_json, fill
from zq.processes.birth import GROUP_PATIENCE
from zq.processes.children import GROUP_LOOK_INTERVAL
from zq.processes.exits import describe_exit
from zq.task import Bury, Retry, Task

log = logging.getLogger(__name__)

STDERR_BYTES_MAX = 4096
"""Of the end of standard error, which is the reason of a failure."""

PIPES_PATIENCE = 1.0
"""Seconds that the pipes of an ended program are read on: somebody in another group may hold them for ever."""

Input = Literal["json", "text", "none"]
Output = Literal["text", "json", "none"]


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """What is run for a task, and what its end means.

    Attributes:
        arguments: the program and its arguments, in pieces.
        input: how the payload comes to its standard input.
        output: what its standard output is as a result.
        output_bytes_max: of standard output.
        bury_codes: exit codes that make a dead letter at once.
        retry_codes: exit codes that ask for another attempt, `retry_in` seconds later.
        patience: seconds between SIGTERM and SIGKILL, when the task is no longer its own.

    Raises:
        ValueError: an exit code means two things.
    """

    arguments: list[list[ArgumentPiece]]
    input: Input
    output: Output
    output_bytes_max: int
    bury_codes: frozenset[int]
    retry_codes: frozenset[int]
    retry_in: float
    patience: float

    def __post_init__(self) -> None:
        if both := self.bury_codes & self.retry_codes:
            raise ValueError(f"exit code {min(both)} cannot make a dead letter and ask for another attempt")


class ProgramFailed(Retry):
    """A program has failed; it is tried again as the retry policy says. The traceback of our own calls would say
    nothing.
    """

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)  # and no time for the next attempt, which is what `Retry` is about
        self.reason = reason


class Programs:
    """The handler of a queue that runs a program for each task."""

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings
        self._groups: set[int] = set()

    async def run(self, task: Task) -> Any:
        """Runs the program for a task, and returns what it has printed."""
        arguments, data = self._prepare(task)
        program = _Program(self._settings.output, self._settings.output_bytes_max)
        patience = self._settings.patience
        # A task of its own: a start that is broken off would leave behind what the program has started by then.
        start = asyncio.ensure_future(self._start(program, task, arguments, data))
        try:
            await asyncio.shield(start)
            await program.over
            patience = patience if program.is_excessive else GROUP_PATIENCE
        finally:
            await asyncio.wait([start])
            if not start.cancelled() and start.exception() is None:
                await self._end(program, patience)
        return self._outcome(task, program)

    async def _end(self, program: _Program, patience: float) -> None:
        """Ends what is left of a program and what it has started, and reads what it has said."""
        try:
            await _end_group(program.pid, patience)
        finally:
            self._groups.discard(program.pid)
            await program.close()

    def kill_all(self) -> None:
        """Ends at once whatever still runs: the worker ends, and nobody else would."""
        for group in list(self._groups):
            _signal(group, signal.SIGKILL)

    def _prepare(self, task: Task) -> tuple[list[str], bytes | None]:
        """Returns the arguments and the standard input; what cannot be these now never can."""
        try:
            return [fill(one, task.payload) for one in self._settings.arguments], self._input(task.payload)
        except PlaceMissingError as error:
            raise Bury(str(error)) from None

    def _input(self, payload: Any) -> bytes | None:
        match self._settings.input:
            case "none":
                return None
            case "text" if isinstance(payload, bytes):
                return payload
            case "text" if isinstance(payload, str):
                return payload.encode(errors="surrogateescape")
        return as_json(payload).encode() + b"\n"

    async def _start(self, program: _Program, task: Task, arguments: list[str], data: bytes | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.subprocess_exec(
                lambda: program,
                *arguments,
                stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL if self._settings.output == "none" else subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **_environment(task)},
            )
        except OSError as error:
            reason = f"{arguments[0]} cannot be started: {error.strerror or error}"
            raise (Bury if error.errno == errno.E2BIG else ProgramFailed)(reason) from None
        self._groups.add(program.pid)
        program.feed(data)

    def _outcome(self, task: Task, program: _Program) -> Any:
        settings = self._settings
        name = "".join(map(str, settings.arguments[0]))
        complaint = program.complaint
        if program.is_excessive:
            raise ProgramFailed(f"{name} printed more than {settings.output_bytes_max} bytes, and was ended")
        if program.code == 0:
            if complaint:
                log.info("task %s: %s", task.id, complaint)
            return self._result(name, program.output)
        reason = f"{name} {describe_exit(program.code)}" + (f": {complaint}" if complaint else "")
        if program.code in settings.bury_codes:
            raise Bury(reason)
        if program.code in settings.retry_codes:
            raise Retry(settings.retry_in, reason)
        raise ProgramFailed(reason)

    def _result(self, name: str, output: bytes) -> Any:
        if self._settings.output == "none" or not output.strip():
            return None
        if self._settings.output == "json":
            try:
                return json.loads(output)
            except (ValueError, RecursionError) as error:
                raise ProgramFailed(f"{name} printed what is no JSON: {error}") from None
        try:
            return output.decode().removesuffix("\n")
        except UnicodeDecodeError:
            return output


class _Program(asyncio.SubprocessProtocol):
    """A program that runs; everything happens in the thread of its event loop.

    Attributes:
        over: done when its process has ended, or has printed too much.
    """

    def __init__(self, output: Output, output_bytes_max: int) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self.is_excessive = False
        self._closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport
        self._output = bytearray()
        self._output_bytes_max = 0 if output == "none" else output_bytes_max
        self._complaint = bytearray()

    @property
    def pid(self) -> int:
        """Its process, and its group."""
        return self._transport.get_pid()

    @property
    def code(self) -> int:
        """Its exit code, or minus the signal that killed it."""
        code = self._transport.get_returncode()
        assert code is not None
        return code

    @property
    def output(self) -> bytes:
        return bytes(self._output)

    @property
    def complaint(self) -> str:
        """The end of what it wrote to standard error."""
        return self._complaint.decode(errors="replace").strip()

    def feed(self, data: bytes | None) -> None:
        """Gives it its standard input, and nothing behind that."""
        pipe = cast(asyncio.WriteTransport | None, self._transport.get_pipe_transport(0))
        if pipe is not None:
            pipe.write(data or b"")
            pipe.close()

    async def close(self) -> None:
        """Reads what it has left in its pipes, and closes them; it has ended, or is killed."""
        try:
            await asyncio.wait([self._closed], timeout=PIPES_PATIENCE)
        finally:
            self._transport.close()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._complaint += data
            del self._complaint[:-STDERR_BYTES_MAX]
        elif not self.is_excessive:
            self._output += data
            if len(self._output) > self._output_bytes_max:
                self.is_excessive = True
                self._output.clear()
                self._note(self.over)

    def process_exited(self) -> None:
        self._note(self.over)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature of all protocols
        self._note(self._closed)

    def _note(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)


async def _end_group(group: int, patience: float) -> None:
    """Ends all that is in a process group, and waits for that: by SIGTERM, and by SIGKILL what that does not end."""
    give_up_at = time.monotonic() + patience
    number = int(signal.SIGTERM)
    try:
        while _signal(group, number):
            if time.monotonic() >= give_up_at:
                break
            number = 0
            await asyncio.sleep(GROUP_LOOK_INTERVAL)
    finally:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Sends a signal to a process group; False when nobody is in it. Its number is not another's as long as somebody
    is.
    """
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _environment(task: Task) -> dict[str, str]:
    """Returns what a program is told of its task."""
    told = {
        "ZQ_TASK_ID": task.id,
        "ZQ_QUEUE": task.queue,
        "ZQ_ATTEMPT": str(task.attempt),
        "ZQ_TASK_TOKEN": str(task.token),
        "ZQ_TASK_PRIORITY": str(task.priority),
        "ZQ_TASK_KEY": task.key or "",
        "ZQ_TASK_HEADERS": json.dumps(task.headers),
    }
    return {name: value.replace("\0", "") for name, value in told.items()}  # which ends a text there
