"""The signals of commands that look after others."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.interrupts import interrupt_each_step
from zq.cli.starting.stopping import StopRequest


def test_request_to_stop_is_heard_wherever_it_interrupts_a_wait() -> None:
    with ExitStack() as open_requests:
        requests: list[StopRequest] = []

        def prepare() -> tuple[Callable[[], Any], Callable[[], Any]]:
            requests.append(open_requests.enter_context(StopRequest()))
            return partial(requests[-1].wait, 0.0001), partial(signal.raise_signal, signal.SIGTERM)

        assert interrupt_each_step(prepare) > 5
        assert all(request.is_set and not request.is_hasty for request in requests[:-1])


def test_second_request_to_stop_makes_haste() -> None:
    with StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        assert (request.wait(60.0), request.is_hasty) == (True, False)
        signal.raise_signal(signal.SIGINT)
        assert request.is_hasty
