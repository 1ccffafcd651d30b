"""Calls a user's function for items: with retries, and with failures as values.

Sleeping between retries and the clock come in as arguments, so that nothing here waits for real in tests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from patterns.pipeline.stages import StageOptions
from patterns.work.items import Failure
from patterns.work.plan import Function
from zq.handling.contexts import FreshContexts, Work, end_copy
from zq.handling.raised import summary_of, trace_of
from zq.processes.shown import printable

log = logging.getLogger(__name__)

WORDS_BYTES_MAX = 16_384
"""Of the text of an error, and of its traceback, as of the error texts of zq."""

CALL_LINE_BYTES = 300
"""Of an error in a line of the log."""

LINES_MAX = 20
"""Failed attempts of a stage that are logged in a second, by each process."""


class RemoteCallError(Exception):
    """A call in another process failed, and is in words already.

    Attributes:
        description: type and text of the exception.
        remote_traceback: as it was there.
    """

    def __init__(self, description: str, remote_traceback: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.remote_traceback = remote_traceback


class StageCalls:
    """One function with the retries of its stage.

    Attributes:
        function: called with one item.
        is_copy: whether this process is a copy that the function has made; it is to end with the call.
    """

    def __init__(self, stage: str, function: Function, options: StageOptions, sleep: Callable[[float], None]) -> None:
        """Makes the calls of a stage.

        Args:
            function: called with one item.
            options: of the stage; retries and backoff count here.
            sleep: waits for seconds.
        """
        self.function = function
        self._stage = stage
        self._options = options
        self._sleep = sleep
        self._contexts = FreshContexts()
        self._second, self._lines = 0, 0  # lines in the log in this second

    def begin(self) -> None:
        """Gets what the calls need before the first of them; nothing here."""

    def close(self) -> None:
        """Lets go of what the calls need; nothing here."""

    def call_each(self, items: Iterable[Any], results: list[Any]) -> BaseException | None:
        """Calls the function once for each item and appends what it returns; ends with the first that raises, and
        returns that.
        """
        return self._contexts.drive(self._calls_of(items, results))

    def _calls_of(self, items: Iterable[Any], results: list[Any]) -> Work[BaseException | None]:
        context = yield
        function = self.function
        try:
            for item in items:
                results.append(function(item))  # said so it costs a third less than a bound method
                if context:
                    context = yield
        except BaseException as error:  # whatever it is, it belongs to this item; sys.exit ends nothing
            end_copy(error)
            return error
        return None

    def call(self, item: Any) -> tuple[Any, Failure | None]:
        """Returns the result and None, or None and how the last attempt failed."""
        return self.go_on(item, None)

    def go_on(self, item: Any, error: BaseException | None) -> tuple[Any, Failure | None]:
        """Calls until it works or the attempts are used up; `error` is how a first call, made elsewhere, failed."""
        attempts = 0 if error is None else 1
        first, factor, largest = self._options.backoff
        while attempts <= self._options.retries:
            if attempts:
                assert error is not None
                pause = min(first * factor ** (attempts - 1), largest)
                self._tell(error, attempts, f"next try in {pause:.3g} s")
                self._sleep(pause)
            try:
                return self._contexts.call(self.function, item), None
            except BaseException as caught:  # whatever it is, it belongs to this item; sys.exit ends nothing
                error = caught
            attempts += 1
        assert error is not None  # there was at least one attempt
        self._tell(error, attempts, "it is a failure of the run, which is told")
        return None, failure_from(self._stage, item, error, attempts)

    def _tell(self, error: BaseException, attempts: int, what_next: str) -> None:
        """Logs an attempt that has failed, when there are not too many of them: one that is tried again nobody else
        tells of.
        """
        of = self._options.retries + 1
        level = logging.WARNING if attempts < of else logging.INFO
        if not log.isEnabledFor(level):
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= LINES_MAX:
            words = error.description if type(error) is RemoteCallError else summary_of(error, CALL_LINE_BYTES)
            text = printable(words.partition("\n")[0][:CALL_LINE_BYTES])
            log.log(level, "stage %s failed (attempt %d of %d): %s; %s", self._stage, attempts, of, text, what_next)


def failure_from(stage: str, item: Any, error: BaseException, attempts: int) -> Failure:
    """Returns an exception as a value; raises nothing, whatever it is."""
    if type(error) is RemoteCallError:
        return Failure(stage, item, error.description, error.remote_traceback, attempts)
    return Failure(stage, item, summary_of(error, WORDS_BYTES_MAX), trace_of(error, WORDS_BYTES_MAX), attempts)
