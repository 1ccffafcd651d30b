"""What the log of a coordinator tells of others: workers that come, go and are lost, input that was refused, a full
store; at debug each refusal.

Strangers cause most of it, so each kind of line has an allowance: what is above it is only counted, and refusals are
told once a minute, by their kinds. What others have said is escaped, and cut.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final

from zq.core.state.holder import Peer
from zq.errors import cut
from zq.processes.shown import printable
from zq.wire.messages import Error, FromCoordinator, Receipt

log = logging.getLogger(__name__)

BURST: Final = 50
"""Lines of a kind at once."""

LINES_PER_SECOND: Final = 1.0
"""Lines of a kind over a long time: some megabytes a day."""

REFUSED_INTERVAL: Final = 60.0
"""Seconds between two lines about what was refused."""

LOUD: Final = ("gone", "fenced", "expelled", "stuck", "trouble", "goodbye:")
"""Beginnings of what is told of workers that somebody should look after."""

KINDS_MAX: Final = 20
"""Kinds of refusals that a line names."""


class Allowance:
    """How many lines may be written; the rest is counted."""

    def __init__(self) -> None:
        self.left_out = 0
        self._room = float(BURST)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether a line may be written now (monotonic seconds)."""
        if self._at is not None:
            self._room = min(BURST, self._room + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        if self._room < 1.0:
            self.left_out += 1
            return False
        self._room -= 1.0
        return True


class Chronicle:
    """Writes the log of one coordinator; belongs to the thread that serves."""

    def __init__(self) -> None:
        self._workers = Allowance()
        self._refusals = Allowance()
        self._refused: dict[str, int] = {}  # as it was told last
        self._look_at = 0.0
        self._unfit = Allowance()
        self._is_full = False

    def tell_workers(self, now: float, notes: Iterable[tuple[str, str]]) -> None:
        """Tells what has happened to workers: name and what it was."""
        for name, text in notes:
            if not self._workers.take(now):
                continue
            level = logging.WARNING if text.startswith(LOUD) else logging.INFO
            left_out, self._workers.left_out = self._workers.left_out, 0
            more = f" ({left_out} lines like this were left out before)" if left_out else ""
            log.log(level, "worker %s: %s%s", printable(name), printable(cut(text, 500)), more)

    def tell_each_refusal(self, now: float, sent: Iterable[tuple[Peer, FromCoordinator]]) -> None:
        """Tells each refusal among what is sent, if the log is at debug."""
        if not log.isEnabledFor(logging.DEBUG):
            return
        for peer, message in sent:
            found: list[tuple[str, str]] = []
            if isinstance(message, Error):
                found.append((message.code, message.text))
            elif isinstance(message, Receipt):
                found += [(one.code, one.reason) for one in message.refused]
            for code, text in found:
                if self._refusals.take(now):
                    log.debug("refused %s from %s: %s", printable(code), peer.hex(), printable(cut(text, 500)))

    def tell_unfit(self, text: str) -> None:
        """Tells that something did not fit the store."""
        if self._unfit.take(time.monotonic()):
            left_out, self._unfit.left_out = self._unfit.left_out, 0
            log.error("%s%s", text, f" ({left_out} lines like this were left out before)" if left_out else "")

    def look(self, now: float, counters: Mapping[str, int], refused: Mapping[str, int], *, why_full: str) -> None:
        """Tells, at most once a minute, what was refused since the last time, and at once that the store is full, or
        is not any more.

        Args:
            now: monotonic seconds.
            counters: of the machine; `error ...` and `limit ...` are refusals.
            refused: what its shell refused by itself, by reason.
            why_full: why the store is, in words; empty when it is not.
        """
        if bool(why_full) is not self._is_full:
            self._is_full = bool(why_full)
            if why_full:
                log.warning("nothing new is accepted: %s", why_full)
            else:
                log.warning("there is room again: what is new is accepted")
        if now < self._look_at:
            return
        self._look_at = now + REFUSED_INTERVAL
        known = {name: count for name, count in counters.items() if name.startswith(("error ", "limit "))}
        known.update({f"above {name}": count for name, count in refused.items()})
        fresh = {name: count - self._refused.get(name, 0) for name, count in known.items()}
        self._refused = known
        told = [f"{count} {printable(name)}" for name, count in fresh.items() if count > 0]
        if told:
            log.info("refused within %.0f s: %s", REFUSED_INTERVAL, ", ".join(told[:KINDS_MAX]))
