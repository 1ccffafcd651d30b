"""What is shown while the evening goes on: the shops, the books so far, and what was said last."""

from __future__ import annotations

import io
import threading
from collections import deque
from pathlib import Path

from ledger import Ledger
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

import zq

LINES = 12

COLUMNS = 92
"""Width of a picture of the screen, in characters: readable where a page is narrow."""

PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The screen of the pizza shops">
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

    def __init__(self, ledger: Ledger, *, is_silent: bool) -> None:
        self._console = Console(stderr=True, quiet=is_silent)
        self._ledger = ledger
        self._said: deque[str] = deque(maxlen=LINES)
        self._lock = threading.Lock()
        self._live = Live(console=self._console, refresh_per_second=8) if self._console.is_terminal else None
        self._shown = Group()

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *problem: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Shows a line; it may have rich's markup."""
        with self._lock:
            self._said.append(text)
        if self._live is None:
            self._console.print(text, highlight=False, soft_wrap=True)

    def show(self, workers: list[zq.WorkerStatus], queues: list[zq.QueueStatus]) -> None:
        """Draws the present state."""
        shops = Table("shop", "state", "in the oven", "baked", title="Shops", expand=True)
        for worker in workers:
            shops.add_row(worker.name, worker.state, "🍕" * worker.held, str(worker.done))
        books = Table("", "orders", title="Books", expand=True)
        for name in ("accepted", "refused", "came_back", "delivered", "cancelled", "paid"):
            books.add_row(name.replace("_", " "), str(getattr(self._ledger, name)))
        waiting = next((queue.waiting for queue in queues if queue.name == "orders"), 0)
        with self._lock:
            said = "\n".join(self._said)
        self._shown = Group(shops, books, Panel(said, title=f"{waiting} orders wait"))
        if self._live is not None:
            self._live.update(self._shown)

    def save_picture(self, path: Path) -> None:
        """Writes what is shown now as an SVG."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        console.print(self._shown)
        text = console.export_svg(title="python examples/pizza", code_format=PICTURE, unique_id="pizza")
        path.write_text(text, encoding="utf-8")

    def print_ledger(self) -> None:
        """Prints the closing ledger."""
        table = Table("closing ledger", "orders")
        for name, count in self._ledger.as_dict().items():
            table.add_row(name.replace("_", " "), str(count))
        Console().print(table)
