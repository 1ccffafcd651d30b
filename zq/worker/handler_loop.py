"""The event loop in which coroutine handlers run: it goes on until we end it.

Handlers share it, and whatever one of them does to it must end no other: they may stop it, cancel all its tasks, or
start tasks of their own that exit. So nothing of ours is a task of it but the handlers themselves, and a loop that
has stopped runs on. What we do in it goes through `soon` and `call`: a fault there is ours, ends the loop, and is
raised by `run`, so that whoever runs it can say so and give the tasks back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from zq.handling.contexts import noticing_forks
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of

log = logging.getLogger(__name__)


class HandlerLoop:
    """An event loop for handlers; `run` belongs to the thread that is to be the loop's."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        self._fault: BaseException | None = None

    def run(self, begin: Callable[[], None], broken: Callable[[], None]) -> None:
        """Runs the loop until `end` is called, and then cancels what is left in it.

        Args:
            begin: what is done first.
            broken: called after something of ours has raised, before anything is cancelled.

        Raises:
            BaseException: what something of ours has raised.
        """
        with noticing_forks(), asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self.soon(begin)
            while not self._is_over:
                try:
                    self._loop.run_forever()
                except BaseException as error:  # sys.exit in a task that a handler has started
                    log.warning("a task of a handler raised what ends a loop\n%s", trace_of(error, LOGGED_BYTES_MAX))
            if self._fault is not None:
                trace = trace_of(self._fault, LOGGED_BYTES_MAX)
                log.error("the event loop of the handlers ends by a fault that is not a handler's\n%s", trace)
                broken()
        if self._fault is not None:
            raise self._fault

    def end(self) -> None:
        """Ends the loop; call it there."""
        self._is_over = True
        if self._loop is not None:
            self._loop.stop()

    def soon(self, function: Callable[[], None]) -> None:
        """Has something of ours done in the next turn of the loop; call it there."""
        assert self._loop is not None
        self._loop.call_soon(self._guard, function)

    def call(self, function: Callable[[], object]) -> None:
        """Has something of ours done in the loop, from any thread; nothing when it does not run."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._guard, function)
            except RuntimeError:
                pass  # it has ended: nothing runs there any more

    def _guard(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            if not self._is_over:  # else whoever would hear of it has gone
                self._fault = error
                self.end()
