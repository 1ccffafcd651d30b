"""One step of the coordinator: the time, the transaction, the messages that leave after it, and what it notes about
tasks that ended, for those who have to follow up in the same step: groups and notices (`zq.core.tasks.follow_up`).
"""

from collections.abc import Callable
from typing import NamedTuple

from zq.core.options import Now
from zq.core.state.holder import Peer
from zq.core.storage import Transaction
from zq.wire.messages import FromCoordinator, Receipt


class EndedMembers(NamedTuple):
    """Members lo <= index < hi of a batch have left their group: they ended, or their completion moved the
    membership.
    """

    group: tuple[str, tuple[int, ...]]  # as the batch has it, so the path is that of index 0
    id: str  # of the batch, or of the group inside
    lo: int
    hi: int
    outcome: str  # MOVED: what the completion forwarded takes their places
    reason: str
    ends: bytes
    blob: bytes
    is_group: bool = False


MOVED = "moved"


class Notice(NamedTuple):
    """A task, or a group, has ended badly, and a queue is to be told."""

    queue: str
    id: str
    of: str  # the queue that it was in
    outcome: str
    reason: str
    attempts: int
    headers: dict[str, str] | None
    payload: bytes


class Step:
    """One step of the coordinator: the time, the transaction, and the messages that leave when it is committed."""

    __slots__ = (
        "asker", "departed", "ended", "fanout_bytes", "may_submit", "notices", "now", "outbox", "overflowed", "owner",
        "peer", "tx", "wall",
    )  # fmt: skip

    def __init__(self, now: Now, tx: Transaction) -> None:
        self.now = now.monotonic
        self.wall = now.wall
        self.tx = tx
        self.peer: Peer | None = None  # whose message is handled; None: nobody's
        self.outbox: list[tuple[Peer, FromCoordinator]] = []
        self.asker: tuple[Peer, int] = (b"", 0)  # connection and request of the command that is carried out
        # What the ends of tasks entail; `follow_up` carries it out after each message.
        self.ended: list[EndedMembers] = []
        self.notices: list[Notice] = []
        self.fanout_bytes = 0  # payloads that publications have written, over all of their queues
        self.owner: str | None = None  # name of the key whose message is handled; None without keys
        self.may_submit: Callable[[str], bool] | None = None  # whether it may, of a queue's name; None: to all
        self.departed = 0  # leases, or tasks of them, that ended because their holder is gone
        self.overflowed = 0  # tasks that became dead letters for want of room

    def send(self, peer: Peer | None, message: FromCoordinator | None) -> None:
        """Sends a message after the commit, if there is one; a holder that is not connected has no peer and hears
        nothing.
        """
        if peer is not None and message is not None:
            self.outbox.append((peer, message))

    def take_receipt(self, peer: Peer, id: str) -> Receipt | None:
        """Takes back the receipt of a batch, if it alone was submitted, and nothing was said since."""
        if not self.outbox:
            return None
        to, last = self.outbox[-1]
        if to != peer or type(last) is not Receipt or last.refused or [one.id for one in last.accepted] != [id]:
            return None
        self.outbox.pop()
        return last
