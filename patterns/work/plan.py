"""The plan: a pipeline as a flat tuple of nodes, which any process can make again from its wire form.

A node is a place where something is done with items: `stage`, `split`, `join` and `batch` have workers of their own;
`route` and `fan_out` cost next to nothing and are done by whoever gives items to them. Nodes are numbered in the order
in which one reads them; SINK is where results go. The functions stay outside of the wire form: a node has the name by
which they are imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgpack

from patterns.pipeline.pipeline import Pipeline, check_closed, check_name
from patterns.pipeline.stages import BatchPiece, FanOut, Route, StageOptions, _Step
from zq.processes.references import load_reference

SINK = -1
"""The number of the place where results go: the caller."""

NodeKind = Literal["stage", "split", "join", "batch", "route", "fan_out"]

WORKING = ("stage", "split", "join", "batch")
"""Kinds of nodes that have workers."""

_KINDS: dict[str, NodeKind] = {"stage": "stage", "scatter": "split", "gather": "join"}

Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One place of a plan.

    Attributes:
        number: its place in the plan.
        kind: what is done there.
        name: unlike every other node's.
        follower: number of the node that gets what comes out (of a route or fan_out: of its branches), or SINK.
        join: number of the join that ends the scatter around it, or SINK: failures, and the news that an item has no
            results, go there.
        branches: first nodes of the branches of a route or fan_out.
        labels: of a route, one for each branch; what has no label and takes all others is the last branch, when there
            is one more.
        closing: of a split: number of its own join.
        options: how it is run; its `key` is not part of the wire form.
        reference: by which its function is imported, or None: it runs in threads only, or has none.
        key_reference: by which the key is imported, or None: it has none, or it is found with the function's stage.
        size: of a batch.
        within: of a batch, in seconds.
    """

    number: int
    kind: NodeKind
    name: str
    follower: int
    join: int
    branches: tuple[int, ...] = ()
    labels: tuple[str | int | None, ...] = ()
    closing: int = SINK
    options: StageOptions = field(default=StageOptions())
    reference: str | None = None
    key_reference: str | None = None
    size: int = 0
    within: float | None = None

    @property
    def has_workers(self) -> bool:
        return self.kind in WORKING

    @property
    def is_keyed(self) -> bool:
        """Whether it matters which of its workers gets an item: parts of one item meet at one join."""
        return self.kind == "join" or self.options.key is not None


class Plan:
    """The nodes of a pipeline, and the functions they call.

    Attributes:
        nodes: by number.
        name: of the pipeline, given or made of its fingerprint.
        fingerprint: two processes with the same one would do the same with an item, as far as names tell.
    """

    def __init__(self, nodes: tuple[Node, ...], name: str | None, functions: dict[int, Function]) -> None:
        """Makes a plan.

        Args:
            nodes: by number.
            name: of the pipeline, or None.
            functions: those that are at hand, by the number of their node; others are imported when they are needed.
        """
        self.nodes = nodes
        self.fingerprint = _fingerprint(nodes)
        self.name = name or f"pipeline-{self.fingerprint[:8]}"
        self._functions = functions

    @property
    def working(self) -> tuple[Node, ...]:
        """The nodes that have workers."""
        return tuple(node for node in self.nodes if node.has_workers)

    @property
    def held_max(self) -> int:
        """How many source items can at most lie in unfinished batches: so many must be in flight before anything need
        come out.
        """
        held, factor = 0, 1
        for node in self.nodes:
            if node.kind == "batch":  # a batch of batches holds the items of all of them
                factor *= node.size
                held += factor
        return held

    def function(self, number: int) -> Function:
        """Returns the function of a node, imported if need be.

        Raises:
            ValueError: it cannot be imported.
        """
        found = self._functions.get(number)
        if found is None:
            reference = self.nodes[number].reference
            assert reference is not None, "a node without a function was asked for it"
            found = self._functions[number] = getattr(thing := load_reference(reference), "function", thing)
        return found

    def node_named(self, name: str) -> Node:
        """Returns a node with workers.

        Raises:
            ValueError: there is none of that name.
        """
        for node in self.working:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.working)
        raise ValueError(f"there is no stage {name!r} in {self.name}; expected one of {names}")

    def followers(self, number: int) -> frozenset[int]:
        """Returns the nodes with workers, and SINK, that a node (or, for SINK, the source) may give items or news of
        their end to.
        """
        found: set[int] = set()
        waiting = [0]
        if number != SINK:
            node = self.nodes[number]
            waiting = [node.follower, node.join, *([node.closing] if node.kind == "split" else [])]
        while waiting:
            at = waiting.pop()
            if at == SINK or self.nodes[at].has_workers:
                found.add(at)
            else:
                waiting += [*self.nodes[at].branches, self.nodes[at].join]  # the join hears of items that fit no branch
        return frozenset(found)

    def to_wire(self) -> bytes:
        """Returns the plan for another process: everything but the functions."""
        return msgpack.packb([self.name, [_to_wire(node) for node in self.nodes]])

    @classmethod
    def from_wire(cls, wire: bytes) -> Plan:
        """Makes the plan again; keys are imported at once, functions when they are needed.

        Raises:
            ValueError: a key cannot be imported.
        """
        name, nodes = msgpack.unpackb(wire, use_list=False)
        return cls(tuple(_from_wire(node) for node in nodes), name, {})


def make_plan(pipeline: Pipeline[Any, Any]) -> Plan:
    """Compiles a pipeline.

    Raises:
        ValueError: it has a scatter without a gather, or a function that no other process can import.
    """
    check_closed(pipeline, "pipeline")
    maker = _Maker(_count(pipeline))
    maker.add(pipeline, SINK, SINK)
    return maker.finish(pipeline.name)


def _count(pipeline: Pipeline[Any, Any]) -> int:
    """Returns how many nodes a pipeline becomes."""
    return sum(1 + sum(map(_count, piece.all_branches)) for piece in pipeline.pieces)


class _Maker:
    """Makes nodes from the last to the first, because a node names the one that follows."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._nodes: list[Node] = []  # the last one first
        self._functions: dict[int, Function] = {}

    def add(self, pipeline: Pipeline[Any, Any], follower: int, join: int) -> int:
        """Adds the nodes of a pipeline that gives to `follower`, and returns the number of its first one."""
        joins = [join]
        for piece in reversed(pipeline.pieces):
            match piece:
                case _Step():
                    closing = joins.pop() if piece.opens > 0 else SINK
                    follower = self._add_step(piece, follower, joins[-1], closing)
                    if piece.opens < 0:
                        joins.append(follower)
                case FanOut():
                    branches = self._add_branches(piece.branches, follower, joins[-1])
                    follower = self._append("fan_out", "fan_out", follower, joins[-1], branches=branches)
                case Route():
                    branches = self._add_branches(piece.all_branches, follower, joins[-1])
                    follower = self._append(
                        "route",
                        piece.step_name,
                        follower,
                        joins[-1],
                        piece.function,
                        branches=branches,
                        labels=tuple(piece.branches),
                        reference=piece.reference(),
                    )
                case BatchPiece():
                    follower = self._append("batch", "batch", follower, joins[-1], size=piece.size, within=piece.within)
        return follower

    def finish(self, name: str | None) -> Plan:
        taken: set[str] = set()
        nodes = tuple(replace(node, name=_unlike(node.name, taken)) for node in reversed(self._nodes))
        return Plan(nodes, name, self._functions)

    def _add_branches(self, branches: tuple[Pipeline[Any, Any], ...], follower: int, join: int) -> tuple[int, ...]:
        return tuple(self.add(branch, follower, join) for branch in reversed(branches))[::-1]

    def _add_step(self, piece: _Step[Any, Any], follower: int, join: int, closing: int) -> int:
        reference, key_reference = piece.references()
        return self._append(
            _KINDS[piece.kind],
            piece.step_name,
            follower,
            join,
            piece.function,
            closing=closing,
            options=piece.options,
            reference=reference,
            key_reference=key_reference,
        )

    def _append(
        self, kind: NodeKind, name: str, follower: int, join: int, function: Function | None = None, **more: Any
    ) -> int:
        number = self._count - len(self._nodes) - 1
        self._nodes.append(Node(number, kind, check_name(name), follower, join, **more))
        if function is not None:
            self._functions[number] = function
        return number


def _unlike(name: str, taken: set[str]) -> str:
    """Returns the name, or the name with the first number that makes it unlike all others."""
    candidates: Iterator[str] = (name if count == 1 else f"{name}-{count}" for count in range(1, len(taken) + 2))
    found = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(found)
    return found


def _fingerprint(nodes: tuple[Node, ...]) -> str:
    """Returns a hash of what the nodes do; not of paths and workers, which may differ between machines."""
    shape = [
        [
            *(node.kind, node.name, node.follower, node.join, node.branches, node.labels, node.size, node.within),
            *(node.join, node.closing, node.options.flat, node.options.key is not None),
            (node.reference or "").rpartition(":")[2],
        ]
        for node in nodes
    ]
    return hashlib.sha256(msgpack.packb(shape)).hexdigest()


def _to_wire(node: Node) -> list[Any]:
    options = node.options
    return [
        *(node.number, node.kind, node.name, node.follower, node.join, node.branches, node.labels, node.closing),
        [options.workers, options.retries, options.backoff, options.timeout, options.flat, options.threads],
        options.key is not None,
        *(node.reference, node.key_reference, node.size, node.within),
    ]


def _from_wire(wire: tuple[Any, ...]) -> Node:
    *place, options, has_key, reference, key_reference, size, within = wire
    workers, retries, backoff, timeout, flat, threads = options
    key = None
    if has_key and key_reference is not None:
        key = load_reference(key_reference)
    elif has_key and reference is not None:
        key = load_reference(reference).options.key
    made = StageOptions(workers, retries, backoff, timeout, flat, threads, key)
    fields = [*place, made, reference, key_reference, size, within]
    return Node(*fields)
