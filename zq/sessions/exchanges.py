"""Requests that their callers carry themselves: a message, or two, and what answers them, without the session.

Whoever may use the socket for a while numbers a message, sends it, and takes the answer, when nobody else waits for
anything. The session does not know of it, so nothing that happens to the caller's thread can harm the session: not an
exception out of a signal handler either, which may come between any two steps. What cannot be ended so (no answer at
once, another one than the plain, a broken connection) the session *adopts*, under its number and as if it had been said
by it, and asks for it again when that is needed, which is harmless.

Invariants: an exchange is answered where it is carried, or adopted, and never both; only adopting it touches a session.
"""

from __future__ import annotations

from typing import Any, Final

from zq.sessions.client import ClientSession
from zq.sessions.outcomes import BatchOutcome, Reply, Watcher
from zq.sessions.requests import Askable, SettleRequest, SubmitRequest, plain_request, without_proofs
from zq.sessions.settles import Settling, settle_message
from zq.sessions.submits import whole_load
from zq.wire.batch import count_tasks
from zq.wire.messages import (
    Accepted,
    Answer,
    Batch,
    Done,
    Failed,
    FromCoordinator,
    Outcome,
    Pong,
    Published,
    Receipt,
    Settled,
    Submit,
    ToCoordinator,
    Wait,
)
from zq.wire.proofs import Proof

NO_ANSWER: Final = object()
"""What a message resolves an exchange to that is no plain answer to it."""

NOT_YET: Final = object()
"""The same, of one that says that the answer comes later."""


class Exchange:
    """A request that its caller carries.

    Attributes:
        number: of the request; nobody else has it.
        message: with that number.
        behind: what is said right behind it, if anything.
        deadline: monotonic seconds at which the session would end it.
        is_sent: whether the message surely was; for whoever adopts it.
        thread: in which it is carried.
        is_inside: whether that thread is in a call of libzmq, or about to be.
        is_given_up: whether the socket was left to that thread.
        is_out: whether that thread is done with the socket.
    """

    __slots__ = (
        "asked_at",
        "behind",
        "deadline",
        "is_given_up",
        "is_inside",
        "is_out",
        "is_sent",
        "message",
        "number",
        "reply",
        "thread",
    )

    message: ToCoordinator

    def __init__(self, number: int, now: float, deadline: float, reply: Reply) -> None:
        self.number = number
        self.behind: ToCoordinator | None = None
        self.asked_at = now
        self.deadline = deadline
        self.reply = reply
        self.is_sent = False
        self.thread = 0
        self.is_inside = False
        self.is_given_up = False
        self.is_out = False

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:
        """Returns what a message resolves this to, or NO_ANSWER or NOT_YET; changes nothing that others see."""
        raise NotImplementedError

    def adopt(self, session: ClientSession) -> None:
        """Makes it a request of a session; where that is at home."""
        raise NotImplementedError


class SubmitExchange(Exchange):
    """The submit of one batch; resolves to (BatchOutcome, 0, Accepted)."""

    __slots__ = ("_batch",)

    message: Submit

    def __init__(self, session: ClientSession, now: float, batch: Batch, deadline: float, reply: Reply) -> None:
        super().__init__(session.make_number(), now, deadline, reply)
        self.message = Submit(self.number, (batch,))
        self._batch = batch

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:  # noqa: ARG002 - alike in shape
        if type(message) is not Receipt or message.request != self.number or message.refused:
            return NO_ANSWER
        if len(message.accepted) != 1 or message.accepted[0].id != self._batch.id:
            return NO_ANSWER
        size = count_tasks(self._batch.ends)
        accepted = message.accepted[0]
        return BatchOutcome(accepted.id, size, 0, size), 0, accepted

    def adopt(self, session: ClientSession) -> None:
        load = whole_load(self._batch, self.asked_at, self.deadline, self.reply)
        request = SubmitRequest(load, session.submits, self.asked_at)
        request.message = self.message
        session.adopt(self.number, request, is_sent=self.is_sent)


class RequestExchange(SubmitExchange):
    """The submit of a batch of one task, and a wait for its end right behind it; resolves as a submit, with the outcome
    knowing that end. When that is not there in time it resolves as a submit, and the wait is given up.
    """

    __slots__ = ("_accepted", "_submit_deadline", "_wait")

    def __init__(
        self, session: ClientSession, now: float, batch: Batch, deadline: float, until: float, reply: Reply
    ) -> None:
        """As its base, and
        until: monotonic seconds until which its caller waits for the end.
        """
        super().__init__(session, now, batch, min(deadline, until), reply)
        self._submit_deadline = deadline
        self._wait = self.behind = Wait(session.make_number(), batch.id, 0, 1)
        self._accepted: tuple[BatchOutcome, int, Accepted] | None = None

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:
        if self._accepted is None:
            found = super().read(session, message)
            if found is NO_ANSWER or found[2].duplicate_of is not None:
                return NO_ANSWER
            self._accepted = found
            return NOT_YET
        if type(message) is not Outcome or message.request != self._wait.request:
            return NO_ANSWER
        for ended in message.ended:
            if ended.lo <= 0 < ended.hi:
                self._accepted[0].slots = [ended]
                return self._accepted
        return NO_ANSWER if message.is_last else NOT_YET

    def adopt(self, session: ClientSession) -> None:
        session.notices.forgotten.append(self._wait.request)
        if self._accepted is not None:
            self.reply.resolve(self._accepted)
            return
        self.deadline = self._submit_deadline
        super().adopt(session)


class AskExchange(Exchange):
    """A request with one answer; resolves as `ClientSession.ask` says."""

    __slots__ = ()

    message: Askable

    def __init__(self, session: ClientSession, now: float, message: Askable, deadline: float, reply: Reply) -> None:
        super().__init__(session.make_number(), now, deadline, reply)
        kind: Any = type(message)
        understood: Any = _understood_by(session, kind(self.number, *message[1:]))
        self.message = understood

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:
        match message:
            case Answer() if message.request == self.number:
                return message.value
            case Published() if message.request == self.number:
                return message
            case Pong() if message.request == self.number and session.is_of_epoch(message.epoch):
                return message.epoch
        return NO_ANSWER

    def adopt(self, session: ClientSession) -> None:
        request = plain_request(self.message, self.asked_at, self.deadline, self.reply, is_said=True)
        session.adopt(self.number, request, is_sent=self.is_sent)


class SettleExchange(Exchange):
    """The end of one pulled task; resolves to None."""

    __slots__ = ("_entry", "_proof")

    def __init__(
        self, session: ClientSession, now: float, entry: Done | Failed, proof: Proof, deadline: float, reply: Reply
    ) -> None:
        super().__init__(session.make_number(), now, deadline, reply)
        self._entry = entry
        self._proof = proof
        message = settle_message([self._settling()])
        self.message = _understood_by(session, message._replace(number=self.number))

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:  # noqa: ARG002 - alike in shape
        is_plain = type(message) is Settled and message.number == self.number and not message.stale
        return None if is_plain else NO_ANSWER

    def adopt(self, session: ClientSession) -> None:
        request = SettleRequest([self._settling()], session.settles, self.asked_at)
        request.message = self.message
        session.adopt(self.number, request, is_sent=self.is_sent)

    def _settling(self) -> Settling:
        settling = Settling(self._entry, self.deadline, self.reply, self._proof)
        settling.asked_at = self.asked_at
        return settling


def _understood_by(session: ClientSession, message: ToCoordinator) -> ToCoordinator:
    """Returns a message as the coordinator of a session understands it, for all that is known of it."""
    return without_proofs(message) if session.is_older else message


class WatchExchange(Exchange):
    """A wait for the end of the only task that an outcome is about; resolves to an `Ended`."""

    __slots__ = ("_is_heard", "_outcome")

    def __init__(
        self, session: ClientSession, now: float, outcome: BatchOutcome, deadline: float, reply: Reply
    ) -> None:
        super().__init__(session.make_number(), now, deadline, reply)
        self.message = Wait(self.number, outcome.id, outcome.first, outcome.first + 1)
        self._outcome = outcome
        self._is_heard = False

    def read(self, session: ClientSession, message: FromCoordinator) -> Any:  # noqa: ARG002 - alike in shape
        if type(message) is not Outcome or message.request != self.number:
            return NO_ANSWER
        if not message.ended and not message.is_last:
            self._is_heard = True
            return NOT_YET
        for ended in message.ended:
            if ended.lo <= self._outcome.first < ended.hi:
                self._outcome.slots = [ended]
                return ended
        return NO_ANSWER

    def adopt(self, session: ClientSession) -> None:
        watcher = Watcher(self._outcome.first, self.deadline, self.asked_at, self.reply)
        session.adopt_watch(self.number, self._outcome, watcher, is_heard=self._is_heard, is_sent=self.is_sent)
