"""The workers that a durable run starts: a process or thread for each worker of each stage; processes that die are
started again under the same name.

The name is what matters: when the new one says hello, the coordinator knows at once that the old one is dead, and gives
its tasks to others. A run that goes on uses the names of the caller before.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass

import zq
from patterns.durable import stage_process
from patterns.durable.stage_worker import make_worker, serving_nodes
from patterns.errors import StartError
from patterns.work.plan import Node, Plan
from zq.processes.children import kill_group, start_program, wait_or_kill
from zq.processes.exits import UNABLE, describe_exit

START_DEATHS_MAX = 3
"""Processes of one worker that may end in a row within START_SECONDS before it is given up."""

START_SECONDS = 5.0

CREW_STOP_PATIENCE = 5.0
"""Seconds that workers have to give back what they have not started."""


@dataclass(slots=True)
class _WorkerProcess:
    """One worker process."""

    node: Node
    name: str
    process: subprocess.Popen[bytes]
    started_at: float
    deaths: int = 0  # in a row, soon after the start
    was_able: bool = False  # whether one of this name has worked for a while

    def words(self) -> str:
        """Returns what a process that has ended said of itself."""
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            return pipe.read().decode(errors="replace")


class DurableCrew:
    """All workers of one run; its methods belong to the caller's thread."""

    def __init__(self, address: str, plan: Plan, run_id: str, key: zq.Key | None = None, *, threads: bool) -> None:
        """Makes a crew; nobody is started yet.

        Args:
            run_id: of the run; the caller has its cursor, so nobody else starts workers of these names.
            key: to show to the coordinator; None for none.
            threads: whether all workers are threads, and not only those of stages that say so.
        """
        self._address = address
        self._plan = plan
        self._run_id = run_id
        self._key = key
        self._threads = threads
        self._children: list[_WorkerProcess] = []
        self._workers: list[zq.Worker] = []

    def start(self) -> None:
        """Starts everybody, without waiting: tasks wait for workers anyway."""
        for node in serving_nodes(self._plan, None):
            name = f"{self._plan.name[:48]}-{self._run_id}-{node.number}"
            if self._threads or node.options.threads:
                concurrency, key = node.options.workers, self._key or ""
                worker = make_worker(self._plan, [node], self._address, name=name, concurrency=concurrency, key=key)
                worker.start()
                self._workers.append(worker)
                continue
            for index in range(node.options.workers):
                own = f"{name}-{index}"
                self._children.append(_WorkerProcess(node, own, self._start(node, own), time.monotonic()))

    def look(self) -> None:
        """Starts processes again that have died.

        Raises:
            StartError: one dies whenever it is started.
        """
        for child in self._children:
            code = child.process.poll()
            if code is None:
                continue
            kill_group(child.process)
            words = child.words()
            if code == UNABLE and not child.was_able:
                raise StartError(f"stage {child.node.name}: a worker cannot work: {words}")
            now = time.monotonic()
            child.deaths = child.deaths + 1 if now - child.started_at < START_SECONDS and code > 0 else 0
            if child.deaths >= START_DEATHS_MAX:
                raise StartError(
                    f"stage {child.node.name}: a worker cannot work: "
                    + (words or f"it {describe_exit(code)} {child.deaths} times; its output says why")
                )
            child.was_able = child.was_able or now - child.started_at >= START_SECONDS
            child.process = self._start(child.node, child.name)
            child.started_at = now

    def close(self) -> None:
        """Ends everybody: what runs is finished if it is quick, what has not started goes back."""
        for child in self._children:
            child.process.terminate()
        for worker in self._workers:
            worker.stop(0.0, drain=False)
        give_up_at = time.monotonic() + CREW_STOP_PATIENCE
        for child in self._children:
            wait_or_kill(child.process, give_up_at - time.monotonic())
            if child.process.stdout is not None:
                child.process.stdout.close()
        self._children.clear()
        self._workers.clear()

    def _start(self, node: Node, name: str) -> subprocess.Popen[bytes]:
        process = start_program(
            *(stage_process.__name__, self._address, name, str(node.number)),
            private=("" if self._key is None else self._key.text(),),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        with process.stdin as pipe:
            try:
                pipe.write(self._plan.to_wire())
            except BrokenPipeError:  # it died at once; `look` sees it
                pass
        return process
