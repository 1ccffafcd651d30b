"""What connections pile up inside of ZeroMQ that never becomes a message, and the memory that it costs.

Parts of a message are gathered by ZeroMQ until the last one has come: about 64 bytes of memory for each, also for an
empty one, of which two bytes travel. So bytes that came say little about memory. Two things are known:

- ROUTER hears its connections in turn. When nothing of a connection was heard while as many messages were as would have
  gone round, or while the socket ran dry, then all that was inside of ZeroMQ before is of one unfinished message. No
  legal one is larger than FRAME_BYTES_MAX.
- How much the memory of the process grew between two looks at all connections. It is shared among those that have
  piled up more, by their bytes, and forgotten when something of a connection becomes a message.
"""

from __future__ import annotations

from collections.abc import Iterator

from zq.wire.limits import FRAME_BYTES_MAX

UNFINISHED_BYTES_MAX = FRAME_BYTES_MAX + (1 << 20)
"""The largest message, and its head."""

BLAMED_BYTES_MAX = 4 * FRAME_BYTES_MAX
"""Memory that one unfinished message may cost: an honest one costs about what it has bytes, twice that with keys."""

BLAMED_BYTES_MIN = 1 << 20
"""Of an unfinished message, from which on anybody looks at its memory: it takes a thirtieth of what may be blamed."""

PART_FACTOR = 40
"""Bytes of memory that a byte can cost at most: who has sent few is not to blame for what the program around does."""


class Pile:
    """What one connection has piled up. Plain slots.

    Attributes:
        descriptor: of the connection.
        reached: bytes of its messages that had been taken, when it was weighed last.
        inside: bytes that were inside of ZeroMQ, then.
        inside_at_mark: when it was marked; what is heard later than a round after that would show that they are whole.
        mark: `Piles.taken`, then.
        unfinished: of these, those that are known to be of one message that has not ended.
        blamed: bytes of memory that the message has cost, as far as that can be told.
    """

    __slots__ = ("blamed", "descriptor", "inside", "inside_at_mark", "mark", "reached", "unfinished")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.reached = 0
        self.inside = 0
        self.inside_at_mark = 0
        self.mark = 0
        self.unfinished = 0
        self.blamed = 0


class Piles:
    """Those of all connections of a socket. Of the shell's one thread.

    Attributes:
        taken: messages that were taken from the socket; when it ran dry, as many as two rounds more.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._grown: dict[Pile, int] = {}  # by how much, since all were looked at

    def note_drained(self, connections: int) -> None:
        """Notes that the socket has run dry."""
        self.taken += 2 * connections + 1

    def weigh(self, pile: Pile, inside: int, reached: int, connections: int) -> None:
        """Weighs what a connection has piled up.

        Args:
            pile: that of the connection.
            inside: bytes that are inside of ZeroMQ now.
            reached: bytes of its messages that have been taken so far.
            connections: how many there are.
        """
        if reached != pile.reached:
            pile.reached, pile.unfinished, pile.blamed = reached, 0, 0
            pile.mark, pile.inside_at_mark = self.taken, inside
        else:
            if self.taken - pile.mark > 2 * connections:
                pile.unfinished = pile.inside_at_mark
                pile.mark, pile.inside_at_mark = self.taken, inside
            if inside > pile.inside:
                self._grown[pile] = inside - pile.inside
        pile.inside = inside

    def share(self, growth: int) -> Iterator[tuple[Pile, str]]:
        """Shares the growth of memory among those who have piled up more, and yields who has had too much, and why."""
        grown, self._grown = self._grown, {}
        total = sum(grown.values())
        for pile, more in grown.items():
            pile.blamed += min(max(growth, 0) * more // total, more * PART_FACTOR)
            if pile.unfinished > UNFINISHED_BYTES_MAX:
                yield pile, f"{pile.unfinished} bytes are of one message, {FRAME_BYTES_MAX} may"
            elif pile.unfinished >= BLAMED_BYTES_MIN and pile.blamed > BLAMED_BYTES_MAX:
                yield pile, f"{pile.unfinished} bytes of one message cost {pile.blamed >> 20} MiB of memory"
