"""What a client says to its coordinator, and says again after silence; a machine without sockets, clocks and threads.

Every request has a number and stays outstanding until it is answered or given up. It is sent again, with the same
number and content, when:

- there is a new connection (`connected`): nothing that was said on an older one will be answered;
- a pong shows that all that was said before its ping is answered, and this is not (protocol 2): it was lost. Pulls
  are excepted, since their answer comes when tasks come; they are sent again when a pong tells of another epoch. Of
  waits, the first outcome counts as the answer.

What is given up the coordinator is told (`Withdraw`), and leases that it gave to a pull are confirmed when they come
(`Confirm`): what it does not hear of in time it takes back. A coordinator that is too old for these two refuses the
first pull as malformed, or a withdraw as unknown; then the session does without them, until the next connection.

While anybody waits for anything, a ping goes out every second. When pings stay unanswered the session asks for a new
connection (`wants_reconnect`), each time more patiently. Submits are gathered by `Submits`, completions of pulled
tasks by `Settles`, the ends of tasks are asked for by `Watches`.

Invariants: a reply is resolved or rejected exactly once; a number is never used for two requests; what is counted as
in flight is outstanding.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from zq.errors import AccessDeniedError, TimedOutError, UnreachableError, ZqError
from zq.sessions.ids import IdMaker
from zq.sessions.notices import Notices
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply, Watcher, Watches
from zq.sessions.pings import Pings
from zq.sessions.requests import (
    ORPHAN_PATIENCE,
    Askable,
    PullRequest,
    Request,
    SettleRequest,
    SubmitRequest,
    closed_error,
    plain_request,
    without_proofs,
)
from zq.sessions.settles import Settles, Settling
from zq.sessions.streams import LEASE, Stream, Streams
from zq.sessions.submits import Single, Submits
from zq.sessions.waiters import Waiting, first_deadline, take_expired, take_replies
from zq.wire.messages import (
    Answer,
    Assignment,
    Batch,
    Cancelled,
    Error,
    Events,
    Follow,
    FromCoordinator,
    Open,
    Outcome,
    Ping,
    Pong,
    Published,
    Pull,
    Receipt,
    Release,
    Settled,
    Span,
    Submit,
    Tasks,
    ToCoordinator,
)
from zq.wire.proofs import proofs_of

SCAN_INTERVAL = 0.01
"""Seconds between two looks for passed deadlines: bounds the cost when thousands of requests time out."""

CANCELLED_MAX = 1000
"""Cancelled spans that are remembered for whoever holds the tasks; of an older one a puller learns when it settles."""


class ClientSession:
    """The client's side of the protocol; `zq.sessions.session.Session` says who calls what.

    Args:
        prefix: of the ids that the session makes, different from that of any other session.
        name: names the puller to the coordinator; as unique as the prefix.
        address: of the coordinator, for people.
        secret: what nobody can guess, by which it speaks for what it has pulled on any connection; empty: on that one.

    Attributes:
        make_id, make_number: return a new batch id, and the number of a new request; any thread may call them.
        streams, submits, settles, notices: what is followed, gathers, or needs no answer; the link's thread only.
        has_pulled: whether tasks were pulled, of which it may be told more than it asks.
        unassigned_errors: how many error messages named no request that is outstanding.
    """

    def __init__(self, prefix: str, name: str, address: str | None = None, secret: str = "") -> None:
        self._whom = "the coordinator" if address is None else f"the coordinator at {address}"
        self.wants_reconnect = False
        self.unassigned_errors = 0
        self.name = name
        self.secret = secret
        self.make_id = IdMaker(prefix, secret).next
        self.make_number = count(1).__next__
        self._outstanding: dict[int, Request] = {}
        self.submits = Submits(self.make_id)
        self.settles = Settles()
        self.streams = Streams()
        self._watches = Watches(self.make_number)
        self._cancelled: deque[Span] = deque(maxlen=CANCELLED_MAX)
        self.notices = Notices(self.secret)
        self.is_older = False  # whether this coordinator knows neither withdraw, confirm nor proofs
        self.has_pulled = False
        self._outbox: list[ToCoordinator] = []
        self._failure: Exception | None = None
        self._epoch: int | None = None
        self._was_connected = False
        self._pings = Pings()
        self._deadline = FOREVER  # never after the first deadline of all that waits
        self._scanned_at = -FOREVER

    # Requests. Each ends in one call of its reply, at its deadline at the latest.

    def submit_single(self, now: float, single: Single) -> None:
        """Submits a task under an id of the session's making; resolves to (BatchOutcome, index, Accepted)."""
        if self._admit(single.reply, single.deadline):
            self.submits.add_single(now, single)

    def submit_batch(self, now: float, batch: Batch, deadline: float, reply: Reply) -> None:
        """Submits a batch as it is; resolves to (BatchOutcome, 0, Accepted)."""
        if self._admit(reply, deadline):
            self.submits.add_batch(now, batch, deadline, reply)

    def settle(self, now: float, settling: Settling) -> None:
        """Reports how a pulled task ended."""
        if self._admit(settling.reply, settling.deadline):
            settling.asked_at = now
            self.settles.queue.append(settling)

    def ask(self, now: float, message: Askable, deadline: float, reply: Reply | None) -> None:
        """Sends a request, which gets its number here, that has one answer.

        Resolves to the value of an `answer`, to the assignments of `tasks`, to the epoch of a `pong`, to None for a
        release (to True: see `ReleaseRequest`), to the stale spans of a settle, to None for a group that is open, to a
        `published` as it is.
        """
        if not self._admit(reply, deadline):
            return
        if type(message) is Pull:
            secret = "" if self.is_older else self.secret
            self._send(PullRequest(message._replace(confirms=not self.is_older, secret=secret), now, deadline, reply))
        else:
            self._send(plain_request(message, now, deadline, reply, is_said=self._was_connected))

    def watch(
        self, now: float, outcome: BatchOutcome, index: int, deadline: float, reply: Reply, seen: float | None = None
    ) -> None:
        """Waits for news of a task, see `Watcher`; resolves to an `Ended` that covers it, or to its progress."""
        if self._admit(reply, deadline):
            self._outbox += self._watches.add(
                now, outcome, Watcher(index, deadline, now, reply, seen), self._pings.number
            )

    def unwatch(self, outcome: BatchOutcome, reply: Reply) -> None:
        """Nobody waits for this news any more."""
        self._watches.leave(outcome, reply)

    def adopt(self, number: int, request: Request, *, is_sent: bool) -> None:
        """Takes over what a caller has numbered, and maybe said, itself; see `zq.sessions.exchanges`."""
        if all(self._admit(one.reply, one.deadline) for one in request.waiters()):
            request.enter()
            self._outstanding[number] = request
            request.ping = self._pings.number
            if not is_sent:
                self._say(request)

    def adopt_watch(self, number: int, outcome: BatchOutcome, watcher: Watcher, **said: bool) -> None:
        """The same for a wait."""
        if said["is_heard"]:
            self._pings.heard_beside(watcher.asked_at)
        if self._admit(watcher.reply, watcher.deadline):
            self._outbox += self._watches.adopt(number, outcome, watcher, self._pings.number, **said)

    def follow(self, now: float, stream: Stream, deadline: float, reply: Reply) -> None:
        """Begins to follow events; resolves when the coordinator says that it tells them from now on."""
        if self._admit(reply, deadline):
            number = self._send(Request(Follow(0, stream.queue, stream.kinds, LEASE, 0), now, deadline, reply))
            self.streams.add(now, number, stream)

    def abandon_pull(self, now: float, reply: Reply) -> None:
        """Nobody waits for this pull any more: tasks that still come go back."""
        for number, request in list(self._outstanding.items()):
            if request.reply is not reply or not isinstance(request, PullRequest):
                continue
            if request.confirms:
                self._forget(number, request)
                self.notices.forgotten.append(number)
            else:
                request.orphan(now)
                self._deadline = min(self._deadline, request.deadline)

    def leave(self) -> None:
        """The connection is about to be closed: the coordinator need not find out by itself that nobody waits."""
        self.notices.forgotten += [number for number, one in self._outstanding.items() if isinstance(one, PullRequest)]
        self.notices.forgotten += self._watches.numbers()
        self._send_news()

    def give_back(self, now: float, assignments: Iterable[Assignment]) -> None:
        """Gives pulled tasks back that nobody will look at."""
        spans = tuple(Span(one.token, one.lo, one.hi) for one in assignments)
        if spans:
            proofs = proofs_of(self.secret, (span.token for span in spans))
            self.ask(now, Release(0, None, spans, proofs), now + ORPHAN_PATIENCE, None)

    def is_of_epoch(self, epoch: int) -> bool:
        """Whether a coordinator's epoch is that of which the session knows; any thread may ask."""
        return epoch == self._epoch

    def is_cancelled(self, token: int, index: int) -> bool:
        """Whether the coordinator said that a pulled task is no longer its puller's; any thread may ask."""
        return any(span.token == token and span.lo <= index < span.hi for span in tuple(self._cancelled))

    # The link's side.

    def connected(self, now: float) -> None:
        """Says everything again that has no answer yet, on a connection on which nothing was said."""
        self._outbox.clear()
        self._was_connected = True
        self._pings.connected()
        self.is_older = False
        self.notices.connected()
        for request in self._outstanding.values():
            request.renew(self.secret)
            self._say(request)
        self._outbox += self._watches.connected(self._pings.number)
        self.streams.connected(now)

    def receive(self, now: float, message: FromCoordinator) -> None:
        self._pings.heard(now)
        match message:
            case Receipt():
                self._receive_receipt(message)
            case Outcome():
                self._watches.receive(message)
            case Answer():
                self._resolve(message.request, message.value)
            case Events():
                self.streams.receive(message)
                self._resolve(message.request, None)
            case Published():
                self._resolve(message.request, message)
            case Tasks():
                self._receive_tasks(now, message)
            case Settled():
                self._receive_settled(message)
            case Pong():
                self._receive_pong(message)
            case Error():
                self._receive_error(message)
            case Cancelled():
                self._cancelled += message.spans
            case _:
                pass  # for workers

    def tick(self, now: float) -> None:
        if now >= max(self._deadline, self._scanned_at + SCAN_INTERVAL):
            self._expire(now)
        self._send_gathered(now)
        self._outbox += self.streams.tick(now)
        if not self.is_asking:
            self._pings.rest()
        elif self._pings.is_lost(now):
            self.wants_reconnect = True
        elif self._pings.is_due(now):
            self._pings.sent(now, self.make_number())
            self._outbox.append(Ping(self._pings.number))

    def next_at(self) -> float:
        due_at = min(max(self._deadline, self._scanned_at + SCAN_INTERVAL), self.streams.next_at())
        return min(due_at, self._pings.next_at()) if self.is_asking else due_at

    @property
    def is_asking(self) -> bool:
        """Whether it waits for an answer, also to a ping."""
        return bool(self._outstanding) or self._watches.watchers > 0 or bool(self.streams.by_number)

    def take_outbox(self) -> list[ToCoordinator]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def drop(self, reply: Reply) -> None:
        """Nothing of this call is answered any more; see `zq.sessions.session.Session`."""
        for one in self._waiting():
            if one.reply is reply:
                one.reply = None
        self._watches.drop(reply)
        self.streams.drop(reply)

    def failed(self, error: Exception) -> None:
        """Everything that waits, and everything that is asked from now on, ends with ClosedError."""
        self._failure = error
        self._end_all(lambda: closed_error(error))

    def refused(self, error: AccessDeniedError) -> None:
        """Everything that waits ends with this error; what was said on an earlier connection may have been done."""
        self._end_all(lambda: AccessDeniedError(str(error)))

    def _end_all(self, make_error: Callable[[], ZqError]) -> None:
        """Ends everything that waits; each thread raises an error of its own."""
        replies = self.streams.take_all(make_error()) + self._watches.take_all()
        replies += take_replies(self._waiting())
        self._outstanding.clear()
        self.submits = Submits(self.make_id)  # the payloads of the old ones may be much
        self.settles = Settles()
        self._deadline = FOREVER
        for reply in replies:
            reply.reject(make_error())

    # Sending.

    def _admit(self, reply: Reply | None, deadline: float) -> bool:
        if self._failure is not None:
            if reply is not None:
                reply.reject(closed_error(self._failure))
            return False
        if deadline < self._deadline:  # noqa: PLR1730 - once per task, and a call costs three times as much
            self._deadline = deadline
        return True

    def _waiting(self) -> list[Waiting]:
        outstanding = [one for request in self._outstanding.values() for one in request.waiters()]
        return [*self.submits.waiters(), *self.settles.queue, *outstanding]

    def _send(self, request: Request) -> int:
        """Numbers a request, and sends it; returns the number."""
        number = self.make_number()
        kind: Any = type(request.message)
        request.message = kind(number, *request.message[1:])  # every message of a client starts with its number
        self._outstanding[number] = request
        self._say(request)
        return number

    def _say(self, request: Request) -> None:
        request.ping = self._pings.number
        self._outbox.append(without_proofs(request.message) if self.is_older else request.message)

    def _send_gathered(self, now: float) -> None:
        """Sends what was submitted and settled, as far as it should not wait for an answer to gather more."""
        while (load := self.submits.take_load()) is not None:
            self._send(SubmitRequest(load, self.submits, now))
        if settlings := self.settles.take_load():
            self._send(SettleRequest(settlings, self.settles, now))
        self._send_news()

    def _send_news(self) -> None:
        """Says what needs no answer."""
        self._outbox += self.notices.take(self._watches.take_forgotten(), self._pings.number, is_older=self.is_older)

    # Receiving. An answer to what is not outstanding came twice, or too late.

    def _resolve(self, number: int, value: object) -> None:
        request = self._outstanding.pop(number, None)
        if request is not None and request.reply is not None:
            request.reply.resolve(value)

    def _receive_receipt(self, message: Receipt) -> None:
        request = self._outstanding.get(message.request)
        if request is not None and isinstance(request.message, Submit | Open):
            self._forget(message.request, request)
            request.receive_receipt(message)

    def _receive_tasks(self, now: float, message: Tasks) -> None:
        self.has_pulled = True
        request = self._outstanding.get(message.request)
        if isinstance(request, PullRequest) and request.confirms:
            self.notices.arrived += [one.token for one in message.assignments]
            if request.is_repeated:
                self.notices.forgotten.append(message.request)
        elif request is not None and request.reply is None:
            self.give_back(now, message.assignments)
        self._resolve(message.request, message.assignments)

    def _receive_settled(self, message: Settled) -> None:
        request = self._outstanding.get(message.number)
        if request is not None:
            self._forget(message.number, request)
            request.receive_settled(message)

    def _receive_pong(self, message: Pong) -> None:
        is_other_epoch = self._epoch is not None and self._epoch != message.epoch
        self._epoch = message.epoch
        # A ping that a caller asked for is not in the row of those that requests are compared with.
        pong = -1 if message.request in self._outstanding else message.request
        self._resolve(message.request, message.epoch)
        self.notices.note_pong(pong)
        for request in self._outstanding.values():
            if request.is_lost(pong, is_other_epoch=is_other_epoch):
                self._say(request)
        self._outbox += self._watches.unanswered(pong, self._pings.number, is_other_epoch=is_other_epoch)

    def _receive_error(self, message: Error) -> None:
        number = -1 if message.request is None else message.request
        request = self._outstanding.get(number)
        if request is None and message.code == "unknown-kind" and message.request is None:
            self.is_older = True  # it does not know what a withdraw is
            return
        if request is not None and message.code == "malformed" and request.grow_old():
            self.is_older = True
            self._say(request)
            return
        if request is None:
            parts = (self._watches, self.streams)
            self.unassigned_errors += not any(one.reject(number, message.code, message.text) for one in parts)
            return
        self._forget(number, request)
        self.streams.reject(number, message.code, message.text)
        request.receive_error(message)

    # Giving up.

    def _forget(self, number: int, request: Request) -> None:
        """Takes a request out of those that are outstanding, and out of what is in flight."""
        del self._outstanding[number]
        request.leave()

    def _expire(self, now: float) -> None:
        """Ends what waits past its deadline, and finds the next deadline."""
        self._scanned_at = now
        gathered = [*self.submits.waiters(), *self.settles.queue]
        expired = take_expired(gathered, now) + self._watches.take_expired(now)
        first = min(first_deadline(gathered), self._watches.deadline())
        for number, request in list(self._outstanding.items()):
            expired += request.take_expired(now)
            if request.is_over(now):
                self._forget(number, request)
                if isinstance(request, PullRequest) and request.confirms:
                    self.notices.forgotten.append(number)
            else:
                first = min(first, request.first_deadline())
        self._deadline = first
        for reply, asked_at, id in expired:
            reply.reject(self._late(now, asked_at, id))

    def _late(self, now: float, asked_at: float, id: str | None) -> ZqError:
        what = (
            "" if id is None else f"; whether {id} was stored is unknown: `status` tells, or submit it again by that id"
        )
        if self._pings.is_unreachable(now, asked_at):
            text = f"nothing was heard of {self._whom}; is it running, is the address right, and does the key trust it?"
            return UnreachableError(f"{text}{what}", id)
        return TimedOutError(f"no answer came in time{what or '; whether the request took effect is unknown'}", id)
