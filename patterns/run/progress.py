"""A line for each stage on stderr, while a pipeline runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from operator import length_hint
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from patterns.work.ledger import Ledger
from patterns.work.plan import Plan

UPDATE_INTERVAL = 0.1
"""Seconds between two updates: faster than eyes follow."""


class StageProgress:
    """What the stages have done so far."""

    def __init__(self, plan: Plan, items: Iterable[Any]) -> None:
        """Makes the lines.

        Args:
            plan: whose nodes get a line each.
            items: the input; if its length is known it becomes the end of the last line.
        """
        self._display = Display(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
        )
        self._nodes: dict[int, TaskID] = {
            node.number: self._display.add_task(node.name, total=None) for node in plan.working
        }
        self._all = self._display.add_task("items", total=length_hint(items) or None)
        self._updated_at = 0.0

    def start(self) -> None:
        self._display.start()

    def update(self, counts: Mapping[int, int], ledger: Ledger) -> None:
        """Shows how far it is.

        Args:
            counts: items that each node has worked on, by number.
            ledger: the books of the run.
        """
        now = time.monotonic()
        if now - self._updated_at < UPDATE_INTERVAL:
            return
        self._updated_at = now
        self._show(counts, ledger)

    def _show(self, counts: Mapping[int, int], ledger: Ledger) -> None:
        for number, task in self._nodes.items():
            self._display.update(task, completed=counts.get(number, 0))
        self._display.update(self._all, completed=ledger.completed + ledger.failed + ledger.lost)

    def close(self, counts: Mapping[int, int], ledger: Ledger) -> None:
        """Shows the last state, and leaves it on the screen."""
        self._show(counts, ledger)
        self._display.stop()
