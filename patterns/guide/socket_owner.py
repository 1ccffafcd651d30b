"""What has sockets and no thread: made in the thread of its user, used and closed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import zmq

from patterns.sockets import Socket


class SocketOwner:
    """Has sockets in a context of its own; a context manager closes it."""

    def __init__(self) -> None:
        self._context: zmq.Context[Socket] = zmq.Context()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Closes the sockets again when one of them cannot be opened."""
        try:
            yield
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def close(self) -> None:
        """Closes the sockets; waits as long as their linger says for what was sent to leave."""
        self._context.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
