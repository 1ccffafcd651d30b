"""A program that asks its own workers: `python -m tests.surroundings.program KIND '["probe", argument, ...]'` prints
what comes as JSON. What is behind that in its arguments is only there to be seen.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import zq
from tests.surroundings import probes
from tests.surroundings.shop import staged, timed, worker


def main() -> None:
    kind, asked = sys.argv[1], json.loads(sys.argv[2])
    sys.stdout.write(json.dumps(ask(kind, asked)))


def probe(asked: list[Any]) -> Any:
    return probes.run(asked)


async def awaited_probe(asked: list[Any]) -> Any:
    return probes.run(asked)


def ask(kind: str, asked: list[Any]) -> Any:
    if kind == "executor":
        with zq.Executor(max_workers=1) as executor:
            return executor.submit(probes.run, asked).result()
    if kind.startswith("memory"):
        app = zq.App.memory()
        run = app.task(probe) if kind == "memory" else app.task(awaited_probe)
        return run.options(max_attempts=1).submit(asked).result()
    with tempfile.TemporaryDirectory() as place:
        if kind in ("child", "coroutine child"):
            with zq.Coordinator(f"{place}/data") as coordinator, zq.Client(coordinator.address) as client:
                worker.address = coordinator.address
                with worker:
                    queue = "plain" if kind == "child" else "coroutine"
                    return client.submit(queue, asked, max_attempts=1).result()
        stage = timed if kind.endswith("timed") else staged
        if kind.startswith("direct"):
            return next(stage.run([asked], quiet=True))
        return next(stage.run([asked], quiet=True, data=f"{place}/data"))


if __name__ == "__main__":
    main()
