"""One who takes whatever it gets: it binds and watches beyond its limits, also while the store says that it is full;
and what every peer has is counted afresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.simulation.ledger import Violation
from zq.core.accounts import COUNTED, Account
from zq.core.peer_limits import PeerLimits
from zq.core.state.books import Books
from zq.store.memory import MemoryStore
from zq.wire.messages import Command, Follow

GLUTTON = b"glutton"
QUEUE = "glutton"
LIMITS = PeerLimits(bindings=4, follows=2)
"""Nobody else binds so much by one connection, or watches by it."""

FULL_EVERY, UNBINDS_EVERY, WATCHES_EVERY = 7, 10, 6
"""Turns."""

RECOUNTED = tuple(kind for kind in COUNTED if kind != "schedules")  # which the store has


class Glutton:
    """It stands beside the coordinator, as the eye does."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.turns = 0

    def say(self) -> Iterator[tuple[bytes, Any]]:
        """Yields what it has to say in a turn; during some of it the store has no room."""
        self.turns += 1
        number = self.turns
        pattern = f"glutton.{number % 7}"
        yield GLUTTON, Command(number, "bind", {"queue": QUEUE, "pattern": pattern})
        if number % UNBINDS_EVERY == 0:
            yield GLUTTON, Command(number, "unbind", {"queue": QUEUE, "pattern": pattern})
        if number % WATCHES_EVERY == 0:
            yield GLUTTON, Follow(number % 5, "nobody's", (), 9.0, 0)
        if number % FULL_EVERY == 0:
            room = self.store.capacity_bytes
            self.store.capacity_bytes = max(1, self.store.used_bytes * 6 // 5)
            yield GLUTTON, Command(number, "bind", {"queue": "q", "pattern": "glutton.full"})
            self.store.capacity_bytes = room


def check_accounts(books: Books) -> None:
    """Counts afresh what every peer has, and that nobody has more than it may."""
    if "glutton.full" in {binding.pattern for binding in books.bindings}:
        raise Violation("a binding was stored while the store was full")
    found = {account: dict.fromkeys(RECOUNTED, 0) for account in books.accounts}
    for account, kind, count in _things(books):
        if account in found:
            found[account][kind] += count
    for account, counts in found.items():
        for kind, count in counts.items():
            said, most = getattr(account, kind), getattr(account.limits, kind)
            if said != count:
                raise Violation(f"peer {account.who!r} has {count} {kind}, its account says {said}")
            if count > most:
                raise Violation(f"peer {account.who!r} has {count} {kind}, and may have {most}")


def _things(books: Books) -> Iterator[tuple[Account | None, str, int]]:
    """Yields whatever counts for a peer, as account, kind and how many."""
    for guest in books.guests.values():
        yield guest.account, "waits", len(guest.waits)
        yield guest.account, "pulls", len(guest.pulls)
    for follower in () if books.events is None else books.events.by_request.values():
        yield follower.account, "follows", 1
    for holder in (*books.workers.values(), *books.pullers.values()):
        leases = sum(lease.mask.bit_count() for lease in holder.leases.values())
        yield holder.account, "leases", leases
        yield holder.account, "workers", not holder.is_puller
    for name in books.queues:
        yield books.accounts.maker_of("queues", name), "queues", 1
    for binding in books.bindings:
        yield books.accounts.maker_of("bindings", binding), "bindings", 1
