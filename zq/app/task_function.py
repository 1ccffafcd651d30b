"""Task functions: called as ever, submitted with the same arguments, typed throughout."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack

from zq.app.middleware import Middleware
from zq.app.parameters import Parameters, name_of
from zq.client.async_client import AsyncClient
from zq.client.calls import Calls
from zq.client.client import Client
from zq.client.driving import AsyncDriver, Driver
from zq.client.flow import Entry
from zq.client.receipt import AsyncReceipt, Receipt, Receipts
from zq.errors import BusyError, InvalidTaskError
from zq.handling.hooks import Submission, Submitting
from zq.submit_options import SubmitOptions, make_options
from zq.wire.limits import BATCH_TASKS_MAX

Q = ParamSpec("Q")
C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Submitter(Protocol):
    """What submits the calls of task functions: an app."""

    @property
    def client(self) -> Client: ...

    @property
    def async_client(self) -> AsyncClient: ...

    @property
    def middleware(self) -> Sequence[Middleware]: ...


class TypedReceipt(Receipt, Generic[R]):
    """The receipt of a task function's submit: its result is of the function's own type."""

    __slots__ = ("_load",)

    def __init__(self, calls: Calls, run: Driver, entry: Entry, index: int, load: Callable[[Any], R]) -> None:
        super().__init__(calls, run, entry, index)
        self._load = load

    def result(self, timeout: float | None = None) -> R:
        """Waits for the task to end; returns what the function returned.

        Raises:
            ConversionError: what came is not what the function's annotation says.
            TaskError, TimedOutError, ClosedError: as `zq.Receipt.result`.
        """
        return self._load(super().result(timeout))


class AsyncTypedReceipt(AsyncReceipt, Generic[R]):
    """As `TypedReceipt`, awaited."""

    __slots__ = ("_load",)

    def __init__(self, calls: Calls, run: AsyncDriver, entry: Entry, index: int, load: Callable[[Any], R]) -> None:
        super().__init__(calls, run, entry, index)
        self._load = load

    async def result(self, timeout: float | None = None) -> R:
        """Waits for the task to end; as `TypedReceipt.result`."""
        return self._load(await super().result(timeout))


class Arguments(Generic[R]):
    """The arguments of one call of a task function, checked and converted; made by `TaskFunction.arguments`."""

    __slots__ = ("function", "payload")

    def __init__(self, function: TaskFunction[..., Any, ..., R], payload: dict[str, Any]) -> None:
        self.function = function
        self.payload = payload


class TaskFunction(Generic[Q, C, P, R]):
    """A function whose calls can be tasks; made by `App.task`.

    `Q` and `C` are the parameters of the function and what calling it returns; `P` and `R` those of a submit (without
    the task, if the function takes that first) and of its result (awaited, for coroutines).

    Attributes:
        function: as it was written.
        queue: to which it is submitted.
        parameters: how its arguments and results are converted.
    """

    def __init__(
        self,
        app: Submitter,
        function: Callable[Q, C],
        queue: str,
        options: SubmitOptions,
        parameters: Parameters,
        id: str | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._app = app
        self.function = function
        self.queue = queue
        self.parameters = parameters
        make_options(**options)
        self._options = options
        self._id = id

    @property
    def name(self) -> str:
        """Its module and qualname, with a colon between them."""
        return name_of(self.function)

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> C:
        """Calls the function here and now, without any task, conversion or hook."""
        return self.function(*args, **kwargs)

    def options(self, *, id: str | None = None, **options: Unpack[SubmitOptions]) -> TaskFunction[Q, C, P, R]:
        """Returns the same task function with other options for its submits: `bake.options(priority=7).submit(pizza)`.

        Args:
            id: of the task, so that the same submit is stored once; only for `submit` and `asubmit`.
            options: in place of those of `App.task`, one by one.

        Raises:
            ValueError, TypeError: an option cannot be.
        """
        mixed: SubmitOptions = {**self._options, **options}
        id = self._id if id is None else id
        return TaskFunction(self._app, self.function, self.queue, mixed, self.parameters, id)

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> Arguments[R]:
        """Returns the arguments of a call, for `submit_many`.

        Raises:
            TypeError: they do not fit the parameters; ConversionError, which is one, when a value does not fit its
                annotation.
        """
        return Arguments(self, self.parameters.dump(args, kwargs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TypedReceipt[R]:
        """Submits a call as a task; it is on the coordinator's disk when this returns.

        Raises:
            TypeError: as `arguments`.
            BusyError, InvalidTaskError, PayloadTooLargeError, UnreachableError, TimedOutError: as `zq.Client.submit`.
        """
        payload = self.parameters.dump(args, kwargs)
        with self._hooks(payload) as hooks:
            queue, options = self._target(hooks)
            receipt = self._typed(self._app.client.submit(queue, payload, id=self._id, **options))
            hooks.receipt = receipt
        return receipt

    async def asubmit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncTypedReceipt[R]:
        """Submits a call as a task, from a coroutine; as `submit`."""
        payload = self.parameters.dump(args, kwargs)
        with self._hooks(payload) as hooks:
            queue, options = self._target(hooks)
            receipt = self._async_typed(await self._app.async_client.submit(queue, payload, id=self._id, **options))
            hooks.receipt = receipt
        return receipt

    def submit_many(
        self, calls: Iterable[Arguments[R]], *, batch_size: int = BATCH_TASKS_MAX
    ) -> Receipts[TypedReceipt[R]]:
        """Submits many calls: `bake.submit_many(bake.arguments(pizza) for pizza in pizzas)`; as
        `zq.Client.submit_many`.

        Raises:
            TypeError: one of the calls is another function's.
            BusyError, InvalidTaskError ...: as `zq.Client.submit_many`; `accepted` has typed receipts.
        """
        with self._hooks(None) as hooks, _typing_accepted(self._typed):
            queue, options = self._target(hooks)
            found = self._app.client.submit_many(queue, self._payloads(calls), batch_size=batch_size, **options)
            receipts = found.each(self._typed)
            hooks.receipt = receipts
        return receipts

    async def asubmit_many(
        self, calls: Iterable[Arguments[R]], *, batch_size: int = BATCH_TASKS_MAX
    ) -> Receipts[AsyncTypedReceipt[R]]:
        """Submits many calls from a coroutine; as `submit_many`."""
        with self._hooks(None) as hooks, _typing_accepted(self._async_typed):
            client = self._app.async_client
            queue, options = self._target(hooks)
            found = await client.submit_many(queue, self._payloads(calls), batch_size=batch_size, **options)
            receipts = found.each(self._async_typed)
            hooks.receipt = receipts
        return receipts

    def _hooks(self, payload: dict[str, Any] | None) -> Submitting:
        return Submitting(self._app.middleware, Submission(self.name, self.queue, dict(self._options), payload))

    def _target(self, hooks: Submitting) -> tuple[str, SubmitOptions]:
        """Returns queue and options as the hooks have left them."""
        options: Any = hooks.submission.options
        return hooks.submission.queue, options

    def _payloads(self, calls: Iterable[Arguments[R]]) -> Iterator[dict[str, Any]]:
        for call in calls:
            if not isinstance(call, Arguments) or call.function.function is not self.function:
                raise TypeError(f"expected what {self.name}'s arguments(...) returns, got {call!r}")
            yield call.payload

    def _typed(self, receipt: Receipt) -> TypedReceipt[R]:
        return receipt.into(TypedReceipt, self.parameters.load_result)

    def _async_typed(self, receipt: AsyncReceipt) -> AsyncTypedReceipt[R]:
        return receipt.into(AsyncTypedReceipt, self.parameters.load_result)

    def __repr__(self) -> str:
        return f"<TaskFunction {self.name} of queue {self.queue}>"


@contextmanager
def _typing_accepted(make: Callable[[Any], T]) -> Iterator[None]:
    """Lets the receipts of what was accepted, beside what was refused, be of their type."""
    try:
        yield
    except (BusyError, InvalidTaskError) as error:
        if isinstance(error.accepted, Receipts):
            error.accepted = error.accepted.each(make)
        raise
