"""What a client says to its coordinator, and again after silence; a machine without sockets, clocks and threads.

Every request has a number and stays outstanding until it is answered or given up. It is sent again, with the same number and content, when

- there is a new connection (`connected`): nothing that was said on an older one will be answered;
- a pong shows that what was said before its ping is answered, and this is not (protocol 2): it was lost. Waits and pulls are excepted, since
  their answers come when tasks end or come; they are asked again when the pong tells of another epoch, because they die with the coordinator.

While anything is outstanding a ping goes out every second. When pings stay unanswered the session asks for a new connection (`wants_reconnect`), each time more
patiently. Submits are gathered by `Submits`, completions of pulled tasks by `Settles`, ends of tasks by `BatchOutcome`.

Invariants: a reply is resolved or rejected once; a number is never used for two requests; a submit that is not outstanding is not in flight.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from zq.core.client_outcomes import BatchOutcome, Reply, Watcher
from zq.core.client_settles import Settles, Settling
from zq.core.client_submits import FOREVER, Load, Part, Single, Submits
from zq.errors import (
    BusyError,
    ClosedError,
    InvalidTaskError,
    RemoteProtocolError,
    TimedOutError,
    UnreachableError,
    ZqError,
)
from zq.wire.messages import (
    Accepted,
    Answer,
    Assignment,
    Batch,
    Cancel,
    Command,
    Error,
    Extend,
    FromCoordinator,
    Outcome,
    Ping,
    Pong,
    Pull,
    Query,
    Receipt,
    Refused,
    Release,
    Settled,
    Span,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
)

PING_INTERVAL = 1.0
"""Seconds between pings while something is outstanding."""

SILENCE_FIRST, SILENCE_MAX = 3.0, 12.0
"""Seconds without an answer to a ping after which the connection is made anew; doubled each time in a row, so that a slow coordinator is not stormed."""

SCAN_INTERVAL = 0.01
"""Seconds between two looks for passed deadlines: bounds their cost when thousands of requests time out one after the other."""

ORPHAN_PATIENCE = 60.0
"""Seconds for which tasks that come for a pull that was given up are still sent back; then their lease ends by itself."""

AskMessage = Cancel | Query | Command | Extend | Release


class Request:
    """An outstanding message."""

    __slots__ = ("asked_at", "content", "deadline", "message", "ping", "reply")

    def __init__(
        self, message: ToCoordinator, now: float, deadline: float, reply: Reply | None, content: Any = None
    ) -> None:
        self.message = message
        self.asked_at = now
        self.deadline = deadline
        self.reply = reply  # None: nobody waits, or those who wait are in `content`
        self.content: Load | Settling | BatchOutcome | None = content
        self.ping = 0  # the last ping that was sent before the message was


class ClientSession:
    """The client's side of the protocol; see zq.link.Session for who calls what.

    Args:
        prefix: of the ids that the session makes, unlike that of any other session.
        name: names the puller to the coordinator; must be as unique as the prefix.
    """

    def __init__(self, prefix: str, name: str) -> None:
        self.wants_reconnect = False
        self.name = name
        self.epoch: int | None = None
        self.unassigned_errors = 0  # error messages that named no request of ours
        self._prefix = prefix
        self._ids = count(1)
        self._numbers = count(1)
        self._outstanding: dict[int, Request] = {}  # in the order of their numbers
        self._watched: dict[int, BatchOutcome] = {}  # by number of their wait: those that have watchers
        self._submits = Submits(self.make_id)
        self._settles = Settles()
        self._outbox: list[ToCoordinator] = []
        self._failure: str | None = None
        self._heard_at = -FOREVER
        self._ping = 0  # number of the last ping
        self._pinged_at = -FOREVER
        self._silent_since: float | None = None  # when the first ping went out that is not answered
        self._silence = SILENCE_FIRST
        self._deadline = FOREVER  # not after the first deadline of all that waits
        self._scanned_at = -FOREVER

    def make_id(self) -> str:
        """Returns a new batch id; any thread may call it. Ids of one session sort in the order in which they were made."""
        return f"{self._prefix}-{next(self._ids):08x}"

    # Requests. Each ends in one call of its reply.

    def submit_single(self, now: float, single: Single) -> None:
        """Submits a task under an id of the session's; resolves to (BatchOutcome, index, Accepted)."""
        if single.reply is not None and self._admits(single.reply, single.deadline):
            self._submits.add_single(now, single)

    def submit_batch(self, now: float, batch: Batch, deadline: float, reply: Reply) -> None:
        """Submits a batch as it is; resolves to (BatchOutcome, 0, Accepted)."""
        if self._admits(reply, deadline):
            self._submits.add_batch(now, batch, deadline, reply)

    def settle(self, now: float, settling: Settling) -> None:
        """Reports the end of a pulled task; resolves to None, rejects with StaleLeaseError."""
        if self._admits(settling.reply, settling.deadline):
            settling.asked_at = now
            self._settles.add(settling)

    def ask(self, now: float, message: AskMessage, deadline: float, reply: Reply | None) -> None:
        """Sends a request, numbered here, that has one answer; resolves to the answer's value, or to the stale spans of a release."""
        if self._admits(reply, deadline):
            self._send(Request(message._replace(request=0), now, deadline, reply))

    def pull(
        self, now: float, queue: str, max_tasks: int, wait: float, lease: float, deadline: float, reply: Reply
    ) -> None:
        """Asks for tasks; resolves to a tuple of Assignment."""
        if self._admits(reply, deadline):
            self._send(Request(Pull(0, self.name, queue, max_tasks, wait, lease), now, deadline, reply))
