"""The future of a call, ended by the engine's thread and cancelled by anybody."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import Any, Protocol, TypeVar

from zq.errors import TaskCancelledError
from zq.executor.batches import CallBatch
from zq.executor.remote_call import Callee, unpack_result
from zq.wire.batch import decode_payload

T = TypeVar("T")


class Cancelling(Protocol):
    """The engine, as a future knows it."""

    def cancel(self, future: CallFuture[Any]) -> bool:
        """Cancels a call, and waits for the answer; returns False when it has ended."""


class CallFuture(futures.Future[T]):
    """The future of a call; made by `Executor.submit`."""

    def __init__(self, engine: Cancelling, callee: Callee) -> None:
        super().__init__()
        self.callee = callee
        self._batch: CallBatch | None = None
        self._index = 0
        self._engine = engine
        self._ending = threading.RLock()  # one of those who end it comes first

    @property
    def id(self) -> str | None:
        """That of its task, once the coordinator has accepted it."""
        return None if self._batch is None else self._batch.id_of(self._index)

    def cancel(self) -> bool:
        """Cancels the call, also one that runs: in a child process it is stopped. Asks the coordinator, and waits for
        the answer.

        Returns:
            False when it has ended already.
        """
        return self.cancelled() if self.done() else self._engine.cancel(self)

    def wait_accepted(self) -> None:
        """Waits until its id is known, or it has ended."""
        batch = None
        while batch is not self._batch and self._batch is not None:
            batch = self._batch
            batch.accepted.wait()

    # As a `CallOwner`.

    def placed(self, place: int, batch: CallBatch, index: int) -> None:  # noqa: ARG002 - it has but one
        self._batch, self._index = batch, index

    def end(self, place: int, data: bytes) -> None:  # noqa: ARG002 - it has but one
        if not self.begin_ending():
            return
        try:
            value = unpack_result(self.callee, self.id or "", decode_payload(data))
        except BaseException as error:  # what the function raised, SystemExit included
            self.set_exception(error)
        else:
            self.set_result(value)

    def fail(self, place: int, error: Exception) -> None:  # noqa: ARG002 - it has but one
        if isinstance(error, TaskCancelledError):
            self.end_cancelled()
        elif self.begin_ending():
            self.set_exception(error)

    def begin_ending(self) -> bool:
        """Returns whether its result may be set; False when it is cancelled."""
        with self._ending:
            return not self.done() and self.set_running_or_notify_cancel()

    def end_cancelled(self) -> bool:
        """Notes that it is cancelled; returns False when it has ended otherwise."""
        with self._ending:
            if self.cancelled():
                return True
            return super().cancel() and not self.set_running_or_notify_cancel()
