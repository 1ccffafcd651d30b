"""What handlers of signals call: each interrupts its own thread anywhere, and would wait for ever for a lock that this
holds just then. What is called here takes none, and neither does what that calls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import ROOT, module_name, parsed, sources

CALLED = {
    "examples.paranoid_pirate": {"worker.stop"},
    "patterns.direct.serving": {"self._asked.set"},
    "zq.cli.reloading": {"self._process.poll", "self._process.send_signal"},  # which look at their lock, and pass on
    "zq.cli.serving": {"signal.signal", "server.pulse.stopping", "server.stop"},
    "zq.cli.starting.stopping": {"self._asked.set"},
    "zq.dashboard.serving": set(),
    "zq.processes.birth": set(),
    "zq.worker.run_end": {"self._ask", "self._make_haste", "self.restore"},
}
"""By module, what its handlers call. A flag is a `zq.processes.wake.SignalFlag`, never an event or a condition."""

GIVEN_BACK = {"handler", "before", "signal.SIG_DFL", "signal.SIG_IGN", "signal.default_int_handler"}
"""What is no handler of ours: what was there before, or what Python has."""


def handlers() -> Iterator[tuple[Path, ast.AST]]:
    """Yields the functions that are made handlers of signals, each with its file."""
    for path in [*sources("zq", "patterns"), *(ROOT / "examples").rglob("*.py")]:
        tree = parsed(path)
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "signal.signal":
                given = node.args[1]
                name = ast.unparse(given)
                if name not in GIVEN_BACK:
                    yield path, given if isinstance(given, ast.Lambda) else functions[name.removeprefix("self.")]


def test_handlers_of_signals_call_what_takes_no_lock() -> None:
    called: dict[str, set[str]] = {}
    for path, handler in handlers():
        module = module_name(path)
        calls = {ast.unparse(node.func) for node in ast.walk(handler) if isinstance(node, ast.Call)}
        called[module] = called.get(module, set()) | calls
    assert called == CALLED
