"""What is shown while the evening goes on: what to look at, the shops, the books so far, and what was said last."""

from __future__ import annotations

import io
import threading
from collections import deque
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import zq
from zq.demo.ledger import PizzaLedger

SAID_LINES = 8

SHOWN = ("accepted", "refused", "came_back", "delivered", "cancelled", "paid")


PICTURE_COLUMNS = 92
"""Width of a picture of the screen, in characters: readable where a page is narrow."""

PICTURE_CODE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The screen of the pizza shops">
<style>.{unique_id}-matrix {{ font: {char_height}px monospace; line-height: {line_height}px; white-space: pre }}
.{unique_id}-title {{ font: bold 18px sans-serif }}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
"""How rich draws a screen, but for its font, which it would fetch from elsewhere."""


class Screen:
    """A live picture on a terminal; in a pipe only the lines that are said, on stderr; nothing when it is silent."""

    def __init__(self, ledger: PizzaLedger, page: str | None, option: str, *, is_silent: bool) -> None:
        """Makes a screen that shows nothing yet.

        Args:
            ledger: whose counts are shown as they grow.
            page: address of the dashboard; None: there is none.
            option: that commands need to find this coordinator, with a space before it; empty: none.
            is_silent: whether nothing is shown at all.
        """
        self._console = Console(stderr=True, quiet=is_silent)
        self._ledger = ledger
        self._page = page
        self._option = option
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._pointed = [page or "", f"zq top{option}"] if page else [f"zq status{option}"]
        self._notice = ""
        self._shown = Group()
        self._lock = threading.Lock()
        # Not the whole screen: what was last shown stays when it ends.
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Shows a line."""
        with self._lock:
            self._said.append(text)
        if self._live is None:
            self._print(text)

    def announce(self, text: str) -> None:
        """Shows a line that stays."""
        self._notice = text
        if self._live is None:
            self._print(text)

    def point_at(self, id: str, text: str) -> None:
        """Shows what is to be looked at, and how, until something else is."""
        places = [] if self._page is None else [f"{self._page}#/tasks/{id}"]
        places.append(f"zq tasks trace {id}{self._option}")
        with self._lock:
            self._pointed = [text, *places]
        if self._live is None:
            for line in (text, *(f"    {place}" for place in places)):
                self._print(line)

    def show(self, workers: list[zq.WorkerStatus], queues: list[zq.QueueStatus]) -> None:
        """Draws the present state."""
        shops = Table("shop", "state", "in the oven", "baked", expand=True, box=None)
        for worker in sorted(workers, key=lambda one: one.name):
            shops.add_row(worker.name, worker.state, "🍕" * worker.held, str(worker.done))
        books = "   ".join(f"{name.replace('_', ' ')} {getattr(self._ledger, name)}" for name in SHOWN)
        waiting = next((queue.waiting for queue in queues if queue.name == "orders"), 0)
        with self._lock:
            said = Text("\n".join(self._said), no_wrap=True, overflow="ellipsis")
            # Addresses are not broken: they are to be clicked on, or copied.
            pointed = Text("\n".join(self._pointed), no_wrap=True, overflow="ignore")
        self._shown = Group(
            Panel(pointed, title="look at this", border_style="bold red"),
            Panel(shops, title="shops"),
            Panel(Text(books), title="books"),
            Panel(said, title=f"orders that wait: {waiting}", subtitle=self._notice or None),
        )
        if self._live is not None:
            self._live.update(self._shown, refresh=True)

    def save_picture(self, path: Path) -> None:
        """Writes what is shown now as an SVG."""
        console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO())
        console.print(self._shown)
        text = console.export_svg(title="zq demo", code_format=PICTURE_CODE, unique_id="pizza")
        path.write_text(text, encoding="utf-8")

    def print_ledger(self) -> None:
        """Prints the closing ledger."""
        width = max(map(len, self._ledger.as_dict()))
        for name, count in self._ledger.as_dict().items():
            self._print(f"{name.replace('_', ' '):<{width}}  {count}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), highlight=False, soft_wrap=True)
