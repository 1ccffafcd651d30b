"""Calls that are interrupted between any two of their instructions, as by a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

PATIENCE = 20.0
"""Seconds after which a handler that stands still is taken for one that would for ever."""


def interrupt_each_step(prepare: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]) -> int:
    """Carries a call out again and again, and each time has a handler run within it, one instruction later: where
    Python could run the handler of a signal. Returns how many places there were.

    Args:
        prepare: makes the call and the handler anew.

    Raises:
        AssertionError: the handler, or the call, stands still: it waits for what the thread holds itself.
    """
    before = signal.signal(signal.SIGALRM, _fail)
    places = 0
    try:
        while _call_interrupted(*prepare(), places):
            places += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return places


def _fail(number: int, frame: FrameType | None) -> None:
    raise AssertionError("a handler that interrupted a call, or the call, stands still")


def _call_interrupted(call: Callable[[], Any], handler: Callable[[], Any], place: int) -> bool:
    """Makes a call, with the handler within it before the instruction of this number; False when it has fewer."""
    left = place

    def trace(frame: FrameType, event: str, value: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            left -= 1
            if left == -1:
                sys.settrace(None)
                frame.f_trace = None
                handler()
                return None
        return trace

    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return left < 0
