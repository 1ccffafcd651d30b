"""The dashboard's one connection to its coordinator, for all who look at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import zq
from zq.dashboard.options import DashboardOptions
from zq.dashboard.problems import NOT_THERE, ProblemError, invalid, is_unknown_question

T = TypeVar("T")

CALL_TIMEOUT: Final = 5.0
"""Seconds for an answer: a person waits no longer."""

CALLS_MAX: Final = 16
"""Requests of browsers that ask the coordinator at a time; the others wait here, where they delay no worker."""

DEEDS_MAX: Final = 200
"""Parts of deeds on many tasks that are under way at a time, beside what is asked; they share commits."""

FAIL_FAST_SECONDS: Final = 1.0
"""After a call that nobody answered, others fail at once for so long."""

PAGE_ROWS_DEFAULT: Final = 100
PAGE_ROWS_MAX: Final = 500
"""Rows of a page when nothing is said about it, and at most."""

RowPage = dict[str, Any]


class Upstream:
    """Asks the coordinator. To be made in the event loop in which it is used.

    Attributes:
        client: to the coordinator; its calls go through `call`.
    """

    def __init__(self, options: DashboardOptions) -> None:
        self.client = zq.AsyncClient(
            options.address, timeout=CALL_TIMEOUT, name="dashboard", namespace=options.namespace, key=options.key
        )
        self._room = asyncio.Semaphore(CALLS_MAX)
        self._room_to_act = asyncio.Semaphore(DEEDS_MAX)
        self._failed_at = float("-inf")
        self._failure = ""
        self.has_answered = False
        """Whether the last call was answered."""

    @property
    def address(self) -> str:
        return self.client.address

    async def call(self, call: Awaitable[T]) -> T:
        """Awaits a call of the client when there is room for it.

        Raises:
            ProblemError: the coordinator has not answered just now.
            what the call raises.
        """
        async with self._room:
            if time.monotonic() - self._failed_at < FAIL_FAST_SECONDS:
                _drop(call)
                raise ProblemError(503, "unreachable", self._failure, FAIL_FAST_SECONDS)
            return await self.call_now(call)

    async def act(self, call: Awaitable[T]) -> T:
        """Awaits a call that may take long, such as a part of a deed on many tasks; what is asked does not wait for it.

        Raises:
            what the call raises.
        """
        async with self._room_to_act:
            return await self.call_now(call)

    async def call_now(self, call: Awaitable[T]) -> T:
        """Awaits a call of the client, whoever else does.

        Raises:
            ProblemError: its arguments cannot be.
            what the call raises.
        """
        try:
            found = await call
        except zq.UnreachableError as error:
            self._failed_at, self._failure, self.has_answered = time.monotonic(), str(error), False
            raise
        except zq.ZqError:
            self.note_answer()
            raise
        except (ValueError, TypeError) as error:  # what was asked for cannot be, and was not sent
            raise invalid(str(error)) from error
        self.note_answer()
        return found

    def note_answer(self) -> None:
        self._failed_at = float("-inf")
        self.has_answered = True

    async def query(self, what: str, **arguments: Any) -> Any:
        """Asks a query; without the arguments that are None."""
        return await self.call(self.client.query(what, **_given(arguments)))

    async def page(self, what: str, *, cursor: str | None, limit: int, **arguments: Any) -> RowPage:
        """Asks for one page of a listing: rows, and the cursor of the next."""
        call = self.client.query(what, cursor=cursor, limit=limit, **_given(arguments))
        return _as_page(await self.call(call))

    async def command(self, verb: str, **arguments: Any) -> Any:
        return await self.call(self.client.command(verb, **_given(arguments)))

    async def close(self) -> None:
        await self.client.close()


async def unless_missing(call: Awaitable[T], instead: T) -> T:
    """Awaits a query that an older coordinator does not know, or of something that may have been deleted meanwhile;
    returns `instead` then.
    """
    try:
        return await call
    except zq.RemoteProtocolError as error:
        if is_unknown_question(error) or error.text.startswith(NOT_THERE):
            return instead
        raise


def _as_page(found: Any) -> RowPage:
    return found if isinstance(found, dict) else {"rows": found, "cursor": None}


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _drop(call: Awaitable[Any]) -> None:
    close = getattr(call, "close", None)  # a coroutine that nobody awaits would be warned of
    if close is not None:
        close()
