"""A folder with a user's program in it, which is run as a process: what these tests are about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

PATIENCE = 60.0
"""Seconds for a process to end, or for a task; none needs a tenth of it."""


class Folder:
    """The folder of a program.

    Args:
        path: of the folder.
        address: of the coordinator that its processes find in ZQ_ADDRESS.
    """

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self._environment = {**os.environ, "ZQ_ADDRESS": address}
        self._started: list[subprocess.Popen[str]] = []

    def write(self, name: str, text: str) -> Path:
        """Writes a file of the program; the text may be indented."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(dedent(text))
        # A file that is written twice within a second must not be taken for its compiled self.
        stamp = time.time_ns() + len(self._started)
        os.utime(file, ns=(stamp, stamp))
        return file

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs Python with some arguments until it ends."""
        return subprocess.run(
            [sys.executable, *arguments],
            **self._settings(),
            input=input,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts Python with some arguments; it ends with the test."""
        settings = self._settings()
        settings["env"] = {**settings["env"], **environment}
        errors = (self.path / f"stderr-{len(self._started)}").open("w")
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, **settings
        )
        errors.close()
        self._started.append(process)
        return process

    def said_by(self, process: subprocess.Popen[str]) -> str:
        """Returns what a process that was started has printed until now."""
        return (self.path / f"stderr-{self._started.index(process)}").read_text()

    def end(self) -> None:
        """Ends what is still there."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _settings(self) -> dict[str, Any]:
        return {"cwd": self.path, "env": self._environment, "text": True}


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Waits until something is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.02)
    return found
