"""What each peer has at the moment, and has made: who would go beyond one of its limits (`PeerLimits`) is refused in
words, or loses its own oldest, and nobody else notices.

A peer is whoever `Accounts.account_of` says. What it *has* (waits, pulls, watchers, names of workers, tasks in hand)
ends with its connection. What it has *made* (queues, bindings, schedules) stays when it goes, and counts for as long as
it is there and its maker is known; ceilings over all peers bound what many connections can make together
(`CoordinatorOptions.queues_max` and its kin).

Invariant: the counts of an account are the numbers of things that name it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Any, Final

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


class Account:
    """What one peer has and has made."""

    __slots__ = (
        "bindings",
        "follows",
        "holders",
        "leases",
        "leases_max",
        "limits",
        "peer",
        "pulls",
        "queues",
        "schedules",
        "waits",
    )

    def __init__(self, peer: bytes, limits: PeerLimits) -> None:
        self.peer = peer
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
        """Returns why it may not have more of a kind."""
        has, most = getattr(self, kind), getattr(self.limits, kind)
        return f"a peer may have {most} {kind}, and this one has {has}; peer_limits ({kind}=...) says how many"


class Accounts:
    """The accounts of all peers that have or have made anything."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        # What the key of a connection may have; None: every connection may have the same.
        self.limits_of: Callable[[bytes], PeerLimits] | None = None
        self._by_peer: dict[bytes, Account] = {}
        self._makers: dict[str, dict[Hashable, Account]] = {kind: {} for kind in MADE}

    def __len__(self) -> int:
        return len(self._by_peer)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_peer.values())

    def maker_of(self, kind: str, name: Hashable) -> Account | None:
        """Returns who has made something, if that is known."""
        return self._makers[kind].get(name)

    def account_of(self, peer: bytes) -> Account:
        """Returns the account that a connection counts for: its own."""
        account = self._by_peer.get(peer)
        if account is None:
            if len(self._by_peer) >= ACCOUNTS_MAX:
                self._forget_one()
            limits = self._limits if self.limits_of is None else self.limits_of(peer)
            account = self._by_peer[peer] = Account(peer, limits)
        return account

    def see_off(self, account: Account) -> None:
        """Forgets an account if there is nothing in it."""
        if account.is_idle and self._by_peer.get(account.peer) is account:
            del self._by_peer[account.peer]

    def forget(self, peer: bytes) -> None:
        """Forgets the account of a connection that is gone."""
        self._by_peer.pop(peer, None)

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
        for peer, account in islice(self._by_peer.items(), ACCOUNTS_LOOKED_AT_MAX):
            if account.has_nothing:
                del self._by_peer[peer]
                return
