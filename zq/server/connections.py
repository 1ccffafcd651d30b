"""All connections of the coordinator's socket: who they are, what waits for them and from them, and how one is ended.

ZeroMQ has no handle on a connection. What it does tell: its monitor says in order which descriptors were accepted and
which were closed, each *before* the number can be another connection's; and each frame has the descriptor that it came
by. So a peer's first message says which descriptor it has; to end a connection, its descriptor is duplicated first and
the monitor heard after that: when it has not said that the number was closed, the duplicate is of that connection and
of no other. ZeroMQ notices the end as it would any other.

Invariants: `by_peer` and the open descriptors name the same connections; one that was ever closed is never cut.
"""

from __future__ import annotations

import logging
import struct
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

import zmq

from zq.core.peer_limits import PeerLimits
from zq.core.state.holder import Peer
from zq.server import kernel
from zq.server.gate import NOBODY, AddressGate
from zq.server.host import HostOptions
from zq.server.peer_connection import PeerConnection
from zq.server.piles import Piles

log = logging.getLogger(__name__)

LATE_SECONDS = 2.0
"""For so long a message may still come to light of a connection that was closed before one of it was."""

SILENT_SECONDS = 3.0
"""Seconds in which an honest client has said something; whoever has not makes room when room is needed."""

STALL_SECONDS = 10.0
"""Seconds in which somebody who has much to read has to read something."""

SAY_SECONDS = 10.0
"""Between two lines in the log about the same kind of cut."""

NEARLY = 0.8
"""Of the connections that there may be, from which on the log has a line."""

GATE_SHARE = 4
"""Of the connections for which there are descriptors, the part above which who comes waits a while to be let in."""

LOOKS_MAX = 100
"""Connections that are looked at in one go: a millisecond."""

NOBLOCK = int(zmq.NOBLOCK)

FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)  # fmt: skip
"""Who does not get in; the value of these events is no descriptor, and that of the connection is closed next."""

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | FAILED


class Connections:
    """The connections of one bound socket. Of the shell's one thread; make it before the socket is bound."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        limits: PeerLimits,
        *,
        connections_max: int,
        bytes_max: int,
        clock: Callable[[], float],
    ) -> None:
        """Watches a socket.

        Args:
            socket: not bound yet.
            limits: what each may have.
            connections_max: how many there may be.
            bytes_max: that may wait for all of them together until they read.
            clock: monotonic.
        """
        self.limits = limits
        self.bytes_out_least = limits.bytes_out  # of every one, and of each key that has limits of its own
        self.connections_max = connections_max
        self.bytes_max = bytes_max
        self.by_peer: dict[Peer, PeerConnection] = {}
        self.ended: list[Peer] = []  # since they were last taken
        self.cuts: Counter[str] = Counter()  # by reason
        self.handshakes_failed = 0
        self.waiting = 0  # bytes that wait for all, as far as was looked
        self.monitor: zmq.Socket[bytes] = socket.get_monitor_socket(int(EVENTS))
        self._socket = socket
        self.clock = clock
        self._open: dict[int, PeerConnection] = {}  # by descriptor, in the order of their accepting
        self._silent: dict[int, PeerConnection] = {}  # of these, who has said nothing yet
        self._late: dict[int, float] = {}  # descriptors of those that were closed so, and when
        self._strangers: dict[Peer, PeerConnection] = {}  # of which no open connection is known
        self._nobody = PeerConnection(-1, limits, clock())
        self._nobody.is_cut = self._nobody.is_held = True
        self._slow: dict[PeerConnection, None] = {}  # who has much to read
        self._around: list[PeerConnection] = []  # who is still to be looked at
        self._ending = 0  # of those that are open: who was cut
        self.piles = Piles()
        self.gate: AddressGate | None = None  # by which those come in who connect
        self.possible = HostOptions().connections()  # connections for which there are descriptors
        self._watched = NOBODY  # the gate's descriptor, in the poller of the loop
        self._is_making_room = False
        self._is_warned = False
        self._said: dict[str, float] = {}  # when the log last had each kind of cut

    def close(self) -> None:
        """Stops watching, before the socket is closed."""
        self._socket.disable_monitor()
        self.monitor.close(0)

    def __len__(self) -> int:
        return len(self._open)

    # Who they are.

    def hear(self) -> None:
        """Takes what the monitor has to say, and makes room if there are too many."""
        receive = self.monitor.recv
        while True:
            try:
                event = receive(NOBLOCK)
                receive(NOBLOCK)
            except zmq.Again:
                break
            kind, descriptor = struct.unpack("=Hi", event)
            if kind & FAILED:
                self._count_failed()
                continue
            self._closed(descriptor)
            if kind == zmq.EVENT_ACCEPTED:
                connection = PeerConnection(descriptor, self.limits, self.clock())
                self._open[descriptor] = self._silent[descriptor] = connection
        if len(self._open) - self._ending > self.connections_max and not self._is_making_room:
            self._make_room()
        self._warn()

    def watch_gate(self, poller: zmq.Poller) -> None:
        """Has a poller wait for those who wait at the gate, if any may come in now."""
        number = NOBODY if self.gate is None else self.gate.number
        if number != self._watched:
            if self._watched != NOBODY:
                poller.unregister(self._watched)
            if number != NOBODY:
                poller.register(number, zmq.POLLIN)
            self._watched = number

    def let_in(self, now: float, ready: dict[Any, int]) -> None:
        """Lets some in of those who wait at the gate, if it was found among what is ready, or waits for its time."""
        gate = self.gate
        if gate is None or (ready.pop(self._watched, None) is None and not gate.is_busy):
            return
        self.hear()  # how many there are is how many may come
        most = min(self.connections_max, self.possible)
        if len(self._open) > most:
            if gate.has_somebody:
                self._end_silent(most)
            gate.wait(now)
        else:
            gate.let_in(now, is_crowded=len(self._open) > self.possible // GATE_SHARE)

    def _count_failed(self) -> None:
        """Counts who hung up or was turned away before a message: without a key, or with another coordinator's."""
        self.handshakes_failed += 1
        if self._may_say("handshake"):
            text = "a peer did not get in: no key, another coordinator's, one that is not admitted, or no ZeroMQ"
            log.warning("%s (%d so far)", text, self.handshakes_failed)

    def _may_say(self, reason: str) -> bool:
        now = self.clock()
        if now - self._said.get(reason, -SAY_SECONDS) < SAY_SECONDS:
            return False
        self._said[reason] = now
        return True

    def _warn(self) -> None:
        """Says in the log when there are nearly too many connections, and again only when there were fewer."""
        count, most = len(self._open), self.connections_max
        if count > most * NEARLY and not self._is_warned:
            log.warning("%d connections are open, and %d may be: more are turned away then", count, most)
            self._is_warned = True
        elif count < most * NEARLY / 2:
            self._is_warned = False

    def _closed(self, descriptor: int) -> None:
        connection = self._open.pop(descriptor, None)
        if connection is None:
            return
        self._ending -= connection.is_cut
        connection.is_open = False
        connection.leave()
        connection.held.clear()
        self.waiting -= connection.counted
        self._slow.pop(connection, None)
        if self._silent.pop(descriptor, None) is not None:
            self._late[descriptor] = self.clock()
        if connection.peer is not None and self.by_peer.get(connection.peer) is connection:
            del self.by_peer[connection.peer]
            self.ended.append(connection.peer)
            if connection.is_cut:  # what it said before may still come
                connection.since = self.clock()
                self._strangers[connection.peer] = connection

    def take_ended(self) -> list[Peer]:
        """Returns the peers whose connections have ended since it was last asked."""
        ended, self.ended = self.ended, []
        return ended

    def _make_room(self) -> None:
        """Ends connections while there are too many: the oldest that never said anything, else the newest."""
        self._is_making_room = True  # ending one hears the monitor, which brings more of them
        text = f"{self.connections_max} may be open: then the silent ones go, or else the newest"
        while len(self._open) - self._ending > self.connections_max:
            newest = next(one for one in reversed(self._open.values()) if not one.is_cut)
            oldest = next((one for one in self._silent.values() if not one.is_cut), newest)
            is_idle = newest.since - oldest.since > SILENT_SECONDS
            leaver = oldest if is_idle else newest
            if not self.cut(leaver, "too many connections", text) and leaver.is_open and not leaver.is_cut:
                break  # no descriptor is left even for that
        self._is_making_room = False

    def _end_silent(self, most: int) -> None:
        """Ends connections that never said anything, the oldest first, while there are more than so many: others wait
        who may have something to say.
        """
        self._is_making_room = True
        text = f"there are descriptors for {most}, and somebody waits: then the silent ones go"
        for one in list(islice(self._silent.values(), LOOKS_MAX)):
            if len(self._open) - self._ending <= most or self.clock() - one.since <= SILENT_SECONDS:
                break
            self.cut(one, "too many connections", text)
        self._is_making_room = False

    def meet(self, peer: Peer, descriptor: int | None) -> PeerConnection:
        """Returns the connection of a peer that is not in `by_peer`.

        Args:
            peer: as ZeroMQ names it.
            descriptor: by which the message came that is being read; None when that is not known: on Linux it then is
                nobody's, whom nothing would bind, and is not heard.
        """
        if descriptor is None:
            if sys.platform == "linux":
                return self._nobody
            descriptor = -1
        if descriptor not in self._open:
            self.hear()
        found = self._open.get(descriptor)
        if found is None or found.peer is not None or descriptor in self._late:
            found = self._strangers.get(peer)
            if found is None:
                found = self._strangers[peer] = PeerConnection(-1, self.limits, self.clock())
            return found
        del self._silent[descriptor]
        found.peer = peer
        self.by_peer[peer] = found
        self._strangers.pop(peer, None)
        return found

    # What waits.

    def note_sent(self, connection: PeerConnection) -> bool:
        """Looks at what a connection has read, after much was sent to it; False when it was cut for that."""
        now = self.clock()
        self.look(connection, now)
        connection.look_at = connection.sent + connection.look_step
        return not connection.is_cut

    def look(self, connection: PeerConnection, now: float) -> None:
        """Looks at what waits for a connection and from it, and ends it when that is too much."""
        if not connection.is_open or connection.is_cut:
            return
        with kernel.duplicate(connection.descriptor) as held:
            if held is None:
                return
            traffic = kernel.traffic(held)
            queued = kernel.queued(held) if traffic is None else 0
            unread = kernel.unread(held) if traffic is not None else 0
        delivered = connection.delivered
        if traffic is not None:
            connection.note_traffic(traffic, now)
            connection.inside = max(connection.piled - unread, 0)
        else:
            connection.note_queued(queued, now)
        connection.sent_before = connection.sent
        if connection.delivered > delivered or not connection.waiting:
            connection.delivered_at = now
        self.waiting += connection.waiting - connection.counted
        connection.counted = connection.waiting
        self._judge(connection)

    def _judge(self, connection: PeerConnection) -> None:
        limits = connection.limits
        if connection.waiting > limits.bytes_out:
            self.cut(connection, "does not read", f"{connection.waiting} bytes wait for it, {limits.bytes_out} may")
        elif connection.piled > limits.bytes_in:
            self.cut(connection, "sends too much", f"{connection.piled} bytes of it wait, {limits.bytes_in} may")
        elif connection.reads_slowly:
            connection.is_held = True
            self._slow[connection] = None
        if self.waiting > self.bytes_max:
            self.cut_largest(f"{self.waiting} bytes wait for all connections, {self.bytes_max} may")

    def is_behind(self, peer: Peer) -> bool:
        """Whether so much waits for a connection that it is to be told no more yet."""
        connection = self.by_peer.get(peer)
        if connection is None or not connection.reads_slowly:
            return False
        self.look(connection, self.clock())
        return connection.is_cut or connection.reads_slowly

    def look_at_slow(self, now: float) -> None:
        """Looks at those who have much to read, and ends who reads nothing."""
        for connection in list(self._slow):
            self.look(connection, now)
            if not connection.reads_slowly:
                self._slow.pop(connection, None)
            elif now - connection.delivered_at > STALL_SECONDS:
                text = f"{connection.waiting} bytes wait for it, and it has read nothing for {STALL_SECONDS:.0f} s"
                self.cut(connection, "does not read", text)

    def slow_peers(self) -> list[Peer]:
        """Returns who has much to read now."""
        if not self._slow:
            return []
        self.look_at_slow(self.clock())
        return [connection.peer for connection in self._slow if connection.peer is not None]

    def look_around(self, now: float) -> bool:
        """Looks at some of all connections, and returns whether all have been; for when memory grows."""
        if not self._around:
            self._around = list(self._open.values())
        for connection in self._around[-LOOKS_MAX:]:
            self.look(connection, now)
            if connection.is_open and not connection.is_cut:
                self.piles.weigh(connection.pile, connection.inside, connection.reached, len(self._open))
        del self._around[-LOOKS_MAX:]
        return not self._around

    def blame(self, growth: int) -> None:
        """Ends who has grown a message without end, after all were looked at.

        Args:
            growth: bytes of memory, since all had been looked at before.
        """
        for pile, text in self.piles.share(growth):
            connection = self._open.get(pile.descriptor)
            if connection is not None and connection.pile is pile:
                self.cut(connection, "sends without end", text)

    def note_drained(self) -> None:
        """Notes that whatever had become a message has been taken from the socket."""
        self.piles.note_drained(len(self._open))

    def forget_strangers(self, now: float) -> None:
        """Forgets what was kept for a while about connections that are gone."""
        for peer, stranger in list(self._strangers.items()):
            if now - stranger.since > LATE_SECONDS:
                del self._strangers[peer]
        for descriptor, at in list(self._late.items()):
            if now - at > LATE_SECONDS:
                del self._late[descriptor]

    # Ends.

    def cut_largest(self, text: str, least: int = 0) -> bool:
        """Ends the connection for and from which most waits, and returns whether there was one worth it.

        Args:
            text: what was too much, for people.
            least: bytes, below which it is not worth it.
        """
        largest = max(
            (one for one in self._open.values() if not one.is_cut),
            key=lambda one: one.waiting + one.piled,
            default=None,
        )
        if largest is None or largest.waiting + largest.piled < max(largest.look_step, least):
            return False
        return self.cut(largest, "memory", text)

    def cut(self, connection: PeerConnection, reason: str, text: str) -> bool:
        """Ends a connection, counts that, and says so in the log; False when it has ended already.

        Args:
            connection: any.
            reason: a few words, by which it is counted.
            text: what was too much, for people.
        """
        if connection.is_cut:
            return True
        with kernel.duplicate(connection.descriptor) as held:
            self.hear()  # from here on the duplicate is of this connection, or it is not open any more
            if held is None or not connection.is_open:
                return False
            whom = kernel.name_of(held)
            is_ended = kernel.end(held)
        self._ending += 1
        connection.is_cut = connection.is_held = True
        connection.held.clear()
        self._slow.pop(connection, None)
        if not is_ended:  # by its peer, in this moment
            return False
        self.cuts[reason] += 1
        if self._may_say(reason):
            log.warning("ended a connection%s: %s: %s (%d so far)", whom, reason, text, self.cuts[reason])
        return True

    def about(self) -> dict[str, Any]:
        """Returns what the query `status` shows."""
        return {
            "open": len(self._open) - self._ending,
            "max": self.connections_max,
            "waiting_bytes": self.waiting,
            "cut": dict(self.cuts),
            "handshakes_failed": self.handshakes_failed,
        }
