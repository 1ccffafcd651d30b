"""What a node does with a chunk: the part of a pipeline that every grade shares, without any transport.

`Execution` is one worker of one node as a machine: `receive` a chunk, get the chunks that come of it, each with the
number of the node that it goes to. Routes and fan_outs have no workers: `Spreader` does theirs on the way out.
Everything that goes wrong with an item becomes a `Failure` that travels like a result.

Invariants: the shares that leave a node for an item add up to those that came in, whatever its function does; a join
calls its function once for an item, when all shares are in, and not at all if a part failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from patterns.work.calls import StageCalls, failure_from
from patterns.work.hand import HandCalls
from patterns.work.items import (
    Failure,
    ItemChunk,
    Loose,
    Origin,
    Path,
    Plain,
    Rest,
    Sent,
    WithoutResult,
    compact,
    extend,
    extend_all,
    lists_of,
    origins_of,
    pop,
    push,
)
from patterns.work.plan import SINK, Node, Plan
from zq.handling.contexts import FreshContexts


class Spreader:
    """Sends chunks on to the nodes that have workers, through routes and fan_outs."""

    def __init__(self, plan: Plan, *, is_callers: bool = True) -> None:
        """Makes a spreader.

        Args:
            is_callers: whether it works in the caller's own thread, where KeyboardInterrupt is Ctrl-C.
        """
        self._plan = plan
        self._is_callers = is_callers
        self._contexts = FreshContexts()
        self._is_open = {
            number: number == SINK or plan.nodes[number].has_workers for number in (SINK, *range(len(plan.nodes)))
        }

    def become_copy(self) -> None:
        self._is_copy = True

    def spread(self, number: int, chunk: ItemChunk) -> list[Sent]:
        """Returns where a chunk that goes to node `number` really goes to."""
        if self._is_open[number]:
            return [(number, chunk)]
        node = self._plan.nodes[number]
        if node.kind == "fan_out":
            return self._fan_out(node, chunk)
        return self._route(node, chunk)

    def _fan_out(self, node: Node, chunk: ItemChunk) -> list[Sent]:
        count = len(node.branches)
        if count == 1:
            return self.spread(node.branches[0], chunk)
        origins, values = list(origins_of(chunk)), chunk[1]
        sent: list[Sent] = []
        for index, branch in enumerate(node.branches):
            sent += self.spread(branch, Loose([extend(origin, index, count) for origin in origins], list(values)))
        return sent

    def _route(self, node: Node, chunk: ItemChunk) -> list[Sent]:
        choose = self._plan.function(node.number)
        branch_of = dict(zip(node.labels, node.branches, strict=False))
        otherwise = node.branches[-1] if len(node.branches) > len(node.labels) else None
        chosen: dict[int, tuple[list[Origin], list[Any]]] = {}
        failed = _Failures()
        for origin, value in zip(origins_of(chunk), chunk[1], strict=True):
            try:
                label = self._contexts.call(choose, value)
                branch = branch_of.get(label, otherwise)
                if branch is None:
                    known = ", ".join(map(repr, node.labels))
                    raise ValueError(f"unknown route {label!r}; expected one of {known}")  # as an item's failure
            except BaseException as error:  # belongs to this item
                if self._is_callers and issubclass(type(error), KeyboardInterrupt):
                    raise
                failed.add(origin, failure_from(node.name, value, error, 1))
                continue
            origins, values = chosen.setdefault(branch, ([], []))
            origins.append(origin)
            values.append(value)
        sent = failed.sent_to(node.join)
        for branch, (origins, values) in chosen.items():
            sent += self.spread(branch, compact(origins, values))
        return sent


class _Failures:
    """News of items that ended without a result, on their way to a join or the sink."""

    def __init__(self) -> None:
        self._origins: list[Origin] = []
        self._failures: list[Failure | None] = []

    def add(self, origin: Origin, failure: Failure | None) -> None:
        self._origins.append(origin)
        self._failures.append(failure)

    def sent_to(self, number: int) -> list[Sent]:
        return [(number, WithoutResult(self._origins, self._failures))] if self._origins else []


class Execution:
    """One worker of one node.

    Attributes:
        node: whose worker it is.
    """

    def __init__(
        self, plan: Plan, number: int, sleep: Callable[[float], None], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Makes a worker of a node.

        Args:
            plan: of which the node is.
            number: of the node; it must be one with workers.
            sleep: waits for seconds, between retries.
            is_over: whether nobody waits for results any more, and a call with a timeout may end.

        Raises:
            ValueError: the function cannot be imported.
        """
        self.node = node = plan.nodes[number]
        assert node.has_workers, f"{node.kind} {node.name} has no workers"
        calls: StageCalls | None = None
        if node.options.timeout is not None:
            calls = HandCalls(node, sleep, is_over)
        elif node.kind != "batch":
            calls = StageCalls(node.name, plan.function(number), node.options, sleep)
        self._calls = calls
        self._spreader = Spreader(plan, is_callers=False)
        self._work = _make_work(node, calls)

    def begin(self) -> None:
        """Gets ready for the first chunk, which may take as long as imports do.

        Raises:
            RemoteCallError: no call could work.
        """
        if self._calls is not None:
            self._calls.begin()

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:
        """Takes a chunk that was sent to this node, and returns what comes of it.

        Args:
            now: monotonic seconds.
            chunk: what came.
        """
        return self._spread(self._work.receive(now, chunk))

    def tick(self, now: float) -> list[Sent]:
        """Returns what is due: a batch that has waited long enough."""
        return self._spread(self._work.tick(now))

    def next_at(self) -> float:
        """Returns when `tick` will have something to do; infinity when nothing is planned."""
        return self._work.next_at

    def flush(self) -> list[Sent]:
        """Returns what is held back for want of more: call it when no more can come."""
        return self._spread(self._work.tick(float("inf")))

    def forget(self) -> None:
        """Drops what is held back: call it when the rest of it is lost."""
        self._work.forget()

    def close(self) -> None:
        """Lets go of what the calls need."""
        if self._calls is not None:
            self._calls.close()

    @property
    def is_holding(self) -> bool:
        """Whether it holds something back: an unfinished batch, or parts of an item."""
        return self._work.is_holding

    def _spread(self, sent: list[Sent]) -> list[Sent]:
        return [one for number, chunk in sent for one in self._spreader.spread(number, chunk)]


class _Work:
    """What a kind of node does with chunks."""

    next_at = float("inf")
    is_holding = False

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:
        raise NotImplementedError

    def tick(self, now: float) -> list[Sent]:  # noqa: ARG002 - most kinds do nothing by the clock
        return []

    def forget(self) -> None:
        """Drops what is held back."""


def _make_work(node: Node, calls: StageCalls | None) -> _Work:
    if node.kind == "batch":
        return _BatchWork(node)
    assert calls is not None
    if node.kind == "join":
        return _JoinWork(node, calls)
    return _ForkWork(node, calls) if node.kind == "split" or node.options.flat else _StageWork(node, calls)


class _StageWork(_Work):
    """Calls a function that gives one result."""

    def __init__(self, node: Node, calls: StageCalls) -> None:
        self._node = node
        self._calls = calls

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:  # noqa: ARG002 - of all kinds
        values = chunk[1]
        results: list[Any] = []
        error = self._calls.call_each(values, results)
        if error is not None:  # it belongs to the item after those that worked
            return self._go_on(chunk, results, error)
        if isinstance(chunk, Plain):
            return [(self._node.follower, Plain(chunk.first, results))]
        return [(self._node.follower, Loose(chunk[0], results))]

    def _go_on(self, chunk: ItemChunk, results: list[Any], error: BaseException | None) -> list[Sent]:
        """Finishes a chunk in which a call has failed, item by item."""
        origins, values = list(origins_of(chunk)), chunk[1]
        good = origins[: len(results)]
        failed = _Failures()
        for origin, value in zip(origins[len(results) :], values[len(results) :], strict=True):
            result, failure = self._calls.go_on(value, error)
            error = None
            if failure is None:
                good.append(origin)
                results.append(result)
            else:
                failed.add(origin, failure)
        sent = failed.sent_to(self._node.join)
        if good:
            sent.append((self._node.follower, compact(good, results)))
        return sent


class _ForkWork(_Work):
    """Calls a function that gives many results: a flat stage, or a split."""

    def __init__(self, node: Node, calls: StageCalls) -> None:
        self._node = node
        self._calls = calls
        self._is_split = node.kind == "split"
        function = calls.function
        calls.function = lambda item: list(
            function(item)
        )  # a generator fails inside of the call, and is retried as a whole

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:  # noqa: ARG002 - of all kinds
        node = self._node
        origins: list[Origin] = []
        values: list[Any] = []
        failed, empty = _Failures(), _Failures()
        outcomes, failures = self._call_each(chunk[1])
        for origin, results in zip(origins_of(chunk), outcomes, strict=True):
            if results is None:
                failed.add(origin, failures.popleft())
            elif not results:
                empty.add(push(origin, 0, 1) if self._is_split else origin, None)
            else:
                count = len(results)
                if self._is_split:
                    origins += [push(origin, index, count) for index in range(count)]
                elif count == 1:
                    origins.append(origin)  # what is whole stays whole
                else:
                    origins += extend_all(origin, count)
                values += results
        # An item without parts still has a join, which gets an empty list.
        sent = failed.sent_to(node.join) + empty.sent_to(node.closing if self._is_split else node.join)
        if values:
            sent.append((node.follower, compact(origins, values)))
        return sent

    def _call_each(self, values: list[Any]) -> tuple[list[list[Any] | None], deque[Failure]]:
        """Returns the results of each item, None for those that failed, and how these did, in order."""
        outcomes: list[list[Any] | None] = []
        failures: deque[Failure] = deque()
        error = self._calls.call_each(values, outcomes)
        for value in values[len(outcomes) :]:  # one that has failed, and what came after it
            results, failure = self._calls.go_on(value, error)
            error = None
            outcomes.append(None if failure is not None else results)
            if failure is not None:
                failures.append(failure)
        return outcomes, failures


class _Group(Rest):
    """What has come of the parts of one item."""

    __slots__ = ("failures", "parts")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[Path, Any]] = []
        self.failures: list[tuple[Path, Failure]] = []


class _JoinWork(_Work):
    """Gathers the parts of items, and calls its function for each item whose parts are all in."""

    def __init__(self, node: Node, calls: StageCalls) -> None:
        self._node = node
        self._calls = calls
        self._groups: dict[Origin, _Group] = {}

    @property
    def is_holding(self) -> bool:  # type: ignore[override] # a constant for other kinds
        return bool(self._groups)

    def forget(self) -> None:
        self._groups.clear()

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:  # noqa: ARG002 - of all kinds
        origins: list[Origin] = []
        values: list[Any] = []
        failed = _Failures()
        for origin in self._complete(chunk):
            group = self._groups.pop(origin)
            if group.failures:
                failed.add(origin, min(group.failures, key=lambda one: one[0])[1])
                continue
            group.parts.sort(key=lambda part: part[0])
            result, failure = self._calls.call([value for _, value in group.parts])
            if failure is not None:
                failed.add(origin, failure)
                continue
            origins.append(origin)
            values.append(result)
        sent = failed.sent_to(self._node.join)
        if origins:
            sent.append((self._node.follower, compact(origins, values)))
        return sent

    def _complete(self, chunk: ItemChunk) -> Iterable[Origin]:
        """Books the parts of a chunk, and yields the items that are complete with them."""
        is_ended = isinstance(chunk, WithoutResult)
        for part, value in zip(origins_of(chunk), chunk[1], strict=True):
            origin, path = pop(part)
            group = self._groups.get(origin)
            if group is None:
                group = self._groups[origin] = _Group()
            if not is_ended:
                group.parts.append((path, value))
            elif value is not None:
                group.failures.append((path, value))
            if group.take(path):
                yield origin


class _BatchWork(_Work):
    """Puts items together into lists."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._origins: list[Origin] = []
        self._values: list[Any] = []

    @property
    def is_holding(self) -> bool:  # type: ignore[override] # a constant for other kinds
        return bool(self._values)

    def forget(self) -> None:
        self._origins, self._values = [], []
        self.next_at = float("inf")

    def receive(self, now: float, chunk: ItemChunk) -> list[Sent]:
        if not self._values and self._node.within is not None:
            self.next_at = now + self._node.within
        self._origins += origins_of(chunk)
        self._values += chunk[1]
        size = self._node.size
        if len(self._values) < size:
            return []
        full = len(self._values) // size * size
        sent = self._cut(full)
        self.next_at = float("inf")
        if self._values and self._node.within is not None:
            self.next_at = now + self._node.within  # what is left came just now
        return sent

    def tick(self, now: float) -> list[Sent]:
        if now < self.next_at and now != float("inf"):
            return []
        self.next_at = float("inf")
        return self._cut(len(self._values))

    def _cut(self, end: int) -> list[Sent]:
        """Returns the first `end` items as lists, and keeps the others."""
        if not end:
            return []
        full = lists_of(self._origins[:end], self._values[:end], self._node.size)
        del self._origins[:end], self._values[:end]
        return [(self._node.follower, full)]
