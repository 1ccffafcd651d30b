"""What `zq submit --wait` says while it waits: attempts that fail, and why the task does not run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zq.cli.output import echo
from zq.errors import RemoteProtocolError, TaskError, TimedOutError, UnreachableError
from zq.processes.shown import printable

if TYPE_CHECKING:
    from zq.client.client import Client
    from zq.client.receipt import Receipt

FARE_INTERVAL = 1.0
"""Seconds between two questions how a task fares."""

SILENT_CODES = frozenset(("running", "ended", "unknown", "next"))
"""Reasons of `why` that need no word: the result comes, or the next question tells more."""


class Patience:
    """Waits for one task, and says what it sees meanwhile."""

    def __init__(self, client: Client, receipt: Receipt, say: Callable[[str], None] | None = None) -> None:
        """Makes one that has seen nothing.

        Args:
            say: takes each line; None writes to stderr.
        """
        self._client = client
        self._receipt = receipt
        self._say = say or (lambda line: echo(line, err=True))
        self._seen: set[tuple[float, str]] = set()
        self._code: str | None = None

    def result(self, give_up_at: float | None) -> Any:
        """Returns the result; raises as `Receipt.result`. While the coordinator is away it waits on.

        Args:
            give_up_at: monotonic seconds; None: never.
        """
        while True:
            left = None if give_up_at is None else give_up_at - time.monotonic()
            is_last = left is not None and left <= FARE_INTERVAL
            try:
                return self._receipt.result(timeout=max(left, 0.0) if left is not None and is_last else FARE_INTERVAL)
            except (TimedOutError, UnreachableError):
                if is_last:
                    raise
            except TaskError:
                self._look(is_over=True)
                raise
            self._look(is_over=False)

    def _look(self, *, is_over: bool) -> None:
        """Says what is new of the task; nothing when nobody answers, which the log says, or its key may not ask."""
        with suppress(TimedOutError, UnreachableError, RemoteProtocolError):
            self._tell_attempts()
            if not is_over:
                self._tell_reason()

    def _tell_attempts(self) -> None:
        id = self._receipt.id
        for event in self._client.status(id).timeline:
            if event.event == "retry" and (event.time, event.event) not in self._seen:
                self._seen.add((event.time, event.event))
                self._say(f"{printable(id)}: {_attempt(event.detail)}")

    def _tell_reason(self) -> None:
        id = self._receipt.id
        reason = self._client.why(id)
        if reason.code != self._code:
            self._code = reason.code
            if reason.code not in SILENT_CODES:
                self._say(f"{printable(id)} waits: {printable(reason.text)}")


def _attempt(detail: dict[str, Any]) -> str:
    lines = str(detail.get("error") or "").strip().splitlines()
    seconds = detail.get("in") or 0.0
    what_next = "it is tried again at once" if seconds == 0 else f"next try in {seconds:.3g} s"
    return f"attempt {detail.get('attempt')} failed: {printable(lines[-1]) if lines else 'without words'}; {what_next}"
