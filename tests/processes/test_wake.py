"""What wakes a thread that polls, or that sleeps until a signal comes, and when one that polls does not sleep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import zmq

from tests.interrupts import PATIENCE, interrupt_each_step
from zq.processes.wake import BusyPoll, SignalFlag, Wake


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


class Line:
    """What comes at its times, to who polls for it; a look takes a tenth of a millisecond."""

    def __init__(self, *comes_at: float) -> None:
        self.now = 0.0
        self.comes_at = list(comes_at)
        self.polls: list[int] = []
        self.pauses = 0

    def clock(self) -> float:
        return self.now

    def give_way(self) -> None:
        self.pauses += 1

    def poll(self, patience: int) -> list[Any]:
        self.polls.append(patience)
        until = self.now + max(patience / 1000, 0.0001)
        if self.comes_at and self.comes_at[0] <= until:
            self.now = max(self.now, self.comes_at.pop(0))
            return ["ready"]
        self.now = until
        return []

    def times_slept(self) -> int:
        return len(self.polls) - self.polls.count(0)


def test_no_sleep_while_messages_come_soon() -> None:
    line = Line(0.0004, 0.0008, 0.0012)
    busy = BusyPoll(0.0005, line.clock, line.give_way)
    assert busy.wait(line.poll, 1000) == ["ready"]
    assert line.times_slept() == 1  # nobody knows yet that it is worth it
    for _ in range(2):
        assert busy.wait(line.poll, 1000) == ["ready"]
    assert line.times_slept() == 1
    assert line.pauses == line.polls.count(0) - 2  # between any two looks


def test_sleep_again_when_nothing_comes_soon() -> None:
    line = Line(0.0001, 0.5, 1.0, 1.0002, 1.0003)
    busy = BusyPoll(0.0005, line.clock, line.give_way)
    busy.wait(line.poll, 1000)
    busy.wait(line.poll, 1000)
    looks = line.polls.count(0)
    assert looks > 1
    busy.wait(line.poll, 1000)  # once was enough
    assert line.polls.count(0) == looks
    busy.wait(line.poll, 1000)
    busy.wait(line.poll, 1000)
    assert line.polls.count(0) > looks


@pytest.mark.parametrize(("seconds", "patience"), [(0.0, 1000), (0.0005, 0)])
def test_no_look_more_than_is_asked_for(seconds: float, patience: int) -> None:
    line = Line(*[0.0001 * number for number in range(1, 10)])
    busy = BusyPoll(seconds, line.clock, line.give_way)
    for _ in range(8):
        busy.wait(line.poll, patience)
    assert line.polls == [patience] * 8


def test_what_is_due_does_not_wait_for_looks() -> None:
    line = Line(0.0001)
    busy = BusyPoll(0.01, line.clock, line.give_way)
    busy.wait(line.poll, 1000)
    began = line.now
    assert busy.wait(line.poll, 2) == []
    assert line.now - began <= 0.0021 + 0.002
