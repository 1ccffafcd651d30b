"""The address of the coordinator: bound, bound again with another key, and left."""

from __future__ import annotations

import errno
import time
from functools import partial

import zmq

from zq.processes.bound_address import BoundAddress, bind
from zq.server.gate import AddressGate

REBIND_PATIENCE = 5.0
"""Seconds in which an address that was left must be free again; the coordinator ends if it is not."""


class ServedAddress:
    """A socket bound to an address; of the shell's one thread.

    Attributes:
        address: where it is, a port `*` resolved.
        gate: by which those come in who connect; None: by none that could be shut.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, socket: zmq.Socket[bytes], address: str, waiting_max: int) -> None:
        """Binds a socket.

        Args:
            socket: not bound yet.
            address: as ZeroMQ writes it; port `*` takes a free one.
            waiting_max: who may wait at a gate, and so come in at once.
        """
        self._socket = socket
        self._waiting_max = waiting_max
        self.gate: AddressGate | None = None
        self._bind(address)

    def _bind(self, address: str) -> None:
        gate = self.gate = AddressGate.of(address, self._waiting_max)
        if gate is None:
            self._endpoint = self.address = bind(self._socket, address)
            self._bound = BoundAddress(self.address)
            return
        try:
            self._endpoint = bind(self._socket, address, prepare=partial(gate.listen, self._socket))
        except BaseException:
            gate.close()
            raise
        self.address = address
        gate.endpoints.append(self._endpoint)
        self._bound = BoundAddress(address, gate.has_path, gate.endpoints)

    def renew(self) -> None:
        """Binds the address again, with the keys that the socket has now: whoever is connected has to come again.

        Raises:
            OSError: somebody else has it.
        """
        self._leave()
        self._socket.unbind(self._endpoint)
        give_up_at = time.monotonic() + REBIND_PATIENCE
        while True:
            try:
                self._bind(self.address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.001)  # ZeroMQ leaves an address in a thread of its own
            else:
                return

    def leave(self) -> None:
        """Removes the file of an `ipc://` address; before the socket is closed."""
        self._leave()

    def _leave(self) -> None:
        self._bound.leave()
        if self.gate is not None:
            self.gate.close()
