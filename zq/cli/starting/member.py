"""A process of a household that runs a command of zq, and ends with the process that started it."""

from __future__ import annotations

import sys

from zq.processes.birth import become_child
from zq.processes.children import interpreter_flags


def main() -> None:
    """Runs the command that is in the arguments of this process."""
    arguments = become_child()
    sys.argv[:] = ["zq", *arguments]
    # What `zq worker --reload` starts again: the command, not this way of starting it.
    sys.orig_argv[:] = [sys.executable, *interpreter_flags(), "-m", "zq.cli", *arguments]
    from zq.cli import main as run

    run()
