"""Event streams to browsers: one message each second for all of them, made once; who is slow misses some, and is told.

What waits for a browser is bounded: one pulse, of which a newer one takes the place, a few portions of events, and the
last word about the connection. Who takes nothing for long is let go, and comes back by itself (EventSource).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from zq.dashboard.problems import ProblemError, answer
from zq.dashboard.values import encode

PORTIONS_MAX: Final = 4
"""Portions of events that wait for one browser."""

SEND_PATIENCE: Final = 20.0
"""Seconds for which a browser may take nothing of what is sent to it."""

STREAM_SILENCE_MAX: Final = 15.0
"""Seconds after which something is sent in any case: else nobody would notice who has gone."""

RECONNECT_MS: Final = 2000
"""After which a browser whose stream broke comes back."""


def frame(event: str, value: Any) -> bytes:
    """Returns a message of a stream; JSON in ASCII has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), encode(value))


class Browser:
    """A browser that follows, and what waits for it."""

    def __init__(self, *, wants_events: bool) -> None:
        self.wants_events = wants_events
        self._connection: bytes | None = None
        self._pulse: bytes | None = None
        self._portions: deque[tuple[int, bytes]] = deque()
        self._dropped = 0
        self._news = asyncio.Event()

    def put_connection(self, message: bytes) -> None:
        self._connection = message
        self._news.set()

    def put_pulse(self, message: bytes) -> None:
        self._pulse = message
        self._news.set()

    def put_portion(self, count: int, message: bytes) -> None:
        if len(self._portions) == PORTIONS_MAX:
            self._dropped += self._portions.popleft()[0]
        self._portions.append((count, message))
        self._news.set()

    async def take(self) -> bytes:
        """Returns what waits, together; a comment when nothing came for long."""
        try:
            async with asyncio.timeout(STREAM_SILENCE_MAX):
                await self._news.wait()
        except TimeoutError:
            return b":\n\n"
        self._news.clear()
        parts = [] if self._connection is None else [self._connection]
        if self._dropped:
            parts.append(frame("happened", [dropped(self._dropped)]))
        parts += [message for _, message in self._portions]
        if self._pulse is not None:
            parts.append(self._pulse)
        self._connection = self._pulse = None
        self._portions.clear()
        self._dropped = 0
        return b"".join(parts)


def dropped(count: int, text: str = "") -> dict[str, Any]:
    """Returns the event that tells how many others did not come, as `zq.Event` has it; 0 when nobody knows."""
    text = text or f"{count} events did not fit and were dropped"
    return {"time": time.time(), "kind": "dropped", "queue": None, "id": "", "lo": 0, "hi": 0, "worker": None, "text": text, "dropped": count}  # fmt: skip


class Hub:
    """All who follow. It calls `on_change` when one comes or goes."""

    def __init__(self, most: int) -> None:
        self.browsers: set[Browser] = set()
        self.on_change: Callable[[], None] = lambda: None
        self._most = most
        self._connection: bytes | None = None  # None: nobody has looked since somebody follows
        self._pulse: bytes | None = None

    @property
    def wants_events(self) -> bool:
        return any(browser.wants_events for browser in self.browsers)

    def join(self, *, wants_events: bool) -> Browser:
        """Lets one more follow; raises ProblemError when there are enough."""
        if len(self.browsers) >= self._most:
            raise ProblemError(503, "busy", f"{self._most} event streams are open, which is all there may be", 5.0)
        browser = Browser(wants_events=wants_events)
        if self._connection is not None:
            browser.put_connection(self._connection)
        if self._pulse is not None:
            browser.put_pulse(self._pulse)
        self.browsers.add(browser)
        self.on_change()
        return browser

    def leave(self, browser: Browser) -> None:
        self.browsers.discard(browser)
        if not self.browsers:
            self._connection = self._pulse = None  # whoever comes next must not be shown what is old by then
        self.on_change()

    def tell_connection(self, *, is_connected: bool, message: str) -> None:
        news = frame("connection", {"is_connected": is_connected, "message": message})
        if news != self._connection:
            self._connection = news
            for browser in self.browsers:
                browser.put_connection(news)

    def tell_pulse(self, value: Any) -> None:
        self._pulse = news = frame("pulse", value)
        for browser in self.browsers:
            browser.put_pulse(news)

    def tell_events(self, events: list[dict[str, Any]]) -> None:
        news = frame("happened", events)
        for browser in self.browsers:
            if browser.wants_events:
                browser.put_portion(len(events), news)


class StreamResponse:
    """An answer that does not end before its browser goes, or takes nothing for too long."""

    def __init__(self, hub: Hub, *, wants_events: bool) -> None:
        self._hub = hub
        self._wants_events = wants_events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            browser = self._hub.join(wants_events=self._wants_events)
        except ProblemError as problem:
            await answer(problem)(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _until_either(_watch(receive), _pass_on(browser, send))
        finally:
            self._hub.leave(browser)


async def _watch(receive: Receive) -> None:
    """Returns when the browser has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pass_on(browser: Browser, send: Send) -> None:
    """Sends what comes; returns when the browser takes nothing any more."""
    message = b"retry: %d\n\n" % RECONNECT_MS
    while True:
        try:
            async with asyncio.timeout(SEND_PATIENCE):
                await send({"type": "http.response.body", "body": message, "more_body": True})
        except (TimeoutError, OSError):
            return
        message = await browser.take()


async def _until_either(*coroutines: Any) -> None:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
