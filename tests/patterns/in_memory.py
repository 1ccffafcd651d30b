"""Two ways to evaluate a pipeline without any transport: nodes that exchange messages in a random order, and a few
lines of plain Python.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any

from patterns.pipeline.pipeline import Pipeline
from patterns.pipeline.stages import BatchPiece, FanOut, FlatStage, Gather, Route, Scatter, Stage
from patterns.work.dividing import divide
from patterns.work.execution import Execution, Spreader
from patterns.work.items import Plain, Sent, decode, encode
from patterns.work.ledger import Ledger
from patterns.work.plan import SINK


def run_in_memory(
    pipeline: Pipeline[Any, Any], items: Iterable[Any], random: Random, *, ordered: bool = False
) -> tuple[list[Any], Ledger]:
    """Runs a pipeline with all its workers in this thread; messages to different workers overtake each other at
    random.
    """
    plan = pipeline.plan()
    ledger = Ledger(ordered=ordered)
    spreader = Spreader(plan)
    workers = {
        (node.number, index): Execution(plan, node.number, lambda seconds: None)
        for node in plan.working
        for index in range(node.options.workers)
    }
    boxes: dict[tuple[int, int], deque[bytes]] = {place: deque() for place in (*workers, (SINK, 0))}

    def post(sent: list[Sent]) -> None:
        for number, chunk in sent:
            if number == SINK:
                boxes[SINK, 0].append(encode(number, chunk, 0.0))
                continue
            node = plan.nodes[number]
            count = node.options.workers
            parts = divide(chunk, node, count) if node.is_keyed else [(random.randrange(count), chunk)]
            for index, part in parts:
                boxes[number, index].append(encode(number, part, 0.0))

    waiting = list(items)
    while waiting:
        size = random.randint(1, 5)
        values, waiting = waiting[:size], waiting[size:]
        post(spreader.spread(0, Plain(ledger.send(len(values)), values)))
    while True:
        full = [place for place, box in boxes.items() if box]
        if not full:
            flushed = next((worker.flush() for worker in workers.values() if worker.is_holding), None)
            if flushed is None:
                return list(ledger.take()), ledger
            post(flushed)
            continue
        place = random.choice(full)
        _, chunk, _ = decode(boxes[place].popleft())
        if place[0] == SINK:
            ledger.receive(chunk)
        else:
            post(workers[place].receive(0.0, chunk))


class FailedItem(Exception):
    """A function failed for an item."""


def evaluate(pipeline: Pipeline[Any, Any], item: Any) -> list[Any]:
    """Returns the results of one item, in order, with a FailedItem for each failure; batches are not understood."""
    return _evaluate(list(pipeline.pieces), item)


def _evaluate(pieces: list[Any], item: Any) -> list[Any]:
    if not pieces or isinstance(item, FailedItem):
        return [item]
    piece, *rest = pieces
    match piece:
        case Stage():
            results = [_call(piece.function, item)]
        case FlatStage():
            found = _call(lambda one: list(piece.function(one)), item)
            results = [found] if isinstance(found, FailedItem) else found
        case FanOut():
            results = [result for branch in piece.branches for result in evaluate(branch, item)]
        case Route():
            label = _call(piece.function, item)
            branch = piece.branches.get(label, piece.otherwise)
            results = [FailedItem(label)] if branch is None else evaluate(branch, item)
        case Scatter():
            inside, rest, join = _until_gather(rest)
            parts = _call(lambda one: list(piece.function(one)), item)
            if isinstance(parts, FailedItem):
                return [parts]
            worked = [result for part in parts for result in _evaluate(inside, part)]
            failed = [one for one in worked if isinstance(one, FailedItem)]
            results = failed[:1] or [_call(join, worked)]
        case BatchPiece() | _:
            raise TypeError(f"cannot evaluate {piece!r}")
    return [found for result in results for found in _evaluate(rest, result)]


def _until_gather(pieces: list[Any]) -> tuple[list[Any], list[Any], Any]:
    depth = 0
    for at, piece in enumerate(pieces):
        if isinstance(piece, Scatter):
            depth += 1
        elif isinstance(piece, Gather):
            if depth == 0:
                return pieces[:at], pieces[at + 1 :], piece.function
            depth -= 1
    raise AssertionError("a scatter without a gather")


def _call(function: Any, item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:
        return FailedItem(str(error))
