"""What a service manager is told of a process: that it is ready, that it lives, that it ends.

The protocol is that of sd_notify(3): datagrams of lines to the socket in NOTIFY_SOCKET. Without that variable there is
no manager, and nothing is said.
"""

from __future__ import annotations

import os
import socket
from typing import Self

BEATS_A_WATCH = 3
"""Signs of life in the time after which the manager takes the process for dead; two are what sd_notify(3) advises."""


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
