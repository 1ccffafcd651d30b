"""What may be added: asked before anything is made that is neither a completion nor a way to free room."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from zq.core.accounts import Accounts, BusyRequestError
from zq.core.options import CoordinatorOptions
from zq.core.state.step import Step


class Ceilings:
    """Refuses what is beyond a limit: of the store, of the coordinator, or of the peer whose message is handled."""

    def __init__(
        self,
        options: CoordinatorOptions,
        accounts: Accounts,
        queues: Collection[str],
        count: Callable[[str], None],
    ) -> None:
        """Keeps what is asked.

        Args:
            options: with the ceilings of the coordinator.
            accounts: what the peers have made and hold.
            queues: names of those that there are; it changes with them.
            count: counts a refusal by its name.
        """
        self._options = options
        self._accounts = accounts
        self._queues = queues
        self._count = count

    def check_store(self, step: Step) -> None:
        """Raises BusyRequestError when the store is full: asked before anything is stored that is neither a completion
        nor a way to free room.
        """
        if step.tx.is_full:
            self._count("limit store")
            raise BusyRequestError(step.tx.why_full)

    def check_queues(self, step: Step, names: Collection[str]) -> None:
        """Raises BusyRequestError when whoever sent the message may not make those of the queues that are not there."""
        fresh = {name for name in names if name not in self._queues}
        if fresh:
            self.check_made(step, "queues", len(self._queues), len(fresh))

    def check_made(self, step: Step, kind: str, there: int, more: int = 1) -> None:
        """Raises BusyRequestError when there are too many of a kind, or whoever sent the message has made too many.

        Args:
            step: with that peer.
            kind: queues, bindings or schedules.
            there: how many there are.
            more: how many come.
        """
        most = getattr(self._options, f"{kind}_max")
        if there + more > most:
            self._count(f"limit {kind}_max")
            raise BusyRequestError(f"there are {there} {kind}, and {kind}_max says that there may be {most}")
        self.check_peer(step, kind, more)

    def check_peer(self, step: Step, kind: str, more: int = 1) -> None:
        """Raises BusyRequestError when whoever sent the message may not have so many more of a kind."""
        if step.peer is None:
            return
        account = self._accounts.account_of(step.peer)
        if account.room(kind) < more:
            self._count(f"limit {kind}")
            raise BusyRequestError(account.refusal(kind))
        self._accounts.see_off(account)  # if this made it, and nothing comes of it

    def note_made(self, step: Step, kind: str, name: Hashable) -> None:
        """Notes that whoever sent the message has made something new."""
        if step.peer is not None:
            self._accounts.note_made(kind, name, self._accounts.account_of(step.peer))
