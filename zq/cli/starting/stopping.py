"""The signals of a command that looks after others: the first asks for the end, the second makes haste."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self

from zq.processes.wake import SignalFlag

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: its terminal was closed


class StopRequest:
    """Takes the signals that ask for the end, as long as it is entered."""

    def __init__(self) -> None:
        self.is_hasty = False
        self._asked = SignalFlag()
        self._before: dict[int, object] = {}

    @property
    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._asked.is_set

    def wait(self, seconds: float) -> bool:
        """Waits until the end is asked for, so long at most; returns whether it is."""
        return self._asked.wait(seconds)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in ASKING}
        return self

    def __exit__(self, *problem: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what it returned

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what signal calls
        self.is_hasty = self.is_set
        self._asked.set()
