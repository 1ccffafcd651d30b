"""The main program of a stage worker that a durable run starts, with the plan on standard input.

Its arguments are ADDRESS NAME NODE.
"""

from __future__ import annotations

import os
import sys

from patterns.durable.stage_worker import make_worker
from patterns.work.plan import Plan
from zq.processes.birth import become_child, read_nothing
from zq.processes.logs import configure_log_as_parent


def main() -> None:
    """Works until SIGTERM, or until the caller dies."""
    address, name, number = become_child()
    plan = Plan.from_wire(sys.stdin.buffer.read())
    read_nothing()
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    node = plan.nodes[int(number)]
    plan.function(node.number)  # what cannot be imported shows now, and not with every item
    configure_log_as_parent()
    make_worker(plan, [node], address, name=name).run()
