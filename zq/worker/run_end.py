"""How a run of a worker ends: who has asked for it, how long handlers may take, and which signals ask."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from math import inf
from types import FrameType


class RunEnd:
    """Whether a run is to end, and until when it waits for what runs. Any thread may ask for it, several may, and the
    shortest timeout counts.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self.timeout = inf
        self.is_hasty = False  # nothing is waited for any more
        self.over = threading.Event()  # nothing is left of the run but handlers in threads that did not end
        self._at = inf  # when what still runs is left behind (monotonic)
        self._lock = threading.Lock()

    def begin(self, timeout: float) -> bool:
        """Asks for the end; returns whether nobody has before."""
        with self._lock:
            is_first, self.is_begun = not self.is_begun, True
            self.timeout = min(self.timeout, timeout)
            self._at = min(self._at, time.monotonic() + timeout)
        return is_first

    @property
    def seconds_left(self) -> float:
        """Seconds for which handlers are still waited for; 0 or less: no longer."""
        return 0.0 if self.is_hasty else self._at - time.monotonic()


class StopSignals:
    """SIGTERM and SIGINT while a run lasts: the first asks for its end, the second makes haste, the third is
    Python's.
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
            self._before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}

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
