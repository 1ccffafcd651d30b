"""Who gets in at the sockets of one ZeroMQ context: an authenticator in a thread that knows a set of public keys.

For programs whose sockets have no coordinator behind them, such as direct pipelines. ZeroMQ asks it over ZAP
(rfc.zeromq.org/spec/27) about each connection to a socket that `Key.guard` has prepared. It fails closed: without an
answer, and with any that is not 200, nobody gets in.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import zmq
from zmq.utils import z85

from zq.processes.wake import Wake

ZAP_ADDRESS: Final = "inproc://zeromq.zap.01"
"""Where ZeroMQ asks: one authenticator for each context."""


class Admission:
    """Admits keys to the guarded sockets of a context; any thread may call its methods.

    Args:
        context: of the sockets; none of them is bound yet.
        domain: of the sockets, as they were guarded with.
        admitted: public keys.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], domain: str, *admitted: str) -> None:
        self._domain = domain.encode()
        self._admitted = frozenset(admitted)
        self._is_over = False
        self._wake = Wake()
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ZAP_ADDRESS)
        self._thread = threading.Thread(target=self._run, name="zq-admission", daemon=True)
        self._thread.start()

    def admit(self, public: str) -> None:
        """Lets a key in, from now on."""
        self._admitted |= {public}

    def close(self) -> None:
        """Lets nobody in any more; who is in stays. Before the context is ended."""
        self._is_over = True
        self._wake.ring()
        self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        try:
            while not self._is_over:
                if self._socket in dict(poller.poll()):
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        except zmq.ContextTerminated:
            pass  # with all the sockets that it was for
        finally:
            self._socket.close(0)
            self._wake.close()

    def _answer(self, request: list[Any]) -> list[bytes]:
        number = request[1] if len(request) > 1 else b""
        if self._is_admitted(request):
            return [b"1.0", number, b"200", b"OK", b"", b""]
        return [b"1.0", number, b"400", b"the key is not admitted", b"", b""]

    def _is_admitted(self, request: list[Any]) -> bool:
        """Whether a request, of version, number, domain, address, identity, mechanism and key, is of one who may."""
        if len(request) != 7 or request[2] != self._domain or request[5] != b"CURVE" or len(request[6]) != 32:
            return False
        return z85.encode(request[6]).decode() in self._admitted
