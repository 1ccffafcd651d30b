"""What the tasks of a durable pipeline carry, and the queues that they go to.

The payload of a task is a *parcel*: a list of frames, each a chunk with the number of the node that it goes to
(patterns/work/items.py). Frames that are not for the node whose queue the task is in are luggage: news for the join
around it, which travels along until the members of a group end, and is joined with their results. So the parcel of a
join is a list of lists: what each member of its group returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgpack

from patterns.work.dividing import divide
from patterns.work.items import ItemChunk, Origin, decode, frames_of
from patterns.work.plan import SINK, Node, Plan

PARCEL_FRAME_BYTES_MAX = 1_000_000
"""A frame has to fit a payload, which a coordinator takes up to 1 MiB, with room for what is around it."""

KEY_SHARDS = 64
"""Parts into which a chunk for a stage with a key is divided at most: each is a task with a key of its own, so that
hashing gives it to one worker.
"""

CHUNK_ATTEMPTS_MAX = 5
"""Starts of a task that may be lost with their process; the first of them was a chunk, the others a single item."""

RESULT_ATTEMPTS_MAX = 1000
"""Pulls of a result that may be lost with the caller, or because the caller was busy with another result for longer
than its lease.
"""

ORIGIN_CHARACTERS_MAX = 4000
"""Of origins in one header, which has at most 4,096 bytes."""

ORIGIN_HEADERS_MAX = 20

Parcel = list[bytes]
ParcelSubmission = tuple[str, Parcel, dict[str, Any]]
"""A task to be submitted or forwarded: its queue, payload and options."""


def stage_queue(plan: Plan, node: Node) -> str:
    """Returns the queue of a node, which all runs of a pipeline share."""
    return f"{plan.name}/{node.name}"


def run_queue(name: str, run_id: str) -> str:
    """Returns the queue in which what comes back to the caller of a run waits: results, notices of what died, and items
    for batches.
    """
    return f"{name}/runs/{run_id}"


def cursor_queue(name: str, run_id: str) -> str:
    """Returns the queue of the one task that says how far a run is."""
    return f"{run_queue(name, run_id)}/cursor"


def frames_in(payload: Any) -> Iterator[bytes]:
    """Yields the frames of a parcel, also of one that was joined of others."""
    for one in payload:
        if isinstance(one, list):
            yield from frames_in(one)
        else:
            yield one


def decode_parcel(payload: Any) -> list[tuple[int, ItemChunk, float, bytes]]:
    """Returns the frames of a parcel: of each its target, chunk and cost, and itself.

    Raises:
        ValueError: it is no parcel. Anybody may submit to the queues of a pipeline.
    """
    try:
        return [(*decode(frame), frame) for frame in frames_in(payload)]
    except (TypeError, RecursionError) as error:
        raise ValueError(f"expected frames with items, got {type(payload).__name__}: {error!r:.200}") from None


class Destination(NamedTuple):
    """Where a chunk goes: a queue, and the key of the task."""

    queue: str
    key: str | None


class Dispatch:
    """Finds the queues for chunks of one run."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        """Prepares for a run."""
        self.plan = plan
        self.home = run_queue(plan.name, run_id)
        self.headers = {"run": run_id, "plan": plan.fingerprint}

    def options(self, place: Destination) -> dict[str, Any]:
        """Returns the options of a task that is in no group."""
        if place.queue == self.home:
            return {"headers": self.headers, "max_attempts": RESULT_ATTEMPTS_MAX}
        return {**self.inner_options(place), "on_dead": self.home}

    def inner_options(self, place: Destination) -> dict[str, Any]:
        """Returns the options of a task that is in a group, which hears of its end."""
        options: dict[str, Any] = {"headers": self.headers, "max_attempts": CHUNK_ATTEMPTS_MAX}
        if place.key is not None:
            options["key"] = place.key
        return options

    def submissions(self, number: int, chunk: ItemChunk) -> list[ParcelSubmission]:
        """Returns what the caller submits for a chunk; raises as `frames_of`."""
        return [(place.queue, parcel, self.options(place)) for place, parcel in self.parcels(number, chunk, 0.0)]

    def parcels(self, number: int, chunk: ItemChunk, cost: float) -> Iterator[tuple[Destination, Parcel]]:
        """Yields where the parts of a chunk go, and the parcels; raises as `frames_of`."""
        node = None if number == SINK else self.plan.nodes[number]
        if node is None or node.kind == "batch":  # the caller makes batches
            for frame in frames_of(number, chunk, cost, PARCEL_FRAME_BYTES_MAX):
                yield Destination(self.home, None), [frame]
            return
        queue = stage_queue(self.plan, node)
        if node.options.key is None:
            parts: list[tuple[str | None, ItemChunk]] = [(None, chunk)]
        else:
            parts = [(str(shard), part) for shard, part in divide(chunk, node, KEY_SHARDS)]
        for key, part in parts:
            for frame in frames_of(number, part, cost, PARCEL_FRAME_BYTES_MAX):
                yield Destination(queue, key), [frame]


# Origins in headers: whom the failure of a whole group concerns.


def origin_headers(origins: list[Origin]) -> dict[str, str]:
    """Returns headers that name origins; none when they are too many."""
    text = msgpack.packb(origins).hex()
    parts = [text[at : at + ORIGIN_CHARACTERS_MAX] for at in range(0, len(text), ORIGIN_CHARACTERS_MAX)]
    if len(parts) > ORIGIN_HEADERS_MAX:
        return {}
    return {f"origins-{number}": part for number, part in enumerate(parts)}


def origins_in(headers: Mapping[str, str]) -> list[Origin] | None:
    """Returns the origins in headers, or None when there are none."""
    text = "".join(headers.get(f"origins-{number}", "") for number in range(ORIGIN_HEADERS_MAX))
    if not text:
        return None
    return [freeze(origin) for origin in msgpack.unpackb(bytes.fromhex(text))]


def freeze(origin: Any) -> Origin:
    """Returns an origin as msgpack gave it, in tuples."""
    if isinstance(origin, int):
        return origin
    members, inner = origin
    return tuple((number, tuple(path)) for number, path in members), tuple(tuple(path) for path in inner)
