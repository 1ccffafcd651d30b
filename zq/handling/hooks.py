"""Hooks around submitting and around handling: how they are called, whoever has them.

The befores are called in the order of the list, the afters in the opposite order, and only of those whose before was
reached and did not raise: each middleware encloses the ones that come later.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Literal, NamedTuple, Protocol, Self

from zq.handling.contexts import end_copy
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of

log = logging.getLogger(__name__)

HandlerOutcome = Literal["done", "failed", "cancelled"]


@dataclass(slots=True)
class Submission:
    """A submit that is about to happen; hooks may change its queue and options, not its payload.

    Attributes:
        name: of the task function, `module:qualname`; "" when a client submits.
        queue: to which it goes; the topic, when it is published.
        options: of the submit, as in `zq.SubmitOptions`; a dict of its own.
        payload: what is submitted, of a task function the arguments by name; None for many, whose payloads are made
            while they are sent.
    """

    name: str
    queue: str
    options: dict[str, Any]
    payload: Any


class StoredTasks(NamedTuple):
    """What a client's hooks get as the receipt of a submit: its own are made later."""

    id: str | None  # of the task, the publication or the group; None of many
    tasks: int


class Hooks(Protocol):
    """What a `zq.Middleware` has."""

    def before_submit(self, submission: Submission) -> None: ...

    def after_submit(self, submission: Submission, receipt: Any, error: BaseException | None) -> None: ...

    def before_task(self, task: Any) -> None: ...

    def after_task(self, task: Any, outcome: HandlerOutcome, error: BaseException | None) -> None: ...

    def after_receive(self, queue: str, tasks: int, seconds: float) -> None: ...

    def after_settle(self, queue: str, tasks: int, seconds: float, error: BaseException | None) -> None: ...


everywhere: list[Hooks] = []
"""Hooks of all clients that are made, and all workers that are started, from now on in this process."""


class Submitting:
    """The hooks around one submit, as the body of a `with`, which sets the `receipt`."""

    def __init__(self, middleware: Sequence[Hooks], submission: Submission) -> None:
        self.submission = submission
        self.receipt: Any = None
        self._entered: list[Hooks] = []
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
            call_hook(one.after_submit, self.submission, self.receipt, error)


class Handling:
    """The hooks around one call of a handler, as the body of a `with`.

    Args:
        middleware: whose hooks are called.
        task: that is handled.
        taken_away: errors by which the task is cancelled, and has not failed.
    """

    def __init__(
        self, middleware: Sequence[Hooks], task: Any, taken_away: tuple[type[BaseException], ...] = ()
    ) -> None:
        self._middleware = middleware
        self._task = task
        self._taken_away = taken_away
        self._entered: list[Hooks] = []

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
            call_hook(one.after_task, self._task, outcome, error, caught=BaseException)


def hooked(handler: Callable[[Any], Any], middleware: Sequence[Hooks]) -> Callable[[Any], Any]:
    """Returns a handler with hooks around it; without any the handler itself, which costs nothing then."""
    if not middleware:
        return handler
    plain = handler
    while isinstance(plain, functools.partial):
        plain = plain.func
    # `__call__` is looked at, not looked for.
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None)):  # noqa: B004
        return _hooked_coroutine(handler, middleware)

    @_named_as(handler)
    def handle(task: Any) -> Any:
        with Handling(middleware, task):
            value = handler(task)
        # Of a decorator that knows nothing of coroutines: the hooks enclose what makes it, and then what runs it.
        return _enclosed(value, task, middleware) if type(value) is CoroutineType else value

    return handle


def hooked_all(
    handlers: Mapping[str, Callable[[Any], Any]], outermost: Sequence[Hooks] = ()
) -> Mapping[str, Callable[[Any], Any]]:
    """Returns the handlers of a worker that is about to start, with the hooks that are everywhere around them.

    Args:
        outermost: other hooks, around these.
    """
    middleware = (*outermost, *everywhere)
    if not middleware or hasattr(type(handlers), "__missing__"):  # of an executor, which makes them as they are wanted
        return handlers
    return {queue: hooked(handler, middleware) for queue, handler in handlers.items()}


def _hooked_coroutine(handler: Callable[[Any], Any], middleware: Sequence[Hooks]) -> Callable[[Any], Any]:
    @_named_as(handler)
    async def handle(task: Any) -> Any:
        return await _enclosed(handler(task), task, middleware)

    return handle


async def _enclosed(coroutine: Any, task: Any, middleware: Sequence[Hooks]) -> Any:
    from asyncio import CancelledError

    with Handling(middleware, task, (CancelledError,)):
        return await coroutine


def _named_as(handler: Callable[[Any], Any]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return functools.wraps(handler if hasattr(handler, "__qualname__") else type(handler))


def call_hook(function: Callable[..., None], /, *arguments: Any, caught: type[BaseException] = Exception) -> None:
    """Calls a hook behind something that has happened; what it raises is logged, and undoes nothing."""
    try:
        function(*arguments)
    except caught as error:
        trace = trace_of(error, LOGGED_BYTES_MAX)  # not by `log.exception`, which an odd error can make fail
        home = type(getattr(function, "__self__", None)).__qualname__
        log.error("%s of %s failed; what it follows is not undone\n%s", function.__name__, home, trace)


def note_received(middleware: Iterable[Hooks], queue: str, tasks: int, seconds: float) -> None:
    """Calls the hooks behind tasks that have come."""
    for one in middleware:
        call_hook(one.after_receive, queue, tasks, seconds)


def note_settled(
    middleware: Iterable[Hooks], queue: str, tasks: int, seconds: float, error: BaseException | None = None
) -> None:
    """Calls the hooks behind the report of how tasks have ended."""
    for one in middleware:
        call_hook(one.after_settle, queue, tasks, seconds, error)
