"""Who was heard when: decides that a peer is gone, and when the next heartbeat is due. It knows no clock and no
socket.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator


class Liveness:
    """The peers of a loop that exchanges heartbeats, in the order in which they were heard.

    Invariant: the peers' `expires_at` never falls from first to last, so that only the front need be looked at.

    Args:
        interval: seconds between heartbeats, above 0; both ends should have the same.
        missed_max: heartbeats in a row whose absence means gone, from 1; RFC 6 and 7 advise 3 to 5.
        now: monotonic seconds.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, interval: float, missed_max: int, now: float) -> None:
        if not interval > 0 or missed_max < 1:
            raise ValueError(
                f"expected an interval above 0 and missed_max from 1, got {interval} seconds and {missed_max}"
            )
        self._interval = interval
        self._patience = interval * missed_max
        self._expires_at: OrderedDict[bytes, float] = OrderedDict()
        self._beat_at = now
        self._looked_at = now

    def heard(self, peer: bytes, now: float) -> None:
        """Any message counts as life."""
        self._expires_at[peer] = now + self._patience
        self._expires_at.move_to_end(peer)

    def forget(self, peer: bytes) -> None:
        """Ends the watch over a peer, if there was one."""
        self._expires_at.pop(peer, None)

    def __contains__(self, peer: bytes) -> bool:
        return peer in self._expires_at

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._expires_at)

    def take_expired(self, now: float) -> list[bytes]:
        """Returns, and forgets, the peers that are gone.

        A loop that was held up itself cannot tell who was silent: every deadline moves by the time it stood still.
        """
        stall = now - self._looked_at - self._interval
        self._looked_at = now
        if stall > 0:
            for peer in self._expires_at:
                self._expires_at[peer] += stall
        expired = []
        for peer, expires_at in self._expires_at.items():
            if expires_at > now:
                break
            expired.append(peer)
        for peer in expired:
            del self._expires_at[peer]
        return expired

    def take_beat(self, now: float) -> bool:
        """Returns whether a heartbeat is due now, and sets the time of the next."""
        if now < self._beat_at:
            return False
        self._beat_at = now + self._interval
        return True

    def next_at(self) -> float:
        """Returns the monotonic seconds at which to look again; never further away than a heartbeat."""
        return min(self._beat_at, next(iter(self._expires_at.values()), math.inf))
