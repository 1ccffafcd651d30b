"""What a client tells its coordinator without being answered: which leases have come, and what nobody waits for any
more.
"""

from __future__ import annotations

from collections.abc import Iterable

from zq.sessions.requests import parts_of
from zq.wire.messages import Confirm, ToCoordinator, Withdraw
from zq.wire.proofs import proofs_of


class Notices:
    """What is still to be told. A confirmation is kept until a pong shows that it has come.

    Args:
        secret: of the session, which proves whose leases they are.
    """

    def __init__(self, secret: str) -> None:
        self.forgotten: list[int] = []  # requests that were given up, and of which the coordinator is to be told
        self.arrived: list[int] = []  # tokens to be confirmed
        self._secret = secret
        self._confirmed: dict[int, int] = {}  # token -> the last ping before it was confirmed

    def connected(self) -> None:
        """On a new connection what was not surely heard is told again, and what was asked before is asked by nobody."""
        self.forgotten.clear()
        self.arrived += self._confirmed
        self._confirmed.clear()

    def note_pong(self, ping: int) -> None:
        """What was told before this ping has come."""
        if self._confirmed:
            self._confirmed = {token: told for token, told in self._confirmed.items() if told >= ping}

    def take(self, forgotten: Iterable[int], ping: int, *, is_older: bool) -> list[ToCoordinator]:
        """Returns the messages to send.

        Args:
            forgotten: other requests that were given up.
            ping: the last one that was sent.
            is_older: whether the coordinator does not know what a withdraw is.
        """
        told: list[ToCoordinator] = []
        if self.arrived:
            self._confirmed.update(dict.fromkeys(self.arrived, ping))
            told += [Confirm(part, proofs_of(self._secret, part)) for part in parts_of(self.arrived)]
            self.arrived = []
        given_up = [*forgotten, *self.forgotten]
        self.forgotten.clear()
        if given_up and not is_older:
            told += [Withdraw(part) for part in parts_of(given_up)]
        return told
