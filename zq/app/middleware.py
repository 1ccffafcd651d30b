"""Hooks around submitting and around handling, for the tasks of a `zq.App`.

The befores are called in the order of the list, the afters in the opposite order, and only of those whose before was
reached and did not raise: each middleware encloses the ones that come later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from zq.client.receipt import AsyncReceipt, Receipt, Receipts
from zq.handling.contexts import end_copy
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.task import Task

log = logging.getLogger(__name__)

HandlerOutcome = Literal["done", "failed", "cancelled"]


@dataclass(slots=True)
class Submission:
    """A submit that is about to happen; hooks may change its queue and options, not its payload.

    Attributes:
        name: of the task function, `module:qualname`.
        queue: to which it goes.
        options: of the submit, as in `zq.SubmitOptions`; a dict of its own.
        payload: the arguments by name as they will travel; None for `submit_many`, whose payloads are made while they
            are sent.
    """

    name: str
    queue: str
    options: dict[str, Any]
    payload: dict[str, Any] | None


class Middleware:
    """Hooks that do nothing; override those that you need.

    They are plain functions. Those around handling run where the handler runs: in a thread of the worker, in a child
    process, or, around a coroutine, in its event loop, which they must not hold up. One object serves all threads.
    """

    def before_submit(self, submission: Submission) -> None:
        """Called before a submit; what it raises is raised to the caller, and nothing is sent."""

    def after_submit(
        self,
        submission: Submission,
        receipt: Receipt | AsyncReceipt | Receipts[Any] | None,
        error: BaseException | None,
    ) -> None:
        """Called after a submit, with its receipt or the error; what it raises is logged, since the task is stored."""

    def before_task(self, task: Task) -> None:
        """Called before a handler, with its arguments not converted yet; what it raises is the failure of the task, and
        the handler is not called.
        """

    def after_task(self, task: Task, outcome: HandlerOutcome, error: BaseException | None) -> None:
        """Called when a handler has ended, before that is reported; what it raises is logged, since the effects of the
        handler are there.

        Args:
            task: that was handled.
            outcome: "done", "failed", or "cancelled" for a coroutine whose task was taken away.
            error: that the handler raised; None when it is done.
        """


class Submitting:
    """The hooks around one submit, as the body of a `with`, which sets the `receipt`."""

    def __init__(self, middleware: Sequence[Middleware], submission: Submission) -> None:
        self.submission = submission
        self.receipt: Receipt | AsyncReceipt | Receipts[Any] | None = None
        self._entered: list[Middleware] = []
        self._middleware = middleware

    def __enter__(self) -> Self:
        """Calls the befores; what one raises ends the submit, after the afters of those before it."""
        try:
            for one in self._middleware:
                one.before_submit(self.submission)
                self._entered.append(one)
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        for one in reversed(self._entered):
            _call(one, "after_submit", one.after_submit, self.submission, self.receipt, error)


class Handling:
    """The hooks around one call of a handler, as the body of a `with`.

    Args:
        middleware: whose hooks are called.
        task: that is handled.
        taken_away: errors by which the task is cancelled, and has not failed.
    """

    def __init__(
        self, middleware: Sequence[Middleware], task: Task, taken_away: tuple[type[BaseException], ...] = ()
    ) -> None:
        self._middleware = middleware
        self._task = task
        self._taken_away = taken_away
        self._entered: list[Middleware] = []

    def __enter__(self) -> None:
        """Calls the befores; what one raises is the failure of the task, after the afters of those before it."""
        try:
            for one in self._middleware:
                one.before_task(self._task)
                self._entered.append(one)
        except BaseException as error:
            self._leave(error)
            raise

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        end_copy(error)  # a forked copy of the process must not call the hooks for a second time
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        outcome: HandlerOutcome = "done"
        if error is not None:
            outcome = "cancelled" if issubclass(type(error), self._taken_away) else "failed"
        for one in reversed(self._entered):
            # sys.exit in a hook is no more the end of the worker than in a handler.
            _call(one, "after_task", one.after_task, self._task, outcome, error, caught=BaseException)


def _call(
    middleware: Middleware,
    hook: str,
    function: Callable[..., None],
    *arguments: Any,
    caught: type[BaseException] = Exception,
) -> None:
    try:
        function(*arguments)
    except caught as error:
        trace = trace_of(error, LOGGED_BYTES_MAX)  # not by `log.exception`, which an odd error can make fail
        log.error("%s of %s failed; what it follows is not undone\n%s", hook, type(middleware).__qualname__, trace)
