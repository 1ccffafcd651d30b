"""Every error that zq raises.

ZqError
├── BusyError                 a submit, or another request, was refused for now; nothing was stored
├── InvalidTaskError          a submit was refused for good; nothing was stored
├── UnroutableError           nobody is bound to a topic; nothing was stored
├── PayloadTooLargeError      a payload is over the limit; nothing was sent
├── ConversionError           a value and its annotation do not fit each other (also a TypeError)
├── TaskError                 how a task ended, when it was not done
│   ├── TaskFailedError       it is a dead letter
│   ├── TaskCancelledError
│   ├── TaskExpiredError
│   └── TaskUnknownError      its id is not known here, or no longer
├── StaleLeaseError           the task is no longer held by the caller
├── TimedOutError             no answer in time (also a TimeoutError)
│   └── UnreachableError      nothing at all was heard of the coordinator
├── AccessDeniedError         the coordinator does not let this key in, or its key may not do this
├── KeyFileError              a key's file is not there, not private or no key (also a ValueError)
├── ClosedError               the client, worker or coordinator is closed
├── WorkerFencedError         another worker has this name
├── RunnerBrokenError         a worker cannot run handlers: a thread of its own ended, or no child process can start
├── MemoryLimitError          the coordinator has more memory than it may, and ends
├── RemoteProtocolError       the peer sent what the protocol does not allow, or refused what we sent
└── StoreError                the store failed
    ├── StoreFullError
    ├── StoreLockedError      another coordinator has the directory
    ├── StoreCorruptError     a checksum did not match
    └── StoreVersionError     the directory was written by another version
"""

from collections.abc import Sequence
from typing import Any, Final


class ZqError(Exception):
    """Root of all errors of zq."""


class BusyError(ZqError):
    """The coordinator refused a submit, or another request, for now: something is full, or its caller is at a limit.
    Nothing was stored.

    Attributes:
        retry_after: seconds after which it is worth trying again.
        reason: what was full, for people.
        refused: positions, in what was submitted together, of the payloads that were refused.
        accepted: receipts of all the others.
    """

    def __init__(self, retry_after: float, reason: str, refused: tuple[int, ...] = ()) -> None:
        super().__init__(f"come back in {retry_after:.1f} s: {reason}")
        self.retry_after = retry_after
        self.reason = reason
        self.refused = refused
        self.accepted: Sequence[Any] = ()


class InvalidTaskError(ZqError):
    """The coordinator refused a submit for good; nothing was stored.

    Attributes:
        refused: positions, in what was submitted together, of the payloads that were refused.
        accepted: receipts of all the others.
    """

    def __init__(self, reason: str, refused: tuple[int, ...] = ()) -> None:
        super().__init__(reason)
        self.refused = refused
        self.accepted: Sequence[Any] = ()


class UnroutableError(ZqError):
    """No queue is bound to the topic of a publication; nothing was stored.

    Attributes:
        topic: as it was published to.
        accepted: receipts of what was published before it, in the same call.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{reason}; bind a queue to it, or publish with is_mandatory=False")
        self.topic = topic
        self.accepted: Sequence[Any] = ()


class PayloadTooLargeError(ZqError):
    """A payload is over the limit; nothing was sent."""


class ConversionError(ZqError, TypeError):
    """A value cannot go into a payload, or what came in one is not what the annotation says.

    Attributes:
        text: what was expected, and what came.
        place: where in the value, as in `pizza.toppings[3]`; empty when it is the value itself.
    """

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(f"{place}: {text}" if place else text)
        self.text = text
        self.place = place


class TaskError(ZqError):
    """A task ended, and not as done.

    Attributes:
        id: of the task.
        reason: why, for people; for a failed task the text of its last error.
    """

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(f"task {id}: {reason}")
        self.id = id
        self.reason = reason


class TaskFailedError(TaskError):
    """The task used up its attempts, or failed for good, and is a dead letter."""


class TaskCancelledError(TaskError):
    """The task was cancelled, by a client or because its worker died."""


class TaskExpiredError(TaskError):
    """The task was not started within its time to live."""


class TaskUnknownError(TaskError):
    """The coordinator does not know the task, or no longer."""


class StaleLeaseError(ZqError):
    """The task is no longer held by the caller; what it reported was refused."""


class TimedOutError(ZqError, TimeoutError):
    """No answer came in time; whether the request took effect is unknown.

    Attributes:
        id: of the task, or batch, of which nobody knows whether it was stored: `status` tells, and a submit under this
            id is the same one. None: it was about something else, or surely nothing was stored.
    """

    def __init__(self, text: str = "", id: str | None = None) -> None:
        super().__init__(text)
        self.id = id


class UnreachableError(TimedOutError):
    """Nothing at all was heard of the coordinator."""


class AccessDeniedError(ZqError):
    """The coordinator does not let this key in, or its key may not do what was asked; nothing was done."""


class KeyFileError(ZqError, ValueError):
    """A key's file is not there, can be read by others, or is no key; or one cannot be written."""


class ClosedError(ZqError):
    """The client, worker or coordinator is closed."""


class WorkerFencedError(ZqError):
    """Another worker has this worker's name: it took it while this one was not heard, or it has it and keeps it."""


class RunnerBrokenError(ZqError):
    """A worker cannot run handlers any more: a thread of its own ended by a fault that is not a handler's, or its child
    processes cannot start; the text says why.
    """


class MemoryLimitError(ZqError):
    """The coordinator has more memory than it may have, and ends; everything that was accepted is on disk."""


class RemoteProtocolError(ZqError):
    """The peer sent what the protocol does not allow, or refused what we sent.

    Attributes:
        code: the error code of the protocol.
        request: number of the request at fault, or None when it could not be read.
    """

    def __init__(self, code: str, text: str, request: int | None = None) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.request = request


class StoreError(ZqError):
    """The store failed; what was not committed is not there."""


class StoreFullError(StoreError):
    """Not even the reserve of the store has room."""


class StoreLockedError(StoreError):
    """Another coordinator has the directory."""


class StoreCorruptError(StoreError):
    """Something in the store is not what was written there.

    Attributes:
        table: of the row that is damaged; empty when it is no row.
        key: of that row.
        stored: all that is stored there, with its checksum.
    """

    def __init__(self, text: str, table: str = "", key: bytes = b"", stored: bytes = b"") -> None:
        super().__init__(text)
        self.table = table
        self.key = key
        self.stored = stored


class StoreVersionError(StoreError):
    """The directory was written by another version of zq."""


# How errors repeat what somebody has sent: a part of it, and nothing that a terminal would obey.


SHORT_CHARS: Final = 60
"""Of a value that a peer has sent, in a sentence about it."""

FAULT_CHARS: Final = 800
"""Of a sentence about what a peer has sent: some list what was expected."""


def short(value: Any) -> str:
    """Returns what a peer has sent as it is repeated to anyone: as Python writes it, so that a terminal shows it as it
    is, and its beginning only.
    """
    if isinstance(value, str):
        value = value[: SHORT_CHARS + 1]
    text = repr(value) if isinstance(value, int | float | bool | None | str) else type(value).__name__
    return text if len(text) <= SHORT_CHARS else f"{text[:SHORT_CHARS]}..."


def cut(text: str, most: int = FAULT_CHARS) -> str:
    """Returns a sentence in which there may be what a peer has sent, and no more than its beginning."""
    return text if len(text) <= most else f"{text[:most]}..."
