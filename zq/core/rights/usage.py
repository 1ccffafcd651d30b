"""What each key has and was refused, as the query `status` shows it to whoever may do everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nlargest
from typing import Final, NamedTuple

from zq.core.accounts import COUNTED, Accounts

KEYS_SHOWN_MAX: Final = 100
"""Keys in an answer: those with the most connections, and of these the ones that were refused most."""


class KeyTraffic(NamedTuple):
    """What the shell knows of a key."""

    connections: int = 0  # that are open
    refused: int = 0  # messages that were too many a second


NO_TRAFFIC: Final = KeyTraffic()


def usage_per_key(
    accounts: Accounts, names: Iterable[str], traffic_of: Callable[[str], KeyTraffic]
) -> dict[str, dict[str, int]]:
    """Returns by the names of keys what is not zero, of those who have or had anything."""
    found: list[tuple[int, int, str]] = []
    for name in names:
        connections, refused = traffic_of(name)
        account = accounts.of_key(name)
        if account is not None:
            found.append((connections, refused + account.refused, name))
        elif connections or refused:
            found.append((connections, refused, name))
    return {
        name: {"connections": connections, "refused": refused, **_counts(accounts, name)}
        for connections, refused, name in nlargest(KEYS_SHOWN_MAX, found)
    }


def _counts(accounts: Accounts, name: str) -> dict[str, int]:
    account = accounts.of_key(name)
    counts = [] if account is None else [(kind, getattr(account, kind)) for kind in COUNTED]
    return {kind: count for kind, count in counts if count}
