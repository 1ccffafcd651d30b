"""What wakes a thread that polls, or that sleeps until a signal comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from tests.interrupts import PATIENCE, interrupt_each_step
from zq.processes.wake import SignalFlag, Wake


def test_bell_stays_readable_until_it_is_cleared() -> None:
    wake = Wake()
    poller = zmq.Poller()
    poller.register(wake, zmq.POLLIN)
    for _ in range(3):
        wake.ring()

    assert dict(poller.poll(0)) == {wake.fileno(): zmq.POLLIN}
    wake.clear()
    assert not poller.poll(0)
    wake.clear()  # nothing to take
    wake.close()


def test_bell_can_be_rung_without_end_and_after_its_end() -> None:
    wake = Wake()
    for _ in range(100_000):  # more than it holds
        wake.ring()
    wake.close()
    wake.ring()

    assert wake.fileno() == -1


def test_signal_that_comes_anywhere_in_a_wait_ends_it() -> None:
    flags: list[SignalFlag] = []

    def prepare() -> tuple[Callable[[], Any], Callable[[], Any]]:
        flags.append(SignalFlag())
        return partial(flags[-1].wait, 0.0001), flags[-1].set

    assert interrupt_each_step(prepare) > 5
    assert [flag.is_set for flag in flags[:-1]] == [True] * (len(flags) - 1)
    assert not flags[-1].is_set  # the last wait was over before
    assert not flags[-1].wait(0.0)
    flags[-1].set()
    assert flags[-1].wait(PATIENCE)
