"""A socket that listens where nobody comes: whoever waits for it is woken when it is told to be, and finds nobody."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


class Bell:
    """Of one thread. It *rings* as long as somebody waits to be accepted: an own socket, which comes by a descriptor of
    the file whose name is gone.
    """

    def __init__(self, path: str) -> None:
        """Makes one that calls itself a path, whose file is gone again afterwards, whatever happens.

        Raises:
            OSError: the path is taken or cannot be, or this system has no /proc.
        """
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._guest: socket.socket | None = None
        self._place = -1
        try:
            os.fchmod(self._listener.fileno(), 0o600)
            self._listener.setblocking(False)
            self._listener.bind(path)
            try:
                self._listener.listen(1)
                self._place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            finally:
                Path(path).unlink(missing_ok=True)
            Path(f"/proc/self/fd/{self._place}").chmod(0o666)  # this process may become another user's
            self.ring()
            self.silence()
        except BaseException:
            self.close()
            raise

    @property
    def number(self) -> int:
        """The descriptor of what listens."""
        return self._listener.fileno()

    @property
    def is_ringing(self) -> bool:
        return self._guest is not None

    def ring(self) -> None:
        """Begins to ring; raises OSError when no descriptor is left for that."""
        guest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            guest.setblocking(False)
            guest.connect(f"/proc/self/fd/{self._place}")
        except BaseException:
            guest.close()
            raise
        self._guest = guest

    def silence(self) -> None:
        """Rings no more, if it does and there is a descriptor for that; else it rings on."""
        if self._guest is None:
            return
        self._guest.close()  # which makes room for one
        try:
            while True:  # nobody is left then who rings on, whoever has come
                self._listener.accept()[0].close()
        except BlockingIOError:
            self._guest = None
        except OSError:
            pass

    def close(self) -> None:
        for one in (self._listener, self._guest):
            if one is not None:
                with suppress(OSError):  # it has been closed by its number
                    one.close()
        place, self._place = self._place, -1
        if place >= 0:
            with suppress(OSError):
                os.close(place)
