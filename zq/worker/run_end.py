"""How a run of a worker ends: who has asked for it, how long handlers may take, which signals ask, and what is said
meanwhile.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from types import FrameType
from typing import Final

from zq.processes.shown import printable
from zq.sessions.worker import WorkerSession
from zq.task import task_id

log = logging.getLogger(__name__)

FIRST_WORD_AFTER: Final = 0.2
"""Seconds that a worker which ends waits for handlers without a word."""

WORDS_INTERVAL: Final = 10.0
"""Seconds between two words of a worker that waits for its handlers."""

NAMED_TASKS: Final = 3
"""Tasks that are named of those that are waited for."""

WAIT_INTERVAL: Final = 0.01
"""Seconds between two looks at whether a run that another thread ends is over."""

STOP_SIGNALS: Final = tuple(
    number for name in ("SIGTERM", "SIGINT", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


class RunEnd:
    """Whether a run is to end, and until when it waits for what runs. Any thread may ask for it, several may, and the
    shortest timeout counts. So may a signal handler, wherever it interrupts one that does: nothing here has a lock that
    is held for more than a moment.

    Attributes:
        is_begun: whether somebody has asked.
        is_hasty: whether nothing is waited for any more.
        is_over: whether nothing is left of the run but handlers in threads that did not end.
    """

    def __init__(self) -> None:
        self.is_begun = self.is_hasty = self.is_over = False
        self._asked: dict[str, tuple[int, object]] = {}  # by which thread, and which call: `setdefault` is one step
        self._timeouts = [inf]  # seconds
        self._ends = [inf]  # when what still runs is left behind (monotonic): the first of these

    def begin(self, timeout: float) -> bool:
        """Asks for the end; returns whether nobody has before."""
        own = object()
        self._timeouts.append(timeout)
        self._ends.append(time.monotonic() + timeout)
        is_first = self._asked.setdefault("by", (threading.get_ident(), own))[1] is own
        self.is_begun = True
        return is_first

    def take_over(self) -> None:
        """Says that this thread ends it, which may be another one than that which asked first."""
        self._asked["by"] = (threading.get_ident(), None)

    def wait(self) -> None:
        """Returns when it is over, or at once in the thread that ends it, which a signal handler interrupts."""
        while not self.is_over and self._asked["by"][0] != threading.get_ident():
            time.sleep(WAIT_INTERVAL)

    @property
    def timeout(self) -> float:
        """The shortest that was asked for, in seconds."""
        return min(self._timeouts)

    @property
    def seconds_left(self) -> float:
        """Seconds for which handlers are still waited for; 0 or less: no longer."""
        return 0.0 if self.is_hasty else min(self._ends) - time.monotonic()


class StopSignals:
    """SIGTERM, SIGINT and SIGHUP while a run lasts: the first asks for its end, the second makes haste, the third is
    Python's. What the process ignores it still ignores: SIGHUP under nohup.
    """

    def __init__(self, ask: Callable[[], bool], make_haste: Callable[[], None]) -> None:
        """Takes the signals, if this is the main thread.

        Args:
            ask: for the end; whether nobody has before.
            make_haste: called when somebody has.
        """
        self._ask = ask
        self._make_haste = make_haste
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._take)
                for number in STOP_SIGNALS
                if number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) is signal.SIG_DFL
            }

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal calls
        if not self._ask():
            self._make_haste()
            self.restore()

    def restore(self) -> None:
        """Puts back the handlers that were there before, where nobody has put others."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            if signal.getsignal(number) == self._take:
                signal.signal(number, handler)


class WaitingWords:
    """Says what a worker that ends waits for: after a moment, and now and then."""

    def __init__(self, session: WorkerSession, *, can_signal: bool) -> None:
        """Makes words that are not said yet.

        Args:
            session: whose tasks run.
            can_signal: whether a signal ends the worker at once.
        """
        self._session = session
        self._can_signal = can_signal
        self._next_at = time.monotonic() + FIRST_WORD_AFTER

    def look(self, running: Sequence[tuple[int, int, float]], seconds_left: float) -> None:
        """Says it, if it is time; takes what runs as a runner tells it."""
        now = time.monotonic()
        if now < self._next_at or not running:
            return
        self._next_at = now + WORDS_INTERVAL
        named = [name for one in running[:NAMED_TASKS] if (name := self._named(*one, now)) is not None]
        more = len(running) - len(named)
        log.warning(
            "worker %s ends, waiting for %d task%s (%s%s) for %.0f s at most%s",
            *(self._session.name, len(running), "s" if len(running) > 1 else "", "; ".join(named)),
            *(f"; {more} more" if more else "", seconds_left),
            "; ask again (Ctrl-C, SIGTERM) to end now" if self._can_signal else "",
        )

    def _named(self, token: int, index: int, since: float, now: float) -> str | None:
        hand = self._session.hands.get(token)
        if hand is None:
            return None
        assignment = hand.assignment
        id = task_id(assignment.id, assignment.size, index)
        return f"{printable(id)}, {printable(assignment.queue)}, {now - since:.0f} s so far"
