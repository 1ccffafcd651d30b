"""Forgetting what has ended: outcomes, results, histories and ids, by age and by count."""

from itertools import islice
from typing import Any

from zq.core import groups, publishing, tables
from zq.core.books import Books, Step

FORGET_MAX = 1000
"""Ended batches forgotten in one step: more than a step can finish in the long run, and a bounded part of its time."""


def forget(books: Books, step: Step) -> None:
    """Forgets the oldest of what has ended, when it is too old or too much, and notes when to look again."""
    if step.wall < books.next_forget_time:
        return
    options = books.options
    tx = step.tx
    books.next_forget_time = step.wall + options.keep_seconds_min
    gone: list[tuple[bytes, str, bytes, bool, list[Any]]] = []
    for key, value in islice(tx.scan(tables.FINISHED), FORGET_MAX + 1):
        finished_time, id, batch_key, has_results, *kind = tables.unpack(value)
        is_over_count = books.kept - len(gone) > options.keep_count
        keep = options.keep_seconds_min if is_over_count else options.keep_seconds
        if finished_time + keep > step.wall:
            books.next_forget_time = min(books.next_forget_time, finished_time + keep)
            break
        if len(gone) == FORGET_MAX:
            books.next_forget_time = step.wall
            break
        gone.append((key, id, batch_key, has_results, kind))
    forgotten = 0
    for key, id, batch_key, has_results, kind in gone:
        tx.delete(tables.FINISHED, key)
        if kind == [publishing.PUBLICATION]:
            forgotten += publishing.forget(books, step, id)
            continue
        forgotten += 1
        if kind:
            groups.forget(step, id)
            continue
        tx.delete(tables.INDEX, id.encode())
        if has_results:
            _delete_range(step, tables.RESULTS, batch_key, batch_key + b"\xff\xff\xff")
        _delete_range(step, tables.HISTORY, *tables.history_bounds(id))
    if gone:
        books.kept -= forgotten
        books.is_changed = True


def _delete_range(step: Step, table: str, start: bytes, stop: bytes) -> None:
    for key in [key for key, _ in step.tx.scan(table, start, stop)]:
        step.tx.delete(table, key)
