"""Who may hold tasks: a worker, or one pull of a client; pulls that wait for their first; and the guests of the
coordinator, connections for which something is kept that is to go with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Generic, NamedTuple, TypeVar

from zq.core.accounts import Account, Accounts
from zq.wire.messages import Pull
from zq.wire.steering import About

L = TypeVar("L")

RUN_PART = 4
"""Part of what a worker asks to hold for each of its slots that one run of a key may be: a slot works on it alone, and
what a worker asks for is a tenth of a second of work.
"""

Peer = bytes
"""A connection, as the transport names it."""


class Life(Enum):
    """How a worker seems to be (protocol 3)."""

    LIVE = "live"
    SUSPECT = "suspect"  # missed beats: no new tasks
    ABSENT = "absent"  # known from before a restart only: its leases wait to be claimed


@dataclass(slots=True, eq=False)
class HolderOf(Generic[L]):
    """A worker, by name and incarnation, or a pull, by client and request; of what is for who imports the leases:
    `zq.core.state.leases.Holder`.
    """

    name: str
    incarnation: str  # of a pull: its secret, see `who_pulls`; nobody is told
    is_puller: bool = field(kw_only=True)
    peer: Peer | None = None
    owner: str | None = None  # name of its key; None without keys
    life: Life = Life.ABSENT
    queues: tuple[str, ...] = ()  # that it asked for; each of them exists
    credit: int = 0
    concurrency: int = 1
    held: int = 0  # invariant: tasks in `leases`
    leases: dict[int, L] = field(default_factory=dict)  # by token, so in the order in which they were granted
    heard_at: float = 0.0
    connected_at: float = 0.0
    suspected_time: float = 0.0  # wall; of a suspect
    turn: int = 0  # when it last got something, to choose the least recently used
    done: int = 0
    solo: bool = False  # holds a task that may kill workers, and gets nothing beside it (protocol 3.1)
    steady_since: float = 0.0  # heard without a gap, on one connection, and the coordinator did not stand still
    gaps: int = 0  # times that it was away since it last settled a task
    beat_at: float = 0.0  # its last hello or heartbeat
    idle_finds: int = 0  # times that it was found to hold tasks without working on them, since it last settled one
    rests_until: float = -inf  # gets nothing until then, for that reason
    is_resting: bool = False
    is_loaded: bool = False  # as much is on its way to it as may be: its connection has to read first
    called_at: float = -inf  # when it was last asked for a sign of life, because another wants its name
    about: About | None = None  # what it said last of itself; None: it is older than that message
    account: Account | None = None  # that its leases count for; None: of a peer that is not back since the start

    @property
    def key(self) -> str:
        """The key under which a pull is kept that has leases: other than its name, nobody can guess it."""
        return _pull_key(self.name, self.incarnation)

    @property
    def free(self) -> int:
        """Returns how many more tasks it may get."""
        if self.solo or self.is_resting or self.is_loaded or self.life is not Life.LIVE:
            return 0
        account = self.account
        if account is not None and account.leases >= account.leases_max:
            return 0
        return (self.credit if not self.idle_finds else min(1, self.credit)) - self.held

    @property
    def run_max(self) -> int:
        """How many ordered tasks of a key it may get at once: one after the other, one of its slots does them."""
        about = self.about
        if about is None or not about.takes_runs:
            return 1
        return self.credit // (RUN_PART * self.concurrency) or 1

    @property
    def takes_intervals(self) -> bool:
        """Whether it beats less often when it is told so (protocol 3.6)."""
        about = self.about
        return about is not None and about.takes_intervals

    def beat_idle(self, now: float) -> bool:
        """Notes a heartbeat that lists no lease, if it changes nothing else; returns whether that is so."""
        if self.leases or self.is_resting or self.life is not Life.LIVE:
            return False
        self.heard_at = self.beat_at = now
        return True

    def room_for(self, most: int) -> int:
        """Returns how many of so many tasks it may get, and its peer with it."""
        most = min(most, self.free)
        account = self.account
        if account is not None and account.leases + most > account.leases_max:
            return max(0, account.leases_max - account.leases)  # it may have more than it may, if that was lowered
        return most


class PullWait(NamedTuple):
    """A pull that waits for its first task."""

    peer: Peer
    pull: Pull
    until: float
    owner: str | None = None  # name of its key; None without keys

    @property
    def name(self) -> str:
        """The name by which people know it."""
        return pull_name(self.pull.client, self.pull.request)

    @property
    def who(self) -> str:
        """What tells it from others of its name."""
        return who_pulls(self.peer, self.pull)

    @property
    def key(self) -> str:
        """The key under which it waits, and its leases are kept."""
        return _pull_key(self.name, self.who)


class Guest:
    """A connection of a client that waits for something."""

    __slots__ = ("account", "heard_at", "peer", "pulls", "waits")

    def __init__(self, peer: Peer, now: float, account: Account) -> None:
        self.peer = peer
        self.account = account
        self.heard_at = now  # monotonic
        self.waits: dict[int, str] = {}  # request -> id of what is waited for
        self.pulls: dict[str, PullWait] = {}  # by key, those that wait

    @property
    def is_idle(self) -> bool:
        """Whether nothing is kept for it."""
        return not (self.waits or self.pulls)


class Guests(dict[Peer, Guest]):
    """All guests, by connection; who waits for nothing any more is none."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__()
        self._accounts = accounts

    def welcome(self, peer: Peer, now: float) -> Guest:
        """Returns the guest at a connection, for which something is to be kept."""
        guest = self.get(peer)
        if guest is None:
            guest = self[peer] = Guest(peer, now, self._accounts.account_of(peer))
        return guest

    def see_off(self, guest: Guest) -> None:
        """Forgets a guest if nothing is kept for it any more."""
        if guest.is_idle:
            del self[guest.peer]
            self._accounts.see_off(guest.account)


def pull_name(client: str, request: int) -> str:
    """Returns the name of a pull, as it is shown."""
    return f"{client}/{request}"


def who_pulls(peer: Peer, pull: Pull) -> str:
    """Returns what tells a pull from others of its name: its secret, else its connection, with a space before it, which
    no secret has.
    """
    return pull.secret or f" {peer.hex()}"


def pull_key(peer: Peer, pull: Pull) -> str:
    """Returns the key under which a pull waits, and its leases are kept."""
    return _pull_key(pull_name(pull.client, pull.request), who_pulls(peer, pull))


def _pull_key(name: str, who: str) -> str:
    return f"{name} {who}"


def request_of(name: str) -> int:
    """Returns the request of a pull by the name under which its leases are kept."""
    return int(name.rpartition("/")[2])
