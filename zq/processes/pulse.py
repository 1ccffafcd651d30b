"""Signs of life of a process, given by the very loop that would stand still: to the service manager's watchdog, and in
a file that others look at.
"""

from __future__ import annotations

import json
import logging
import os
import time
from math import inf
from pathlib import Path

from zq.processes.notify import ServiceManager

log = logging.getLogger(__name__)

FILE_INTERVAL = 2.0
"""Seconds between two signs of life in a file."""


class Pulse:
    """Signs of life; `beat` belongs to one thread, the rest is called before and after it runs.

    Attributes:
        next_at: when `beat` is to be called again (monotonic seconds); infinity: never.
    """

    def __init__(self, manager: ServiceManager, file: Path | None = None) -> None:
        """Makes a pulse that does not beat yet; the file is the one that is touched, None: there is none.

        Raises:
            OSError: the file cannot be written.
        """
        self._manager = manager
        self._file = file
        intervals = [FILE_INTERVAL] if file is not None else []
        if manager.beat_interval is not None:
            intervals.append(manager.beat_interval)
        self._interval = min(intervals, default=inf)
        self._said = ""
        self._is_ready = False
        self.next_at = 0.0 if intervals or manager.is_there else inf
        if file is not None:
            self._write(file, "starting")

    def beat(self, now: float, text: str) -> None:
        """Gives the signs of life that are due; the first one says that the process does its work.

        Args:
            now: monotonic seconds.
            text: what the process does, in a few words.
        """
        if now < self.next_at:
            return
        self.next_at = now + self._interval
        lines = ["WATCHDOG=1"] if self._is_ready else ["READY=1"]
        if text != self._said:
            lines.append(f"STATUS={text}")
        self._said, self._is_ready = text, True
        self._manager.tell(*lines)
        if self._file is not None:
            try:
                self._write(self._file, text)
            except OSError as error:  # whoever looks at the file will say so, too
                log.warning("the sign of life in %s cannot be written: %s", self._file, error.strerror)

    def stopping(self) -> None:
        """Says that the process is about to end."""
        self._manager.tell("STOPPING=1", "STATUS=ending")

    def close(self) -> None:
        """Takes the file away: a process that has ended does not look like one that hangs."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _write(self, file: Path, text: str) -> None:
        part = file.with_name(f".{file.name}.{os.getpid()}")  # nobody reads half of it
        part.write_text(json.dumps({"pid": os.getpid(), "time": time.time(), "text": text}) + "\n", encoding="utf-8")
        part.replace(file)


NO_PULSE = Pulse(ServiceManager(None))
"""Of what nobody watches."""
