"""Which ways tasks take between queues, page by page (`zq.core.measures.flows`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zq.core.arguments import prefix
from zq.core.pages import Budget, Page, page
from zq.core.state.books import Books
from zq.core.state.step import Step

BETWEEN = " "
"""Between origin and target in a cursor: no name has one."""


def flows(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001 - alike in shape
    """Answers the query `flows`: from or to the queues of the namespace that asks, or all."""
    inside = prefix(arguments)

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:  # noqa: ARG001
        origin, _, target = after.partition(BETWEEN)
        for one, other, row in books.measures.flows.after(origin, target):
            is_inside = one.startswith(inside) or other.startswith(inside)
            yield one + BETWEEN + other, row if is_inside else None

    return page(arguments, "", find)
