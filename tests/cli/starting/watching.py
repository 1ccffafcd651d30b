"""Commands that start others, watched as one does at a terminal; and that nothing of them is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

PATIENCE = 90.0
"""Seconds for anything here; nothing needs a tenth of it."""

T = TypeVar("T")

MARK = "ZQ_TEST_MARK"
"""A variable by which all processes of a command are known, also those whose parents have died."""

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux, a terminal for tests, is not installed")


def wait_for(found: Callable[[], T]) -> T:
    """Waits until something is true, and returns it."""
    give_up_at = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < give_up_at, "it did not come"
        time.sleep(0.02)
    return value


class Watched:
    """A command that runs, in a process group of its own, with what it prints in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self._file = folder / "printed.txt"
        with self._file.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "zq.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, MARK: self.mark, "PYTHONPATH": str(Path(__file__).parents[3])},
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._file.read_text(encoding="utf-8", errors="replace")

    def line(self, *parts: str) -> str:
        """Waits for a line with these parts in it, and returns what follows the last of them."""

        def look() -> str:
            for line in self.text.splitlines():
                if all(part in line for part in parts):
                    return line.rpartition(parts[-1])[2].strip() or " "
            assert self.process.poll() is None, self.text
            return ""

        return wait_for(look)

    def count(self, part: str) -> int:
        return self.text.count(part)

    def processes(self) -> dict[int, str]:
        """Returns all processes of the command that live, and their command lines."""
        return processes_with(self.mark)

    def end(self) -> int:
        return self.process.wait(PATIENCE)


def processes_with(mark: str) -> dict[int, str]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:  # it has ended, or is another's
                continue
    return found


@contextmanager
def watched(folder: Path, *arguments: str) -> Iterator[Watched]:
    """Runs a command; whatever is left of it when the test is over is killed."""
    command = Watched(folder, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()
        kill_all(command.mark)


def kill_all(mark: str) -> None:
    if sys.platform == "linux":
        for number in processes_with(mark):
            try:
                os.kill(number, 9)
            except ProcessLookupError:
                pass


class Terminal:
    """A command in a terminal of some width, by tmux."""

    def __init__(self, folder: Path, columns: int, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self._socket = f"zq-{self.mark}"
        place = f"trap : INT; cd {folder} && PYTHONPATH={Path(__file__).parents[3]} {MARK}={self.mark}"
        command = f"{place} {sys.executable} -m zq.cli {' '.join(arguments)}; echo ended with $?; exec sleep 600"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", "40", "/bin/sh", "-c", command)

    @property
    def lines(self) -> list[str]:
        return self._tmux("capture-pane", "-p", "-S", "-200").splitlines()

    def line(self, part: str) -> str:
        """Waits for a line with this in it, and returns it."""
        return wait_for(lambda: next((line for line in self.lines if part in line), ""))

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)
        kill_all(self.mark)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout


@contextmanager
def terminal(folder: Path, columns: int, *arguments: str) -> Iterator[Terminal]:
    one = Terminal(folder, columns, *arguments)
    try:
        yield one
    finally:
        one.close()
