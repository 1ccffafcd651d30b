"""The PUSH sockets of one who gives items, the caller or a worker: one for each worker that takes them, so that who got
what is known and counted.

A message is two frames: a head (the run's tag and the sender's number), and a chunk; an empty second frame opens the
link. Nothing here waits: `put` keeps what is to be sent, `pump` sends what the sockets take. High-water marks are
finite, so a stage that is slow holds up those before it.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from dataclasses import dataclass

import zmq

from patterns.direct.control import Target
from patterns.direct.security import Security
from patterns.sockets import MESSAGE_BYTES_MAX, Socket, connect, make_socket
from patterns.work.dividing import divide
from patterns.work.items import ItemChunk, Sent, cut, frames_of, size_of
from patterns.work.plan import SINK, Plan

CHUNKS_HIGH_WATER_MARK = 4
"""Chunks that wait in a socket: enough that nobody idles while a message travels."""

STALL_MAX = 2.0
"""Seconds between two looks, above which this process was held up itself, and cannot say who was silent."""

TAG_BYTES = 8
HEAD = struct.Struct(f"<{TAG_BYTES}sI")
"""Tag of the run and number of the sender."""


@dataclass(slots=True, eq=False)
class _Link:
    target: Target
    socket: Socket
    sent: int = 0
    load: int = 0
    turn: int = 0  # of its last message, so that the links take turns


class Links:
    """The ways out of one sender. It belongs to one thread."""

    def __init__(
        self, context: zmq.Context[Socket], sender: int, tag: bytes, plan: Plan, security: Security | None = None
    ) -> None:
        """Makes a sender without links.

        Args:
            context: for the sockets.
            tag: of the run, 8 bytes.
            security: for the sockets; None leaves them open.
        """
        self._security = security
        self._context = context
        self._head = HEAD.pack(tag, sender)
        self._plan = plan
        self._links: dict[int, _Link] = {}
        self._by_node: dict[int, list[_Link]] = {}
        self._width: dict[int, int] = {}
        self._turn = 0
        self._is_tracking = False
        self._unsent: deque[tuple[int, int | None, bytes]] = deque()

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    @property
    def sent(self) -> dict[int, int]:
        """Messages by the worker that they went to."""
        return {worker: link.sent for worker, link in self._links.items()}

    def connect(self, target: Target) -> None:
        """Opens a link; the first message goes out with the next `pump`s."""
        socket = make_socket(self._context, zmq.PUSH, high_water_mark=CHUNKS_HIGH_WATER_MARK)
        set_patient(socket)
        if self._security is not None:
            self._security.secure(socket, target.public)
        connect(socket, target.endpoint)
        link = _Link(target, socket)
        self._links[target.worker] = link
        self._by_node.setdefault(target.node, []).append(link)
        self._by_node[target.node].sort(key=lambda one: one.target.place)
        self._width[target.node] = max(self._width.get(target.node, 0), target.place + 1)
        socket.send_multipart([self._head, b""], zmq.NOBLOCK)  # its queue is new and takes it
        link.sent += 1

    def drop(self, worker: int) -> None:
        """Closes the link to a worker that is dead, if there is one; what waits in it is lost."""
        link = self._links.pop(worker, None)
        if link is not None:
            self._by_node[link.target.node].remove(link)
            link.socket.close(0)

    def put(self, sent: list[Sent], cost: float, came: int) -> int:
        """Keeps chunks to be sent.

        Args:
            sent: the chunks, and the nodes they go to.
            cost: seconds of work for a source item at the slowest node so far.
            came: items in the chunk that they came of: if there are more now, they are shared out.

        Returns:
            their bytes.

        Raises:
            TypeError: a value is not what msgpack can hold; nothing was kept.
            ValueError, OverflowError: the same, or an item is larger than a message may be.
        """
        frames: list[tuple[int, int | None, bytes]] = []
        for number, chunk in sent:
            for index, part in self._parts(number, chunk, came):
                frames += [(number, index, frame) for frame in frames_of(number, part, cost, MESSAGE_BYTES_MAX)]
        self._unsent += frames
        return sum(len(frame) for _, _, frame in frames)

    def pump(self) -> bool:
        """Sends what the sockets take, and drops what is for the dead alone; returns whether that was all."""
        unsent = self._unsent
        while unsent:
            number, index, frame = unsent[0]
            links = self._by_node.get(number, ())
            if index is not None:
                links = [link for link in links if link.target.place == index]
            elif len(links) > 1:
                links = sorted(links, key=lambda link: (link.load, link.turn))
            if links and not any(self._send(link, frame) for link in links):
                return False
            unsent.popleft()
        return True

    def blocked(self) -> list[Socket]:
        """Returns the sockets of which one must become writable before `pump` can go on."""
        if not self._unsent:
            return []
        return [link.socket for link in self._by_node.get(self._unsent[0][0], ())]

    def note_return(self, worker: int) -> None:
        """Notes that a message came back from a worker: who returns more is given more."""
        link = self._links.get(worker)
        if link is not None and link.load:
            link.load -= 1

    def track_load(self) -> None:
        """Has `pump` prefer the links with the fewest messages that have not come back."""
        self._is_tracking = True

    def close(self) -> None:
        for worker in list(self._links):
            self.drop(worker)

    def _send(self, link: _Link, frame: bytes) -> bool:
        try:
            link.socket.send_multipart([self._head, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        link.sent += 1
        self._turn += 1
        link.turn = self._turn
        link.load += self._is_tracking
        return True

    def _parts(self, number: int, chunk: ItemChunk, came: int) -> list[tuple[int | None, ItemChunk]]:
        width = self._width.get(number, 1)
        if number == SINK or width == 1:
            return [(None, chunk)]
        node = self._plan.nodes[number]
        if node.is_keyed:
            return [*divide(chunk, node, width)]
        size = size_of(chunk)
        if size <= came:
            return [(None, chunk)]
        return [(None, part) for part in cut(chunk, -(-size // (2 * width)))]


class Intake:
    """The PULL socket of one who takes items, the caller or a worker. It belongs to one thread.

    Attributes:
        socket: not bound yet.
        tag: of the run; messages of others are dropped.
        received: messages, by who sent them.
        opened: who has opened its link to here.
    """

    def __init__(self, context: zmq.Context[Socket]) -> None:
        self.socket = make_socket(context, zmq.PULL, high_water_mark=CHUNKS_HIGH_WATER_MARK)
        set_patient(self.socket)
        self.tag = b""
        self.received: Counter[int] = Counter()
        self.opened: set[int] = set()

    def take(self) -> tuple[int, bytes] | None:
        """Returns the sender and the chunk of a message, which is empty when it opens the link; None when none came."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if len(frames) != 2 or len(frames[0]) != HEAD.size:
                continue
            tag, sender = HEAD.unpack(frames[0])
            if tag != self.tag:
                continue  # of an earlier run, on an address that others can reach
            self.received[sender] += 1
            if not frames[1]:
                self.opened.add(sender)
            return sender, frames[1]


def set_patient(socket: Socket) -> None:
    """Turns ZeroMQ's own heartbeats off: a worker that a debugger holds must not lose its messages. Who is dead, the
    control channel says.
    """
    socket.setsockopt(zmq.HEARTBEAT_IVL, 0)
    socket.setsockopt(zmq.RCVHWM, CHUNKS_HIGH_WATER_MARK)
