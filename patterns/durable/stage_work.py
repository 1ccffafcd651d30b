"""What a worker of a durable pipeline does with a task: the completion forwards what comes of it, in one transaction.

Outside of a scatter, what a node sends on is forwarded, and results go to the queue of the run. A scatter opens a
*group* of zq whose members are the parts, several in a task, and whose callback is the task of its join. Inside, what a
node sends on carries the group along; what goes to the join (parts that are ready, failures, news of parts without
results) is what the member returns when nothing else comes of it, and luggage of what is forwarded otherwise. The
coordinator counts members in the same transactions, and makes the join's task when the last has ended, of all that they
returned. So nothing of a pipeline is in the memory of a worker between two tasks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import zq
from patterns.durable.parcels import (
    CHUNK_ATTEMPTS_MAX,
    PARCEL_FRAME_BYTES_MAX,
    Destination,
    Dispatch,
    Parcel,
    decode_parcel,
    origin_headers,
    stage_queue,
)
from patterns.work.execution import Execution
from patterns.work.items import (
    UNSENDABLE,
    ItemChunk,
    Origin,
    Sent,
    compact,
    cut,
    encode,
    frames_of,
    origins_of,
    size_of,
    weight_of,
)
from patterns.work.plan import SINK, Node, Plan
from patterns.work.salvage import salvage

OUT_BYTES_MAX = 1 << 20
"""What one task may send on before the rest of its chunk is left to another: a completion is one message."""

PIECE_BYTES = PARCEL_FRAME_BYTES_MAX
"""What should come of a piece of a chunk, between two looks at how much it was: nearly always the chunk is one piece,
and stays whole.
"""

GROUP_ITEMS_MAX, GROUP_PARTS_MAX, GROUP_BYTES_MAX = 64, 500, 256 << 10
"""Items, parts and bytes that one group is opened for at most: their results come together in one task, which has at
most 8 MiB.
"""

TOKEN_BITS = 21
"""Of a token in a number of a path, which has 31."""

Costly = tuple[ItemChunk, float]
"""A chunk, and seconds of work for a source item at the slowest node so far."""


class StageWork:
    """The handler of one node. Any thread may call it."""

    def __init__(self, plan: Plan, node: Node) -> None:
        """Makes a handler.

        Args:
            node: whose handler it is: of any kind but `batch`, which callers do.
        """
        self.node = node
        self._plan = plan
        self._item_bytes = 0.0  # what comes of an item; the memory of large ones fades
        self._local = threading.local()

    def __call__(self, task: zq.Task) -> Parcel | None:
        """Works off a parcel; returns what is for the join around it."""
        dispatch = self._dispatch(task)
        own: list[Costly] = []
        luggage: list[bytes] = []
        try:
            frames = decode_parcel(task.payload)
        except ValueError as error:  # trying it again would change nothing
            raise zq.Bury(f"this is no task of the pipeline {self._plan.name}: {error}") from error
        for number, chunk, cost, frame in frames:
            if number == self.node.number:
                own.append((chunk, cost))
            else:
                luggage.append(frame)
        delivery = Delivery(dispatch, self.node, task, luggage)
        execution = self._execution()
        match self.node.kind:
            case "join":
                self._join(execution, own, delivery)
            case "split":
                self._split(execution, self._pieces(task, own, delivery), delivery)
            case _:
                self._work(execution, self._pieces(task, own, delivery), delivery)
        return delivery.finish()

    def _dispatch(self, task: zq.Task) -> Dispatch:
        if task.headers.get("plan") != self._plan.fingerprint:
            raise zq.Bury(
                f"this worker runs another version of the pipeline {self._plan.name} than the caller; give a changed pipeline another name"
            )
        return Dispatch(self._plan, task.headers["run"])

    def _execution(self) -> Execution:
        """Returns the execution of this thread, clean."""
        execution: Execution | None = getattr(self._local, "execution", None)
        if execution is None:
            execution = self._local.execution = Execution(self._plan, self.node.number, time.sleep)
        execution.forget()  # parts of a task that failed half-way
        return execution

    # Kinds of nodes.

    def _work(self, execution: Execution, pieces: Iterator[Costly], delivery: Delivery) -> None:
        """Does a stage."""
        for part, cost in pieces:
            before = delivery.bytes
            sent, spent = _receive(execution, part, cost)
            delivery.send(sent, spent, part)
            self._item_bytes = max((delivery.bytes - before) / size_of(part), 0.9 * self._item_bytes)

    def _join(self, execution: Execution, own: list[Costly], delivery: Delivery) -> None:
        for chunk, cost in own:
            delivery.send(*_receive(execution, chunk, cost), None)

    def _split(self, execution: Execution, pieces: Iterator[Costly], delivery: Delivery) -> None:
        """Cuts items into parts, and opens groups for them."""
        scattered = Scattered()
        for item, cost in pieces:
            sent, spent = _receive(execution, item, cost)
            try:
                scattered.add(self.node, item, sent, spent)
            except UNSENDABLE:
                scattered.add(self.node, item, salvage(self.node, sent, item, PARCEL_FRAME_BYTES_MAX), spent)
            if scattered.is_full:
                delivery.scatter(scattered)
                scattered = Scattered()
        delivery.scatter(scattered)

    def _pieces(self, task: zq.Task, own: list[Costly], delivery: Delivery) -> Iterator[Costly]:
        """Yields what is to be done now, and leaves the rest to other tasks. A chunk whose process died is cut up, so
        that the item that kills does it alone.
        """
        for chunk, cost in own:
            is_suspect = task.attempt > 1 and size_of(chunk) > 1
            is_one_by_one = is_suspect or self.node.kind == "split"
            for part in cut(chunk, 1 if is_one_by_one else max(1, int(PIECE_BYTES / max(self._item_bytes, 1.0)))):
                if is_suspect or delivery.bytes > OUT_BYTES_MAX:
                    delivery.send_back(part, cost)
                else:
                    yield part, cost


def _receive(execution: Execution, chunk: ItemChunk, cost: float) -> tuple[list[Sent], float]:
    """Has a node work on a chunk; returns what comes of it, and what an item has cost at the slowest node."""
    began_at = time.monotonic()
    sent = execution.receive(began_at, chunk)
    return sent, max(cost, (time.monotonic() - began_at) / weight_of(chunk))


class Scattered:
    """Parts of some items, on their way into a group.

    Attributes:
        origins: of the items.
        inside: chunks for the nodes between split and join.
        closing: frames for the join.
        outside: chunks that are for neither: items whose split failed.
        cost: of an item, at the slowest node.
    """

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self.inside: dict[int, tuple[list[Origin], list[Any]]] = {}
        self.closing: list[bytes] = []
        self.outside: list[Sent] = []
        self.cost = 0.0
        self._bytes = 0

    def add(self, node: Node, item: ItemChunk, sent: list[Sent], cost: float) -> None:
        """Adds what came of one item; raises as `frames_of`, and then has added nothing."""
        closing = [
            frame
            for number, chunk in sent
            if number == node.closing
            for frame in frames_of(number, chunk, cost, PARCEL_FRAME_BYTES_MAX)
        ]
        outside = [one for one in sent if one[0] == node.join]
        inside = [one for one in sent if one[0] not in (node.closing, node.join)]
        size = sum(len(encode(number, chunk, cost)) for number, chunk in inside)
        for _, chunk in (*outside, *inside):
            for part in cut(chunk, 1):
                frames_of(0, part, cost, PARCEL_FRAME_BYTES_MAX)
        self.cost = max(self.cost, cost)
        self.outside += outside
        self.closing += closing
        self.origins += origins_of(item)
        self._bytes += size + sum(map(len, closing))
        for number, chunk in inside:
            origins, values = self.inside.setdefault(number, ([], []))
            origins += origins_of(chunk)
            values += chunk[1]

    @property
    def is_full(self) -> bool:
        parts = sum(len(values) for _, values in self.inside.values()) + len(self.closing)
        return len(self.origins) >= GROUP_ITEMS_MAX or parts >= GROUP_PARTS_MAX or self._bytes >= GROUP_BYTES_MAX


class Delivery:
    """What comes of one task.

    Attributes:
        bytes: of it, so far.
    """

    def __init__(self, dispatch: Dispatch, node: Node, task: zq.Task, luggage: list[bytes]) -> None:
        self.bytes = 0
        self._dispatch = dispatch
        self._node = node
        self._task = task
        self._group = task.member_of
        self._luggage = luggage  # for the join around this node
        self._count: dict[str, int] = {}  # of members that take this one's place, by queue
        self._own_queue = stage_queue(dispatch.plan, node)

    def send(self, sent: list[Sent], cost: float, came: ItemChunk | None) -> None:
        """Sends on what a chunk became."""
        try:
            parcels = list(self._parcels(sent, cost))
        except UNSENDABLE:
            parcels = list(self._parcels(salvage(self._node, sent, came, PARCEL_FRAME_BYTES_MAX), cost))
        for place, parcel in parcels:
            self.bytes += sum(map(len, parcel))
            if place is None:
                self._luggage += parcel
            else:
                self._forward(place, parcel)

    def send_back(self, chunk: ItemChunk, cost: float) -> None:
        """Leaves a part of the chunk to another task."""
        for place, parcel in self._dispatch.parcels(self._node.number, chunk, cost):
            self._forward(place, parcel)

    def scatter(self, scattered: Scattered) -> None:
        """Opens a group for parts, or gives them to the join at once when there is no work between."""
        plan = self._dispatch.plan
        self.send(scattered.outside, scattered.cost, None)
        if not scattered.origins or not (scattered.inside or scattered.closing):
            return
        join = plan.nodes[self._node.closing]
        headers = {**self._dispatch.headers, **origin_headers(scattered.origins)}
        place = Destination(stage_queue(plan, join), None)
        closing = list(_parcels_of(scattered.closing))
        if not scattered.inside and len(closing) == 1:
            self._forward(place, closing[0], headers)
            return
        members = list(self._members(scattered))
        own = Destination(self._own_queue, None)  # whose handler returns luggage as it is
        members += [(own.queue, parcel, self._dispatch.inner_options(own)) for parcel in closing]
        self.bytes += sum(len(frame) for _, parcel, _ in members for frame in parcel)
        options = self._options(place) | {"headers": headers, "max_attempts": CHUNK_ATTEMPTS_MAX}
        # The options are a TypedDict in the making.
        self._task.group(members, callback=(place.queue, options), skips_none=True)  # type: ignore[arg-type]

    def finish(self) -> Parcel | None:
        """Returns what the task returns: what is for the join around it, if it is little and nothing else comes of the
        task.
        """
        parcels = list(_parcels_of(self._luggage))
        if self._group is None or not parcels:
            return None
        if len(parcels) == 1 and not self._count:
            return parcels[0]
        for parcel in parcels:  # whoever gets it returns it as it is
            self._forward(Destination(self._own_queue, None), parcel)
        return None

    def _parcels(self, sent: list[Sent], cost: float) -> Iterator[tuple[Destination | None, Parcel]]:
        """Yields parcels with their places, None for the join around this node."""
        for number, chunk in sent:
            if self._group is not None and number == self._node.join and number != SINK:
                for frame in frames_of(number, chunk, cost, PARCEL_FRAME_BYTES_MAX):
                    yield None, [frame]
            else:
                yield from self._dispatch.parcels(number, chunk, cost)

    def _members(self, scattered: Scattered) -> Iterator[tuple[str, Parcel, dict[str, Any]]]:
        """Yields the members of a group: parts in chunks, so many that all workers get some."""
        for number, (origins, values) in scattered.inside.items():
            workers = self._dispatch.plan.nodes[number].options.workers
            chunk = compact(origins, values)
            for piece in cut(chunk, -(-size_of(chunk) // (2 * workers))):
                for place, parcel in self._dispatch.parcels(number, piece, scattered.cost):
                    yield place.queue, parcel, self._dispatch.inner_options(place)

    def _forward(self, place: Destination, parcel: Parcel, headers: dict[str, str] | None = None) -> None:
        options = self._options(place)
        if headers is not None:
            options["headers"] = headers
        self._task.forward(place.queue, parcel, **options)

    def _options(self, place: Destination) -> dict[str, Any]:
        """Returns the options of what takes this task's place."""
        if self._group is None:
            return self._dispatch.options(place)
        count = self._count[place.queue] = self._count.get(place.queue, -1) + 1
        queue = list(self._count).index(place.queue)
        token, low = self._task.token, (1 << TOKEN_BITS) - 1
        # No other completion has this token and index, so no other path in the group is like it, however deep pipelines
        # go.
        path = (token >> 2 * TOKEN_BITS, token >> TOKEN_BITS & low, token & low, self._task.index, queue, count)
        return {**self._dispatch.inner_options(place), "group": (self._group[0], path)}


def _parcels_of(frames: list[bytes]) -> Iterator[Parcel]:
    """Yields frames in parcels that each fit a payload."""
    parcel: Parcel = []
    size = 0
    for frame in frames:
        if parcel and size + len(frame) > PARCEL_FRAME_BYTES_MAX:
            yield parcel
            parcel, size = [], 0
        parcel.append(frame)
        size += len(frame)
    if parcel:
        yield parcel
