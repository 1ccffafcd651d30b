"""Sums over what a key may see, at a bounded cost however many queues and workers there are.

Of a key that has everything in its namespaces they are the sums that are kept anyway (`Tallies`). Of a key with
patterns the queues are looked at, found by how the patterns begin, so many of them at most: what is not looked at is
not in the sums, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from zq.core.measures.queue_rows import SHOWN_COUNTS, SHOWN_TOTALS
from zq.core.rights.rights import Rights
from zq.core.state.books import Books
from zq.core.state.namespace_limits import Tallies
from zq.core.state.queue import COUNT_NAMES, Queue
from zq.wire.topics import NAMESPACE_SEPARATOR

QUEUES_LOOKED_AT_MAX: Final = 1000
"""Queues, and beginnings of patterns, that one question looks at: a few milliseconds."""

WORKERS_LOOKED_AT_MAX: Final = 5000
"""Workers, and queues of workers, likewise."""


def status_sums(books: Books, rights: Rights) -> dict[str, Any]:
    """Returns the sums of the status over what may be seen; with `is_partial` if there is more of it."""
    workers, has_more_workers = _workers(books, rights)
    if rights.has_every_queue:
        queues, counts, has_more_queues = *_tallied(books.tallies, rights), False
    else:
        queues, counts, has_more_queues = _looked_at(books, rights)
    return {
        "queues": queues,
        "workers": workers,
        "waiting": counts["waiting"] + counts["parked"],
        **{name: counts[name] for name in (*SHOWN_COUNTS, *SHOWN_TOTALS)},
        **({"is_partial": True} if has_more_workers or has_more_queues else {}),
    }


def _tallied(tallies: Tallies, rights: Rights) -> tuple[int, dict[str, int]]:
    queues, counts = 0, dict.fromkeys(COUNT_NAMES, 0)
    for namespace in outermost(rights.namespaces):
        tally = tallies.by_namespace.get(namespace)
        if tally is not None:
            queues += tally.queues
            for name, count in zip(COUNT_NAMES, tally.counts, strict=True):
                counts[name] += count
    return queues, counts


def outermost(namespaces: tuple[str, ...]) -> list[str]:
    """Returns those that are in none of the others."""
    found: list[str] = []
    for one in sorted({namespace + NAMESPACE_SEPARATOR for namespace in namespaces}):
        if not (found and one.startswith(found[-1])):
            found.append(one)
    return [one.removesuffix(NAMESPACE_SEPARATOR) for one in found]


def _looked_at(books: Books, rights: Rights) -> tuple[int, dict[str, int], bool]:
    looked_at = list(islice(_candidates(books, rights), QUEUES_LOOKED_AT_MAX + 1))
    queues = {one for one in looked_at[:QUEUES_LOOKED_AT_MAX] if one is not None and rights.may_see(one.name)}
    counts = dict.fromkeys(COUNT_NAMES, 0)
    for queue in queues:
        for name, count in zip(COUNT_NAMES, queue.counts(), strict=True):
            counts[name] += count
    return len(queues), counts, len(looked_at) > QUEUES_LOOKED_AT_MAX


def _candidates(books: Books, rights: Rights) -> Iterator[Queue | None]:
    """Yields queues that a pattern may fit, perhaps several times, and None for each beginning of one."""
    names = books.tallies.queue_names
    for front, is_whole in _fronts(rights):
        yield books.queues.get(front) if is_whole else None
        if not is_whole:
            yield from (books.queues[name] for name in names.after("", front))


def _fronts(rights: Rights) -> Iterator[tuple[str, bool]]:
    """Yields how names begin that fit patterns, each once, and whether that is all of the name."""
    patterns = dict.fromkeys((*rights.submit, *rights.work, *rights.look))
    begins = dict.fromkeys((pattern.partition("*")[0], "*" not in pattern) for pattern in patterns)
    for namespace in rights.namespaces or ("",):
        inside = namespace + NAMESPACE_SEPARATOR if namespace else ""
        for begin, is_whole in begins:
            yield inside + begin, is_whole


def _workers(books: Books, rights: Rights) -> tuple[int, bool]:
    count, left = 0, WORKERS_LOOKED_AT_MAX
    for worker in books.workers.values():
        if left <= 0:
            return count, True
        left -= 1
        if worker.peer is not None:
            for queue in worker.queues[:left]:
                left -= 1
                if rights.may_see(queue):
                    count += 1
                    break
    return count, False
