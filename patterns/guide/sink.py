"""The sink of the guide: collects results over a PULL socket, and knows exactly which are missing.

    ventilator  [number, payload]            to a worker; number: 8 bytes, big-endian, from 0
    worker      [RESULT, number, result]     to the sink
    ventilator  [END, how many]              to the sink, when all have been sent

The numbers are what makes loss visible: PUSH and PULL themselves say nothing about what a dead worker had in its
buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from patterns.guide.socket_owner import SocketOwner
from patterns.sockets import Frames, make_socket, unpack_number
from zq import TimedOutError
from zq.processes.bound_address import BoundAddress, bind

RESULT = b"\x01"
END = b"\x02"

NUMBER_MAX = 1 << 24
"""Tasks of one batch: the sink remembers each in a byte, and no message can make it allocate more than 16 MiB."""


class Sink(SocketOwner):
    """Collects the results of one batch and knows which are missing; one thread uses it, a context manager closes it.

    Args:
        results: where workers and ventilator connect; port `*` takes a free one.

    Attributes:
        results: where it was bound.
        sent: how many tasks there were, as the ventilator said; None before that.
        received: how many results have come.
        malformed: messages that were no result.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, *, results: str = "tcp://127.0.0.1:*") -> None:
        super().__init__()
        self.sent: int | None = None
        self.received = self.malformed = 0
        self._came = bytearray()  # by number: 1 when its result has come
        with self._opening():
            self._socket = make_socket(self._context, zmq.PULL)
            self.results = bind(self._socket, results)
            self._bound = BoundAddress(self.results)

    def collect(self, patience: float = 30.0) -> Iterator[tuple[int, bytes]]:
        """Yields number and result as they come; ends when all are here, or when nothing came for a while.

        Args:
            patience: seconds of silence after which what has not come is taken for lost: longer than the longest task.

        Raises:
            TimedOutError: there was silence before the ventilator had said how many tasks there are.
        """
        while self.sent is None or self.received < self.sent:
            if not self._socket.poll(int(patience * 1000)):
                if self.sent is None:
                    raise TimedOutError(
                        f"nothing came for {patience:g} s after {self.received} results, and nobody said how many to expect"
                    )
                return
            try:
                found = self._receive(self._socket.recv_multipart(zmq.NOBLOCK))
            except ValueError:
                self.malformed += 1
            else:
                if found is not None:
                    yield found

    def missing(self) -> list[int]:
        """Returns the numbers of the tasks whose results have not come; of all that were sent, once `sent` is known."""
        known = len(self._came) if self.sent is None else self.sent
        came = self._came.ljust(known, b"\0")
        return [number for number in range(known) if not came[number]]

    def _receive(self, frames: Frames) -> tuple[int, bytes] | None:
        match frames:
            case [kind, number, result] if kind == RESULT:
                return self._note(task_number(number), result)
            case [kind, number] if kind == END:
                self.sent = task_number(number)
                return None
        raise ValueError(f"expected a result or the end, got {len(frames)} frames")

    def _note(self, number: int, result: bytes) -> tuple[int, bytes] | None:
        if number >= len(self._came):
            self._came.extend(bytes(number + 1 - len(self._came)))
        if self._came[number]:
            return None
        self._came[number] = 1
        self.received += 1
        return number, result

    def close(self) -> None:
        """Closes the socket; what still comes is lost."""
        if not self._socket.closed:
            self._bound.leave()
        super().close()


def task_number(frame: bytes) -> int:
    """Returns the number of a task; raises ValueError."""
    number = unpack_number(frame)
    if number > NUMBER_MAX:
        raise ValueError(f"expected a number up to {NUMBER_MAX}, got {number}")
    return number
