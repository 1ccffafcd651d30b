"""Calls a user's function for items: with retries, and with failures as values.

Sleeping between retries and the clock come in as arguments, so that nothing here waits for real in tests.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from patterns.pipeline.stages import StageOptions
from patterns.work.items import Failure
from patterns.work.plan import Function
from zq.processes.copies import leave, watch

TRACEBACK_CHARACTERS_MAX = 16_384
"""As the error texts of zq: longer ones keep their end, where the cause stands."""


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
        self.is_copy = False
        watch(self)

    def begin(self) -> None:
        """Gets what the calls need before the first of them; nothing here."""

    def close(self) -> None:
        """Lets go of what the calls need; nothing here."""

    def become_copy(self) -> None:
        self.is_copy = True

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
                result = self.function(item)
            except (
                Exception,
                SystemExit,
            ) as caught:  # whatever it is, it belongs to this item; sys.exit in a function ends nothing
                error = caught
                if self.is_copy:
                    leave(error)
            else:
                if self.is_copy:
                    leave()
                return result, None
            attempts += 1
        assert error is not None  # there was at least one attempt
        return None, failure_from(self._stage, item, error, attempts)


def failure_from(stage: str, item: Any, error: BaseException, attempts: int) -> Failure:
    """Returns an exception as a value; a `text` attribute of it that says `remote_traceback` is taken as its
    traceback.
    """
    remote = getattr(error, "remote_traceback", None)
    text = remote if isinstance(remote, str) else "".join(traceback.format_exception(error))
    description = getattr(error, "description", None) or f"{type(error).__name__}: {error}"
    described, told = _sendable(description), _sendable(text)
    return Failure(stage, item, described[:TRACEBACK_CHARACTERS_MAX], told[-TRACEBACK_CHARACTERS_MAX:], attempts)


def _sendable(text: str) -> str:
    """Returns a text that UTF-8 can hold: surrogates, as in the name of a file that is not UTF-8, are escaped."""
    return text.encode(errors="backslashreplace").decode()
