"""The main program of a stage worker that a durable run starts, with the plan on standard input.

Its arguments are ADDRESS NAME NODE KEY, of which the last is empty for none. When its function cannot be imported it
says why on standard output, and ends with the exit code UNABLE.
"""

from __future__ import annotations

import os
import sys

import zq
from patterns.durable.stage_worker import make_worker
from patterns.work.plan import Plan
from zq.processes.birth import become_child, read_nothing
from zq.processes.exits import UNABLE
from zq.processes.logs import configure_log_as_parent
from zq.processes.references import StartedOnImportError


def main() -> None:
    """Works until SIGTERM, or until the caller dies."""
    address, name, number, key = become_child()
    words = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what stages print goes to stderr: stdout belongs to the caller
    wire = sys.stdin.buffer.read()
    read_nothing()
    try:
        plan = Plan.from_wire(wire)
        node = plan.nodes[int(number)]
        plan.function(node.number)  # what cannot be imported shows now, and not with every item
    except (ValueError, StartedOnImportError) as error:
        words.write(str(error))
        words.flush()
        os._exit(UNABLE)  # the module may have left threads
    words.close()
    configure_log_as_parent()
    make_worker(plan, [node], address, name=name, key=zq.Key.parse(key) if key else "").run()
