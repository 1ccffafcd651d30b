"""Calls a user's function for items: with retries, and with failures as values.

Sleeping between retries and the clock come in as arguments, so that nothing here waits for real in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from patterns.pipeline.stages import StageOptions
from patterns.work.items import Failure
from patterns.work.plan import Function
from zq.handling.contexts import FreshContexts, Work, end_copy
from zq.handling.raised import summary_of, trace_of

WORDS_BYTES_MAX = 16_384
"""Of the text of an error, and of its traceback, as of the error texts of zq."""


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

    def begin(self) -> None:
        """Gets what the calls need before the first of them; nothing here."""

    def close(self) -> None:
        """Lets go of what the calls need; nothing here."""

    def call_each(self, items: Iterable[Any], results: list[Any]) -> BaseException | None:
        """Calls the function once for each item and appends what it returns; ends with the first that raises, and
        returns that.
        """
        return self._contexts.drive(self._calls_of(items, results.append))

    def _calls_of(self, items: Iterable[Any], add: Callable[[Any], None]) -> Work[BaseException | None]:
        context = yield
        function = self.function
        try:
            for item in items:
                add(function(item))
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
                self._sleep(min(first * factor ** (attempts - 1), largest))
            try:
                return self._contexts.call(self.function, item), None
            except BaseException as caught:  # whatever it is, it belongs to this item; sys.exit ends nothing
                error = caught
            attempts += 1
        assert error is not None  # there was at least one attempt
        return None, failure_from(self._stage, item, error, attempts)


def failure_from(stage: str, item: Any, error: BaseException, attempts: int) -> Failure:
    """Returns an exception as a value; raises nothing, whatever it is."""
    if type(error) is RemoteCallError:
        return Failure(stage, item, error.description, error.remote_traceback, attempts)
    return Failure(stage, item, summary_of(error, WORDS_BYTES_MAX), trace_of(error, WORDS_BYTES_MAX), attempts)
