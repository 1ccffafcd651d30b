"""What comes in during one turn: messages are taken from the socket one by one, while the machine handles them.

ZeroMQ's ROUTER takes from its connections in turn, so whoever has much to say is heard as often as whoever has little.
A turn ends when its budget is used up: its time, its messages, the bytes that came in, or the bytes of the answers that
wait for its commit. What is left in the socket is for the next turn, before which everybody who was heard is answered.
It also ends soon when one connection fills it and another one has been heard, who would wait for its answer.

Beside that, each connection has an account. What a message takes of the time beyond what is everybody's is a debt,
which time pays; while it is due, and while somebody has much to read that he asked for, what he says waits here, in
order and bounded, and everybody else goes first. Who says too much a second is refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zmq

from zq.core.state.holder import Peer
from zq.errors import RemoteProtocolError
from zq.server.accounts import Debt
from zq.server.connections import Connections
from zq.server.peer_connection import PeerConnection, Received
from zq.server.refusals import items_in, refusal, tasks_in
from zq.server.sender import Sender
from zq.wire.codec import decode_for_coordinator
from zq.wire.messages import (
    Confirm,
    Error,
    FromCoordinator,
    Heartbeat,
    Ping,
    Progress,
    Publish,
    Settle,
    Started,
    Submit,
    ToCoordinator,
    Withdraw,
)

TURN_SECONDS = 0.02
"""Time of one turn: nobody notices it, and a commit, which takes a tenth of it, pays for many messages."""

TURN_MESSAGES_MAX = 1000
"""Messages in one turn: the group commit of a busy system."""

TURN_BYTES_MAX = 8 << 20
"""Bytes that come in with one turn: what LMDB writes and flushes in about 10 ms on a good disk."""

OUTBOX_BYTES_MAX = 8 << 20
"""Bytes of answers that one turn makes before they are sent: all of them wait in memory for its commit. They may
all be for one connection, so a quarter of what may wait for one is the limit where that is less.
"""

ANSWERED_SHORTLY = frozenset({Submit, Ping, Heartbeat, Started, Progress, Settle, Confirm, Withdraw, Error})
"""What is answered, if at all, by about as much as it is itself, which is counted: its answers need no look."""

ASKED_MESSAGES = 4
"""Messages in a turn from which on it is not asked any more whether another has come: then there mostly is one."""

CROWD_MESSAGES = 128
"""Messages of one connection in a turn, after which others who were heard in it are answered: two milliseconds."""

CHEAP_SECONDS = 0.002
"""What any message may take of the time: almost all take a hundredth of it."""

ITEM_SECONDS = 0.00002
"""What it may take beside that for each batch or task that it brings or ends: of these, honest messages have many."""

QUIET_SECONDS = 0.05
"""When nobody else has been heard for so long, who is in debt is served."""

HELD_MESSAGES_MAX = 10_000
HELD_BYTES_MAX = 16 << 20
"""Of one connection, waiting here: twice what a client has under way."""

HELD_PATIENCE = 0.01
"""Seconds between two looks at what waits here, while nothing comes."""

CURVE_BYTES = 33
"""What CURVE adds to each frame beside its head of 2 bytes, or 9 when it is long."""

_new: Callable[..., Received] = tuple.__new__
"""Makes a named tuple three times as fast as its own constructor, once a message."""

NOBLOCK, STATE, READABLE = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)
"""As plain numbers: pyzmq's enumerations and its loops over parts cost more than the rest of receiving."""


class Reception:
    """The messages of one turn after the other. Of the shell's one thread."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        sender: Sender,
        connections: Connections,
        greet: Callable[[Peer, zmq.Frame, PeerConnection], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Takes what comes by a ROUTER.

        Args:
            socket: that of the connections.
            sender: says at once what is refused.
            connections: who they are, with what they have said and may say.
            greet: is told whose a message is, if the coordinator has keys.
            clock: monotonic.
            work_clock: seconds that this thread has worked: what others on this machine take is nobody's debt.
        """
        # Without what pyzmq's own class adds to both, which is for others.
        self._receive_part: Callable[..., Any] = super(zmq.Socket, socket).recv
        self._look: Callable[[int], Any] = super(zmq.Socket, socket).get
        self._greet = greet
        self._work_clock = work_clock
        self._worked = 0.0  # what that clock said when something was last charged, or the turn began
        self._sender = sender
        self._connections = connections
        self._clock = clock
        self._head_bytes = CURVE_BYTES if socket.getsockopt(zmq.MECHANISM) == zmq.CURVE else 0
        self._turn = 0  # counts them
        self._unread: Received | None = None  # parts of this one, which is refused, are still to come
        self._first: Received | None = None  # of the next turn: it was taken before
        self._held: dict[PeerConnection, None] = {}  # of which something waits here; who was served last is the last
        self._debts = Debt()  # of all who have one, together
        self._heard_at = 0.0  # when somebody who is not held back was heard last
        self.received: list[Received] = []  # in this turn, so that what a fault has undone can be handled once more
        self.refused: Counter[str] = Counter()  # by reason

    @property
    def is_holding(self) -> bool:
        """Whether something waits here."""
        return bool(self._held)

    def turn(self, outbox: Sequence[tuple[Peer, FromCoordinator]]) -> Iterator[tuple[Peer, ToCoordinator | Error]]:
        """Yields the messages of a turn with their connections; instead of one that cannot be read, its answer.

        Args:
            outbox: what the turn has said so far; it grows between two messages.
        """
        turn = self._turn = self._turn + 1
        clock = self._clock
        received = self.received = []
        self._worked = self._work_clock()
        now = clock()
        ends_at = now + TURN_SECONDS
        size = heard = count = 0
        is_crowded = False
        while count < TURN_MESSAGES_MAX and size < TURN_BYTES_MAX and now <= ends_at:
            if 0 < count < ASKED_MESSAGES and self._is_drained():
                break  # most turns have a few messages: to ask costs a third of being told by an exception
            one = self._receive(ends_at)
            if one is None:
                break
            connection = one.connection
            count += 1
            size += one.size
            if connection.turn != turn:
                connection.turn, connection.turn_messages = turn, 1
                heard += 1
            else:
                connection.turn_messages += 1
                is_crowded = is_crowded or connection.turn_messages > CROWD_MESSAGES
            if not (connection.is_held and self._is_to_wait(connection, now) and self._hold(one)):
                message = self._admit(one, now)
                if message is not None:
                    received.append(one)
                    yield one.peer, message
                self._heard_at, now = now, clock()
                if now - self._heard_at > CHEAP_SECONDS and message is not None:
                    self._charge(connection, message, self._heard_at, now)
                if type(message) not in ANSWERED_SHORTLY and self._has_said_much(outbox):
                    break
            if is_crowded and heard > 1:
                break
        self._connections.piles.taken += count
        if self._held:
            yield from self._serve_held(outbox, ends_at)

    # Outside of turns (`zq.server.beats`).

    @property
    def has_first(self) -> bool:
        """Whether a message was put back, so that there is one whatever the socket says."""
        return self._first is not None

    def take(self, now: float) -> Received | None:
        """Takes the next message, if one has come, for which there need be no turn; or else it is to be put back."""
        if self._first is None and self._is_drained():
            return None  # as cheap as a beat; to be told by an exception is not
        return self._receive(now + TURN_SECONDS)

    def put_back(self, one: Received) -> None:
        """Leaves a message that was taken to the next turn, as the first of it."""
        self._first = one

    def is_free(self, one: Received) -> bool:
        """Whether a message need not wait for anything that its connection has said, and is not one too many."""
        connection = one.connection
        return not connection.is_held and connection.messages.left > 0

    def note_taken(self, one: Received, now: float) -> None:
        """Counts a message that was handled outside of a turn."""
        one.connection.messages.left -= 1
        self._connections.piles.taken += 1
        self._heard_at = now

    def _is_drained(self) -> bool:
        """Whether the socket has run dry, and nothing is left of a message that was not read to its end."""
        if self._unread is not None or self._look(STATE) & READABLE:
            return False
        self._connections.note_drained()
        return True

    def _has_said_much(self, outbox: Sequence[tuple[Peer, FromCoordinator]]) -> bool:
        """Whether so much waits for the commit of this turn that it is to end."""
        most = min(OUTBOX_BYTES_MAX, self._connections.bytes_out_least // 4)
        return self._sender.encode_ahead(outbox) > most

    def _admit(self, one: Received, now: float) -> ToCoordinator | Error | None:
        """Returns a message, or the answer to one that cannot be read; None when it is refused."""
        connection = one.connection
        message = read(one)
        connection.messages.left -= 1
        if connection.messages.left < 0 and not connection.messages.refill(now):
            self._refuse(one, message, "messages a second", connection.messages.wait)
            if connection.messages.is_far_exceeded:
                text = f"more than {connection.limits.messages_per_second} messages a second, for long"
                self._connections.cut(connection, "messages a second", text)
            return None
        if isinstance(message, (Submit, Publish)) and not connection.tasks.take(tasks_in(message), now):
            self._refuse(one, message, "tasks a second", connection.tasks.wait)
            return None
        return message

    def _refuse(self, one: Received, message: ToCoordinator | Error, reason: str, wait: float) -> None:
        """Answers a message at once that has no effect; nothing that is on disk rests on it."""
        self.refused[reason] += 1
        who, answer = "this connection", None
        pool = one.connection.pool
        if pool is not None:
            pool.refused += 1
            who = f"key {pool.name}, on all its connections,"
        if not isinstance(message, Error):
            answer = refusal(message, f"{who} has used up its {reason}", max(wait, 0.1))
        if answer is not None:
            self._sender.say(one.peer, answer)

    # Time is an account.

    def _charge(self, connection: PeerConnection, message: ToCoordinator | Error, began_at: float, now: float) -> None:
        """Makes a debt of what a message has taken of the time beyond what one like it may."""
        worked = self._work_clock()
        seconds = min(now - began_at, worked - self._worked) - CHEAP_SECONDS - items_in(message) * ITEM_SECONDS
        self._worked = worked
        if seconds > 0:
            connection.debt.add(seconds, now)
            self._debts.add(seconds, now)
            connection.is_held = connection.is_held or connection.debt.is_due(now)

    def _is_to_wait(self, connection: PeerConnection, now: float) -> bool:
        """Whether what a connection says has to wait; if not, it is held back no more."""
        if connection.is_cut or connection.held or connection.debt.is_due(now) or connection.reads_slowly:
            return True
        connection.is_held = False
        return False

    def _hold(self, one: Received) -> bool:
        """Keeps a message for later, or refuses it when too many wait; True, for the condition that it stands in."""
        connection = one.connection
        if connection.is_cut:
            self.refused["ended"] += 1  # nobody will read an answer
            return True
        if len(connection.held) >= HELD_MESSAGES_MAX or connection.held_bytes + one.size > HELD_BYTES_MAX:
            if connection.reads_slowly:
                self._connections.cut(connection, "does not read", f"{len(connection.held)} messages of it wait")
            self._refuse(one, read(one), "time", 1.0)
            return True
        connection.held.append(one)
        connection.held_bytes += one.size
        self._held[connection] = None
        return True

    def _serve_held(
        self, outbox: Sequence[tuple[Peer, FromCoordinator]], ends_at: float
    ) -> Iterator[tuple[Peer, ToCoordinator | Error]]:
        """Yields of what waits here what may be served now: a message of each connection, at least one of all."""
        for connection in list(self._held):
            now = self._clock()
            if not connection.held:  # it has ended
                del self._held[connection]
            elif self._may_be_served(connection, now):
                one = connection.held.popleft()
                connection.held_bytes -= one.size
                del self._held[connection]
                if connection.held:
                    self._held[connection] = None
                message = self._admit(one, now)
                if message is not None:
                    self.received.append(one)
                    yield one.peer, message
                    self._charge(connection, message, now, self._clock())
                if self._clock() > ends_at or self._has_said_much(outbox):
                    return

    def _may_be_served(self, connection: PeerConnection, now: float) -> bool:
        if connection.reads_slowly:
            self._connections.look(connection, now)
            if connection.reads_slowly or connection.is_cut:
                return False
        is_due = connection.debt.is_due(now) or self._debts.is_due(now)
        return not is_due or now - self._heard_at > QUIET_SECONDS

    # From the socket.

    def _receive(self, ends_at: float) -> Received | None:
        """Takes the next message, if one has come whole and there is time to read it."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._unread is not None:
            return self._read_to_end(self._unread, ends_at)
        receive = self._receive_part
        try:
            peer = receive(NOBLOCK)
        except zmq.Again:
            self._connections.note_drained()
            return None
        frame = receive(NOBLOCK, copy=False)
        connections = self._connections
        connection = connections.by_peer.get(peer)
        if connection is None:
            connection = connections.meet(peer, _descriptor_of(frame))
        if self._greet is not None:
            self._greet(peer, frame, connection)
        size = len(frame)
        if frame.more:
            return self._read_to_end(Received(peer, b"", 1, size, connection), ends_at)
        travelled = size + self._head_bytes
        connection.reached += travelled + (9 if travelled > 255 else 2)
        return _new(Received, (peer, frame.bytes, 1, size, connection))

    def _read_to_end(self, one: Received, ends_at: float) -> Received | None:
        """Takes the parts that are left of a message, and keeps none; they may be more than there is time for now."""
        parts, size = one.parts, one.size
        receive, clock = self._receive_part, self._clock
        has_more = True
        while has_more:
            if clock() > ends_at:
                self._unread = one._replace(parts=parts, size=size)
                return None
            part = receive(NOBLOCK, copy=False)
            has_more = part.more
            parts += 1
            size += len(part)
        self._unread = None
        one.connection.reached += size + (self._head_bytes + 2) * parts
        return one._replace(parts=parts, size=size)


def _descriptor_of(frame: zmq.Frame) -> int | None:
    """Returns by which connection a frame came; None when ZeroMQ does not know, as of peers that speak its protocol in
    a version before 3.
    """
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None


def read(one: Received) -> ToCoordinator | Error:
    """Returns a message, or the answer to one that cannot be read."""
    if one.parts > 1:
        return Error(None, "malformed", f"expected a message of one frame, got {one.parts}")
    try:
        return decode_for_coordinator(one.frame)
    except RemoteProtocolError as error:
        return Error(error.request, error.code, error.text)
