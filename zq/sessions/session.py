"""What every session is to whoever drives it: the protocol between a machine and its link."""

from typing import Protocol

from zq.errors import AccessDeniedError
from zq.sessions.outcomes import Reply
from zq.wire.messages import FromCoordinator, ToCoordinator


class Session(Protocol):
    """A machine that a link drives; every call comes from one thread, with `now` in monotonic seconds."""

    wants_reconnect: bool
    """Set by the session when it gave the connection up; the link clears it, and calls `connected` when there is
    another.
    """

    @property
    def is_asking(self) -> bool:
        """Whether it waits for an answer: it has said something that a coordinator that is there answers soon."""

    def connected(self, now: float) -> None:
        """There is a new socket: nothing that was said before will be answered, and what was in the outbox is gone."""

    def receive(self, now: float, message: FromCoordinator) -> None: ...

    def tick(self, now: float) -> None: ...

    def next_at(self) -> float:
        """Returns when `tick` is due next; infinity when nothing is."""

    def take_outbox(self) -> list[ToCoordinator]:
        """Returns and forgets the messages to send, in order."""

    def refused(self, error: AccessDeniedError) -> None:
        """The coordinator does not let the link in: everything that waits ends with this error. The link goes on
        trying, and what is asked from now on waits for the next try.
        """

    def drop(self, reply: Reply) -> None:
        """The call that was to be answered there has raised something, and whoever waits is told: the session forgets
        what it may have begun.
        """

    def failed(self, error: Exception) -> None:
        """The link has ended: everything that waits, and everything that is asked from now on, ends with this error."""
