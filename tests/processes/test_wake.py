"""What wakes a thread that polls."""

from __future__ import annotations

import zmq

from zq.processes.wake import Wake


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
