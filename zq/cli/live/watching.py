"""The loop of a view: answers come, keys come, and a new screen is shown."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zq.cli.live.screen import rooms_of, screen
from zq.cli.live.source import AnswerSource
from zq.cli.live.terminal import Terminal, taken
from zq.cli.live.trends import Snapshot
from zq.cli.live.view import Order, TopView, chosen_at, press, rows_of, visible
from zq.errors import TimedOutError, UnreachableError, ZqError
from zq.monitor import duration

if TYPE_CHECKING:
    from zq.client.async_client import AsyncClient

AWAY_AFTER = 2.0
"""Seconds without an answer after which the screen says so."""


@dataclass(slots=True)
class Watch:
    """What is shown, and what it is made of."""

    address: str
    interval: float
    snapshot: Snapshot
    view: TopView = field(default_factory=TopView)
    away: str | None = None
    is_over: bool = False
    is_changed: asyncio.Event = field(default_factory=asyncio.Event)  # there is something new to show
    is_hurried: asyncio.Event = field(default_factory=asyncio.Event)  # the next answers are wanted now


async def watch(client: AsyncClient, address: str, interval: float) -> None:
    """Shows a view on the terminal until somebody quits.

    Raises:
        UnreachableError, TimedOutError: there was never an answer; later ones are waited for.
        ZqError: the coordinator refuses.
    """
    source = AnswerSource(client)
    first = await source.snapshot((), None)
    found = Watch(address, interval, first)
    with taken() as terminal, _listening(found, source, terminal):
        polling = asyncio.create_task(_poll(found, source, terminal))
        try:
            while not found.is_over and not polling.done():
                _show(found, terminal)
                found.is_changed.clear()
                changed = asyncio.create_task(found.is_changed.wait())
                await asyncio.wait({changed, polling}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if polling.done():
                polling.result()
        finally:
            polling.cancel()


def _show(found: Watch, terminal: Terminal) -> None:
    width, height = terminal.size
    terminal.show(screen(found.view, found.snapshot, width, height, address=found.address, away=found.away))


@contextmanager
def _listening(found: Watch, source: AnswerSource, terminal: Terminal) -> Iterator[None]:
    """Has keys and changes of the size taken as they come."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    def over() -> None:
        found.is_over = True
        found.is_changed.set()

    def read() -> None:
        try:
            keys = terminal.read()
        except (EOFError, OSError):
            over()
            return
        for key in keys:
            found.view, order = press(found.view, key, found.snapshot)
            if order is not None and order.verb == "quit":
                over()
            elif order is not None:
                task = loop.create_task(_carry_out(found, source, order))
                running.add(task)
                task.add_done_callback(running.discard)
            found.is_changed.set()
            if found.view.subject is not None and found.snapshot.detail is None:
                found.is_hurried.set()

    signals: dict[signal.Signals, Callable[[], Any]] = {
        signal.SIGWINCH: found.is_changed.set,
        signal.SIGTERM: over,
        signal.SIGHUP: over,
    }
    loop.add_reader(terminal.descriptor, read)
    for number, deed in signals.items():
        loop.add_signal_handler(number, deed)
    try:
        yield
    finally:
        loop.remove_reader(terminal.descriptor)
        for number in signals:
            loop.remove_signal_handler(number)
        for task in running:
            task.cancel()


async def _carry_out(found: Watch, source: AnswerSource, order: Order) -> None:
    try:
        said = await source.carry_out(order)
    except (ZqError, ValueError) as error:
        said = str(error)
    found.view = replace(found.view, said=said)
    found.is_hurried.set()
    found.is_changed.set()


async def _poll(found: Watch, source: AnswerSource, terminal: Terminal) -> None:
    """Asks again and again, and says when there are no answers; ends only with an error."""
    loop = asyncio.get_running_loop()
    answered_at = loop.time()
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(found.is_hurried.wait(), found.interval)
        found.is_hurried.clear()
        names = _names_on_screen(found, terminal)
        asking = asyncio.create_task(source.snapshot(names, found.view.subject))
        try:
            while not asking.done():
                await asyncio.wait({asking}, timeout=1.0)
                if loop.time() - answered_at > AWAY_AFTER + found.interval:
                    found.away = f"no answer for {duration(round(loop.time() - answered_at))}"
                    found.is_changed.set()
        finally:
            asking.cancel()
        try:
            found.snapshot = asking.result()
        except (UnreachableError, TimedOutError):
            found.away = f"no answer for {duration(round(loop.time() - answered_at))}"
        else:
            answered_at = loop.time()
            if found.away is not None:
                found.away = None
                found.view = replace(found.view, said="the coordinator answers again")
        found.is_changed.set()


def _names_on_screen(found: Watch, terminal: Terminal) -> list[str]:
    rows = rows_of(found.view, found.snapshot, "queues")
    _, height = terminal.size
    room = max(1, rooms_of(found.view, found.snapshot, height)["queues"])
    return [row["name"] for row in visible(rows, chosen_at(found.view, rows, "queues"), room)[1]]
