"""What the members of a group carry, so that whoever gets joined results can tell whether they are all there, once
each.

A member knows its *lineage* in its group: for each fork on the way to it, which one it is of how many. The shares of
the results in a joined payload, each the product of 1 / count, have to add up to exactly 1. The results of members are
their lineages.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import prod
from typing import Any

import msgpack

from tests.simulation.ledger import Violation
from zq.wire.batch import pack_payloads, payload_at
from zq.wire.messages import Assignment, Batch, Group, Options

JOINED, COMPLAINTS = "joined", "complaints"
"""Queues of callbacks and of notices."""

Lineage = list[list[int]]


def member_batch(id: str, queue: str, group: str, path: tuple[int, ...], above: Lineage, count: int) -> Batch:
    """Makes a batch of members below a lineage."""
    payloads = [msgpack.packb([*above, [index, count]]) for index in range(count)]
    return Batch(id, queue, Options(group=(group, path)), *pack_payloads(payloads))


def lineage_of(assignment: Assignment, index: int) -> Lineage:
    """Returns the lineage of a member; a callback that is one has it in a header."""
    headers = assignment.options.headers or {}
    if "lineage" in headers:
        found: Lineage = json.loads(headers["lineage"])
        return found
    at = index - assignment.lo
    lineage: Lineage = msgpack.unpackb(payload_at(assignment.ends, assignment.blob, at))
    return lineage


def result_of(assignment: Assignment, index: int) -> tuple[bytes, bytes]:
    """Returns the result of a member that ends, as it travels; nothing for a task that is none."""
    if assignment.options.group is None:
        return b"", b""
    return pack_payloads([msgpack.packb(lineage_of(assignment, index))])


def path_of(assignment: Assignment, index: int) -> tuple[int, ...]:
    assert assignment.options.group is not None
    *front, last = assignment.options.group[1]
    return (*front, last + index)


def fork(assignment: Assignment, index: int, id: str, count: int) -> Batch:
    """Makes what takes the place of a member: `count` others."""
    assert assignment.options.group is not None
    path = (*path_of(assignment, index), 0)
    return member_batch(id, "pizza", assignment.options.group[0], path, lineage_of(assignment, index), count)


def nest(assignment: Assignment, index: int, id: str, count: int) -> tuple[Group, Batch]:
    """Makes a group whose callback takes the place of a member, and its members."""
    assert assignment.options.group is not None
    headers = {"lineage": json.dumps(lineage_of(assignment, index))}
    options = Options(group=(assignment.options.group[0], path_of(assignment, index)), headers=headers)
    group = Group(f"{id}~", count, "all", False, JOINED, options)
    return group, member_batch(id, "pasta", group.id, (0,), [], count)


def check_joined(id: str, blob: bytes, policy: str) -> None:
    """Checks the results of a group: they are as its policy says, once each, in order.

    Raises:
        Violation: they are not.
    """
    entries: list[Any] = msgpack.unpackb(blob)
    failed: list[Any] = []
    if policy == "settled":
        failed = [one for one in entries if one[0] != "done"]
        entries = [result for outcome, result in entries if outcome == "done"]
    total = sum((Fraction(1, prod(count for _, count in lineage)) for lineage in entries), Fraction(0))
    is_whole = total == 1 or policy == "any" or (policy == "settled" and bool(failed or not entries))
    if total > 1 or not is_whole or (policy == "any" and len(entries) != 1) or (failed and total == 1):
        raise Violation(f"group {id} of policy {policy} was joined with {total} of its results: {entries}, {failed}")
    if any(outcome not in ("dead", "cancelled", "expired") or not isinstance(why, str) for outcome, why in failed):
        raise Violation(f"group {id} was joined with ends that are none: {failed}")
    places = [[index for index, _ in lineage] for lineage in entries]
    if places != sorted(places):
        raise Violation(f"group {id} was joined out of order: {places}")
