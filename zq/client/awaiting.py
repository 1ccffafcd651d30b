"""How a call is carried out in an event loop; `zq.client.driving` has what a call is, and the way that blocks."""

from __future__ import annotations

import asyncio
import threading
from asyncio import _get_running_loop
from collections import deque
from functools import partial
from typing import Any, TypeVar

from zq.client.calls import Calls
from zq.client.driving import Abandon, Ask, Call, Submitted
from zq.sessions.submits import Single
from zq.submit_options import SubmitOptions, check_queue, make_options
from zq.wire.messages import DEFAULT_OPTIONS

T = TypeVar("T")


class Awaiting:
    """Carries calls out in the event loop in which they are awaited; an `AsyncDriver`. Loops of several threads may use
    it.
    """

    def __init__(self, abandon: Abandon) -> None:
        self._abandon = abandon
        self._mailbox: Mailbox | None = None
        self._checked: str | None = None  # the last name of a queue that was checked

    async def __call__(self, call: Call[T], /) -> T:
        mailbox = self._open_mailbox()
        try:
            ask = next(call)
            while True:
                reply = AsyncReply(mailbox, ask)
                try:
                    ask.start(reply)
                    answer = await reply.future
                except Exception as error:
                    if reply.error is None:  # else the session has ended it, and knows nothing of it any more
                        self._abandon(ask, reply)
                    ask = call.throw(error)
                except BaseException:  # cancelled
                    self._abandon(ask, reply)
                    raise
                else:
                    ask = call.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def submit(self, calls: Calls, queue: str, payload: Any, options: SubmitOptions) -> asyncio.Future[Submitted]:
        """Submits one task as `Calls.submit` does, with half of the steps, since most tasks come so: when nobody awaits
        it any more, there is nothing to give up. Not for calls with hooks, ids or unique keys.
        """
        data = calls.pack(payload)
        made = make_options(**options) if options else DEFAULT_OPTIONS
        if queue is not self._checked:
            self._checked = check_queue(queue)
        reply = AsyncReply(self._open_mailbox(), None)
        now = calls.clock()
        single = Single(queue, made, data, now + calls.timeout, reply)
        calls.link.call(partial(calls.session.submit_single, now, single))
        return reply.future

    def _open_mailbox(self) -> Mailbox:
        """Returns the mailbox of the running loop; another loop gets another."""
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not _get_running_loop():
            mailbox = self._mailbox = Mailbox(asyncio.get_running_loop(), self._abandon)
        return mailbox


class Mailbox:
    """Carries ends of calls from another thread to an event loop, when a thread drives the link, or another loop does;
    what comes together wakes the loop once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, abandon: Abandon) -> None:
        """Makes an empty one; what comes when the loop is closed is given to `abandon`."""
        self.loop = loop
        self._abandon = abandon
        self._letters: deque[AsyncReply] = deque()
        self._lock = threading.Lock()
        self._is_called = False  # whether the loop will look

    def put(self, letter: AsyncReply) -> None:
        """Hands a reply over; on the link's thread."""
        with self._lock:
            self._letters.append(letter)
            if self._is_called:
                return
            self._is_called = True
        try:
            self.loop.call_soon_threadsafe(self._open)
        except RuntimeError:
            with self._lock:  # the loop is closed: nobody awaits any more
                letters, self._letters = self._letters, deque()
                self._is_called = False
            for late in letters:
                if late.ask is not None:
                    self._abandon(late.ask, late)

    def _open(self) -> None:
        with self._lock:
            letters, self._letters = self._letters, deque()
            self._is_called = False
        for letter in letters:
            letter.deliver()


class AsyncReply:
    """A reply that a coroutine awaits."""

    __slots__ = ("_mailbox", "ask", "error", "future", "value")

    def __init__(self, mailbox: Mailbox, ask: Ask | None) -> None:
        self.ask = ask
        self.value: Any = None
        self.error: Exception | None = None
        self._mailbox = mailbox
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()

    def resolve(self, value: Any) -> None:
        self.value = value
        mailbox = self._mailbox
        if _get_running_loop() is not mailbox.loop:
            mailbox.put(self)
        elif not self.future.done():
            self.future.set_result(value)

    def reject(self, error: Exception) -> None:
        self.error = error
        if _get_running_loop() is not self._mailbox.loop:
            self._mailbox.put(self)
        else:
            self.deliver()

    def deliver(self) -> None:
        """Ends the future; in its loop."""
        if self.future.done():
            return  # the await was cancelled
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)
