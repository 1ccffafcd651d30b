"""Answers that many browsers ask for again and again, and of which one is enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

KEPT_ANSWERS_MAX: Final = 100


class Kept:
    """Answers that are given again while they are young, and made once for all who ask at the same time."""

    def __init__(self) -> None:
        self._answers: dict[Any, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, key: Any, age_max: float, make: Callable[[], Awaitable[Any]]) -> Any:
        at, future = self._answers.get(key, (0.0, None))
        is_fresh = future is not None and (not future.done() or time.monotonic() - at < age_max)
        if not is_fresh or future is None:
            while len(self._answers) >= KEPT_ANSWERS_MAX:
                del self._answers[next(iter(self._answers))]
            future = asyncio.ensure_future(make())
            self._answers[key] = (time.monotonic(), future)
            future.add_done_callback(lambda made: self._forget_failed(key, made))
        return await asyncio.shield(future)

    def _forget_failed(self, key: Any, future: asyncio.Future[Any]) -> None:
        if (future.cancelled() or future.exception() is not None) and self._answers.get(key, (0, None))[1] is future:
            del self._answers[key]
