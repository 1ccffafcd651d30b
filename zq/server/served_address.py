"""The address of the coordinator: bound, bound again with another key, and left."""

from __future__ import annotations

import errno
import time

import zmq

from zq.processes.bound_address import BoundAddress, bind

REBIND_PATIENCE = 5.0
"""Seconds in which an address that was left must be free again; the coordinator ends if it is not."""


class ServedAddress:
    """A socket bound to an address; of the shell's one thread.

    Attributes:
        address: where it is, a port `*` resolved.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, socket: zmq.Socket[bytes], address: str) -> None:
        self._socket = socket
        self.address = bind(socket, address)
        self._bound = BoundAddress(self.address)

    def renew(self) -> None:
        """Binds the address again, with the keys that the socket has now: whoever is connected has to come again.

        Raises:
            OSError: somebody else has it.
        """
        self._bound.leave()
        self._socket.unbind(self.address)
        give_up_at = time.monotonic() + REBIND_PATIENCE
        while True:
            try:
                self.address = bind(self._socket, self.address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.001)  # ZeroMQ leaves an address in a thread of its own
            else:
                self._bound = BoundAddress(self.address)
                return

    def leave(self) -> None:
        """Removes the file of an `ipc://` address; before the socket is closed."""
        self._bound.leave()
