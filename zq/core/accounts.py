"""What each peer has at the moment, and has made: who would go beyond one of its limits (`PeerLimits`) is refused in
words, or loses its own oldest, and nobody else notices.

A peer is whoever `Accounts.account_of` says: a connection, or with keys the key of a connection, with all that it has.
What a peer *has* (waits, pulls, watchers, names of workers, tasks in hand) ends with its connection. What it has *made*
(queues, bindings, schedules) stays when it goes, and counts for as long as it is there and its maker is known: a
connection until it is gone, a key for good. Ceilings over all peers bound what many connections can make together
(`CoordinatorOptions.queues_max` and its kin).

Invariant: the counts of an account are the numbers of things that name it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from zq.core.arguments import InvalidRequestError
from zq.core.peer_limits import PeerLimits

COUNTED: Final = ("waits", "pulls", "follows", "workers", "leases", "queues", "bindings", "schedules")
"""What is counted of each peer, by the names of its limits."""

MADE: Final = ("queues", "bindings", "schedules")
"""Those of them that outlive its connection."""

ACCOUNTS_MAX: Final = 100_000
"""Accounts that are remembered, of connections that are not known to be gone: about 30 MB."""

ACCOUNTS_LOOKED_AT_MAX: Final = 100
"""Accounts that are looked at for one to forget."""


class BusyRequestError(InvalidRequestError):
    """What was asked for cannot be done now: a limit is reached, or the store is full; nothing was changed."""

    code = "busy"


class KeyShare(NamedTuple):
    """The key of a connection, by its name, and what all its connections may have together."""

    name: str
    limits: PeerLimits


class Account:
    """What one peer has and has made.

    Attributes:
        who: a connection, or the name of a key.
        refused: times that it was refused something, by a limit or for want of a right; of keys.
        is_kept: whether it stays when there is nothing in it: of a key that has rights.
    """

    __slots__ = (
        "bindings", "follows", "holders", "is_kept", "leases", "leases_max", "limits", "pulls", "queues", "refused",
        "schedules", "waits", "who",
    )  # fmt: skip

    def __init__(self, who: bytes | str, limits: PeerLimits) -> None:
        self.who = who
        self.refused = 0
        self.is_kept = False
        self.limits = limits
        self.leases_max = limits.leases  # at hand, since it is looked at for every lease
        self.waits = self.pulls = self.follows = self.leases = 0
        self.queues = self.bindings = self.schedules = 0
        self.holders: dict[str, Any] = {}  # its workers, by name

    def take_limits(self, limits: PeerLimits) -> None:
        """Gives it other limits, from now on: what it has above them stays."""
        self.limits = limits
        self.leases_max = limits.leases

    @property
    def workers(self) -> int:
        return len(self.holders)

    @property
    def is_full(self) -> bool:
        """Whether it holds as many tasks as it may."""
        return self.leases >= self.leases_max

    @property
    def has_nothing(self) -> bool:
        """Whether nothing of it would go with its connection."""
        return not (self.waits or self.pulls or self.follows or self.leases or self.holders)

    @property
    def is_idle(self) -> bool:
        return self.has_nothing and not (self.queues or self.bindings or self.schedules)

    def room(self, kind: str) -> int:
        """Returns how many more of a kind it may have."""
        return int(getattr(self.limits, kind) - getattr(self, kind))

    def refusal(self, kind: str) -> str:
        """Returns why it may not have more of a kind, and counts that."""
        self.refused += 1
        has, most = getattr(self, kind), getattr(self.limits, kind)
        if isinstance(self.who, str):
            where = f"the limits of the key, or else peer_limits ({kind}=...), say how many"
            return f"key {self.who} may have {most} {kind} on all its connections, and has {has}; {where}"
        return f"a peer may have {most} {kind}, and this one has {has}; peer_limits ({kind}=...) says how many"


class Accounts:
    """The accounts of all peers that have or have made anything."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        # Tells the key of a connection, if it has one that may do anything; None: there are no keys.
        self.key_of: Callable[[bytes], KeyShare | None] | None = None
        self._by_who: dict[bytes | str, Account] = {}
        self._makers: dict[str, dict[Hashable, Account]] = {kind: {} for kind in MADE}

    def __len__(self) -> int:
        return len(self._by_who)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_who.values())

    def maker_of(self, kind: str, name: Hashable) -> Account | None:
        """Returns who has made something, if that is known."""
        return self._makers[kind].get(name)

    def account_of(self, peer: bytes) -> Account:
        """Returns the account that a connection counts for: its own, or that of its key."""
        key = None if self.key_of is None else self.key_of(peer)
        who = peer if key is None else key.name
        account = self._by_who.get(who)
        if account is None:
            if len(self._by_who) >= ACCOUNTS_MAX:
                self._forget_one()
            account = self._by_who[who] = Account(who, self._limits if key is None else key.limits)
            account.is_kept = key is not None
        return account

    def of_key(self, name: str) -> Account | None:
        """Returns the account of a key, if anything was ever counted for it."""
        return self._by_who.get(name)

    def see_off(self, account: Account) -> None:
        """Forgets an account if there is nothing in it."""
        if not account.is_kept and account.is_idle and self._by_who.get(account.who) is account:
            del self._by_who[account.who]

    def forget(self, peer: bytes) -> None:
        """Forgets the account of a connection that is gone; that of a key is not."""
        self._by_who.pop(peer, None)

    def note_made(self, kind: str, name: Hashable, account: Account) -> None:
        """Notes who has made something that was not there."""
        self._makers[kind][name] = account
        setattr(account, kind, getattr(account, kind) + 1)

    def note_gone(self, kind: str, name: Hashable) -> None:
        """Notes that something is there no more, whoever has made it."""
        account = self._makers[kind].pop(name, None)
        if account is not None:
            setattr(account, kind, getattr(account, kind) - 1)
            self.see_off(account)

    def _forget_one(self) -> None:
        """Forgets an old account of which nothing would go with its connection."""
        for who, account in islice(self._by_who.items(), ACCOUNTS_LOOKED_AT_MAX):
            if account.has_nothing and not account.is_kept:
                del self._by_who[who]
                return
