"""Signs of life of a process, given by the very loop that would stand still: to the service manager's watchdog, and in
a file that others look at.

A service manager is told by the protocol of sd_notify(3), datagrams of lines to the socket in
NOTIFY_SOCKET. Without that variable there is no manager, and nothing is said.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from math import inf
from pathlib import Path
from typing import Self

from zq.processes.endpoints import kept_path

log = logging.getLogger(__name__)

FILE_INTERVAL = 2.0
"""Seconds between two signs of life in a file."""


BEATS_A_WATCH = 3
"""Signs of life in the time after which the manager takes the process for dead; two are what sd_notify(3) advises."""


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
        self._file = file = None if file is None else kept_path(file)
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


class ServiceManager:
    """The manager of this process, if it has one; any thread may tell it something.

    Attributes:
        beat_interval: seconds between two signs of life that it wants; None: it does not watch.
    """

    def __init__(self, place: str | None, watchdog: float | None = None) -> None:
        """Takes the place of the manager's socket (None: there is no manager), and the seconds after which it takes
        the process for dead.
        """
        self._place = "\0" + place[1:] if place and place.startswith("@") else place
        self.beat_interval = None if watchdog is None or not place else watchdog / BEATS_A_WATCH

    @classmethod
    def take(cls) -> Self:
        """Returns the manager that the environment names, and takes it out of there: what this process starts has
        none.
        """
        place = os.environ.pop("NOTIFY_SOCKET", None)
        number = os.environ.pop("WATCHDOG_PID", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and number in ("", str(os.getpid()))
        return cls(place, int(microseconds) / 1e6 if is_watched else None)

    @property
    def is_there(self) -> bool:
        """Whether there is a manager."""
        return bool(self._place)

    def tell(self, *lines: str) -> None:
        """Tells it something, such as READY=1; a manager that does not listen is not missed."""
        if not self._place:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.setblocking(False)  # a manager that hangs must hold up nobody
                one.sendto("\n".join(lines).encode(), self._place)
        except OSError:
            pass


NO_PULSE = Pulse(ServiceManager(None))
"""Of what nobody watches."""
