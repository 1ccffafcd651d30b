"""Green threads: zq says at once that it does not work where they are in the place of threads, and works where not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zq
from patterns import stage
from patterns.guide import LazyPirateClient, LoadBalancer, Sink
from zq.processes.green import GreenThreadsError, refuse_green_threads


def pretend(monkeypatch: pytest.MonkeyPatch, library: str, patched: set[str]) -> None:
    """Has a library look as if it had patched some modules."""
    module: Any = ModuleType(library)
    module.is_module_patched = module.is_monkey_patched = patched.__contains__
    monkeypatch.setitem(sys.modules, {"gevent": "gevent.monkey", "eventlet": "eventlet.patcher"}[library], module)


@stage(threads=True)
def same(item: int) -> int:
    return item


FACES: dict[str, Callable[[Path], object]] = {
    "client": lambda path: zq.Client("tcp://127.0.0.1:9"),
    "async client": lambda path: zq.AsyncClient("tcp://127.0.0.1:9"),
    "worker": lambda path: registered().start(),
    "coordinator": lambda path: zq.Coordinator(path / "s.zq"),
    "executor": lambda path: zq.Executor(),
    "executor as a client": lambda path: zq.Executor("tcp://127.0.0.1:9"),
    "direct pipeline": lambda path: list(same.run([1], threads=True)),
    "durable pipeline": lambda path: list(same.run([1], data=path / "p.zq")),
    "sink": lambda path: Sink(),
    "device": lambda path: LoadBalancer(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*").run(),
    "lazy pirate": lambda path: ask_lazily(),
}


def ask_lazily() -> None:
    with LazyPirateClient("tcp://127.0.0.1:9") as client:
        client.request(b"x")


def registered() -> zq.Worker:
    worker = zq.Worker("tcp://127.0.0.1:9")
    worker.task("q")(lambda task: None)
    return worker


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("face", FACES)
def test_every_face_says_at_once_that_it_does_not_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, face: str
) -> None:
    pretend(monkeypatch, library, {"threading", "thread", "_thread"})

    with pytest.raises(GreenThreadsError, match=f"zq does not work where {library} has put green threads"):
        FACES[face](tmp_path)


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_what_else_is_patched_does_no_harm(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    pretend(monkeypatch, library, {"socket", "select", "time", "os"})

    refuse_green_threads()


PROGRAM = """
import sys, tempfile, warnings
warnings.simplefilter("ignore")
library, is_threaded = sys.argv[1], sys.argv[2] == "threads"
if library == "gevent":
    from gevent import monkey
    monkey.patch_all(thread=is_threaded)
else:
    import eventlet
    eventlet.monkey_patch(thread=is_threaded)
import zq
try:
    with zq.Coordinator(tempfile.mkdtemp() + "/s.zq") as coordinator, zq.Client(coordinator.address) as client:
        client.submit("q", 1)
        print(client.pull("q", wait=10)[0].payload)
except RuntimeError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(("threads", "printed"), [("threads", "GreenThreadsError"), ("", "1")])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_the_libraries_themselves_are_seen(library: str, threads: str, printed: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: only what looks like it was tried")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, library, threads],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{Path(zq.__file__).parent.parent}:{os.environ.get('PYTHONPATH', '')}"},
    )

    assert result.stdout.split() == [printed]
