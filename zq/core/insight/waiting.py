"""The page that lists what a task waits for: each reason with what it means, what `zq why` says, and who decides it.

Theory of operation. From its receipt to its lease a task is in one of three tables, and each keeps it for reasons of
its own:

- *scheduled*, until a time: its delay, or that of its retry.
- *parked*, until it has the turn of its line: an ordered task behind the others of its key, and in a queue that goes by
  key all batches of a key but one.
- *pending*: it is ready, and stands in its lane, in the order of service (by priority, by age, in turns), or aside of
  it. What is at the head of a lane is held back by the gate of its queue (a pause, limits, rates), set aside for a key
  without room or for the worker of its key, and else given to a worker with credit, or to a pull.

What is not let in does not wait, and is not on this page: a queue that drains or is full (`zq.core.tasks.admission`), a
namespace that is full (`zq.core.state.namespace_limits`) and a store that is full refuse it as busy, and a unique key
that another task has makes it a duplicate (`zq.core.state.unique_keys`).

The order is the one in which `zq.core.insight.reasons` asks: of several reasons the first would still hold if those
behind it were gone.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Why(NamedTuple):
    """One reason for which a task does not run now."""

    meaning: str  # as docs/semantics.md has it
    says: str  # what `zq why` says, with the names of what is filled in
    decided_in: str  # the module


REASONS: Final[dict[str, Why]] = {
    "unknown": Why(
        "no such task, or no longer",
        "the coordinator has no such task, or no longer",
        "zq.core.tasks.endings",
    ),
    "ended": Why(
        "it has ended",
        "it has ended: {outcome}",
        "zq.core.tasks.endings",
    ),
    "not-due": Why(
        "its delay, or the delay of its retry, is not over",
        "it is {what} in {seconds:.1f} s",
        "zq.core.tasks.admission",
    ),
    "running": Why(
        "it runs",
        "it runs at {holder} for {seconds:.1f} s",
        "zq.core.state.leases",
    ),
    "leased": Why(
        "it was given to a worker or pull that has not said that it started it",
        "it is leased to {holder}, which {what}",
        "zq.core.state.leases",
    ),
    "key-held": Why(
        "it is ordered, and another task of its key goes first",
        "key {key!r} is held by {task}",
        "zq.core.tasks.key_turns",
    ),
    "key-turn": Why(
        "its key has its turn with other tasks",
        "other tasks of key {key!r} go first, and keys take turns",
        "zq.core.tasks.key_turns",
    ),
    "paused": Why(
        "its queue is paused",
        "queue {queue} is paused",
        "zq.core.state.throttle",
    ),
    "no-worker": Why(
        "no live worker asks for its queue, and no pull waits",
        "no worker for queue {queue} is there",
        "zq.core.tasks.liveness",
    ),
    "concurrency": Why(
        "as many tasks of its queue are leased as may be",
        "{limit:g} of {limit:g} tasks of queue {queue} are leased, its limit{after}",
        "zq.core.state.throttle",
    ),
    "rate": Why(
        "the rate of its queue has no token",
        "the rate of queue {queue}, {limit:g} a second, has room in {seconds:.1f} s{after}",
        "zq.core.state.throttle",
    ),
    "key-concurrency": Why(
        "as many tasks of its key are leased as may be",
        "{limit:g} of {limit:g} tasks of key {key!r} are leased, its limit{after}",
        "zq.core.state.throttle",
    ),
    "key-rate": Why(
        "the rate of its key has no token",
        "the rate of key {key!r}, {limit:g} a second, has room in {seconds:.1f} s{after}",
        "zq.core.state.throttle",
    ),
    "shop": Why(
        "it waits for the worker of its key (`assign=hash`)",
        "it waits for {worker}, the worker of key {key!r}",
        "zq.core.tasks.assignment",
    ),
    "no-credit": Why(
        "all workers hold as much as they want",
        "the {workers} no room{after}",
        "zq.core.tasks.assignment",
    ),
    "solo": Why(
        "it may have killed a worker, and waits for one that holds nothing else",
        "it may have killed a worker, and waits for one that holds nothing else",
        "zq.core.tasks.assignment",
    ),
    "behind": Why(
        "others go first",
        "it waits behind {ahead} tasks",
        "zq.core.state.service_order",
    ),
    "next": Why(
        "it is next",
        "it is next",
        "zq.core.state.service_order",
    ),
}
"""By the code that the query `why` answers with."""
