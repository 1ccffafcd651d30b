"""Workers of durable pipelines: zq workers whose handlers are stages."""

from __future__ import annotations

from collections.abc import Iterable

import zq
from patterns.durable.parcels import stage_queue
from patterns.durable.stage_work import StageWork
from patterns.work.plan import Node, Plan


def serving_nodes(plan: Plan, stages: Iterable[str] | None) -> list[Node]:
    """Returns the nodes that workers serve: those of some stages, or all; batches are made by callers.

    Raises:
        ValueError: there is no such stage, or it is a batch.
    """
    if stages is None:
        return [node for node in plan.working if node.kind != "batch"]
    nodes = [plan.node_named(stage) for stage in dict.fromkeys(stages)]
    for node in nodes:
        if node.kind == "batch":
            raise ValueError(f"{node.name} of {plan.name} needs no workers: batches are made by the caller of a run")
    return nodes


def make_worker(
    plan: Plan,
    nodes: Iterable[Node],
    address: str | None,
    *,
    name: str | None = None,
    concurrency: int = 1,
    key: zq.Key | str | None = None,
) -> zq.Worker:
    """Returns a worker of some nodes, not started yet.

    Args:
        nodes: that it serves.
        address: of the coordinator; None as for `zq.Worker`.
        name: of the worker; None makes one.
        concurrency: items at once, in threads.
        key: as for `zq.Worker`.
    """
    worker = zq.Worker(address, name=name, concurrency=concurrency, key=key)
    for node in nodes:
        worker.task(stage_queue(plan, node))(StageWork(plan, node))
    return worker
