"""Alerts of queues: what a policy calls too much has begun, or has ended; each is told once.

Theory of operation. Queues with such a policy are looked at once a second, a portion of them at a time. What goes on is
in memory only: after a restart it begins again, and is told again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Final

from zq.core.measures.oldest import waits_since
from zq.core.pages import Budget
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step

ALERTS_INTERVAL: Final = 1.0
"""Seconds from one look to the next."""

ALERTS_LOOKED_AT: Final = 500
"""Queues in one look: a few milliseconds. The others follow in the next ones."""

Alert = tuple[str, str]
"""Its name, and what there is in words."""


def look_at_some(books: Books, step: Step) -> float:
    """Looks for alerts that begin or end; returns when to look again."""
    watched = books.measures.watched
    for queue in list(islice(watched, ALERTS_LOOKED_AT)):
        before = watched.pop(queue)
        found = dict(_alerts(books, step, queue))
        if books.events is not None:
            for name, text in found.items():
                if name not in before:
                    books.events.note("alert", queue.name, text=f"{name} began: {text}")
            for name in before:
                if name not in found:
                    books.events.note("alert", queue.name, text=f"{name} ended")
        if queue.policies.has_alerts:
            watched[queue] = tuple(found)  # it is the last now
    return step.now + ALERTS_INTERVAL if watched else inf


def _alerts(books: Books, step: Step, queue: Queue) -> Iterator[Alert]:
    policies = queue.policies
    waiting = queue.total_waiting + queue.parked
    if policies.alert_waiting is not None and waiting >= policies.alert_waiting:
        yield "waiting", f"{waiting} tasks wait, the policy alert_waiting is {policies.alert_waiting}"
    if policies.alert_age is not None:
        since = waits_since(books, step, queue, Budget())
        if since is not None and step.wall - since >= policies.alert_age:
            yield "age", f"a task waits for {step.wall - since:.0f} s, the policy alert_age is {policies.alert_age:g}"
    if policies.alert_dead is not None and queue.dead >= policies.alert_dead:
        yield "dead", f"there are {queue.dead} dead letters, the policy alert_dead is {policies.alert_dead}"
