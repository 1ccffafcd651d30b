"""The processes of a measurement, and what they use: a real `zq coordinator` on an LMDB directory with sync on, and
workers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import zq

START_PATIENCE = 20.0
"""Seconds for a process to start."""

STALL_PATIENCE = 60.0
"""Seconds without progress after which a measurement is given up."""

POLL_INTERVAL = 0.005

SAMPLE_INTERVAL = 0.1
"""Seconds between two looks at the coordinator's memory."""

TASKS_MAX = 100_000_000
"""Of a queue: nothing here measures refusals."""


class Usage(NamedTuple):
    """What a stretch of a measurement took."""

    seconds: float
    client_cpu: float  # seconds, as the other two
    coordinator_cpu: float
    worker_cpu: float
    written_bytes: int  # by the coordinator, to files
    commits: int
    rss_bytes: int  # largest of the coordinator's own memory; pages of the mapped file not counted
    rss_with_file_bytes: int  # with them


class Process(NamedTuple):
    popen: subprocess.Popen[bytes]
    log: Any

    def cpu(self) -> float:
        """Returns the seconds that its threads have used, exactly: the ticks of `stat` count too much for what a timer
        wakes.
        """
        try:
            tasks = list(Path(f"/proc/{self.popen.pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:  # it has ended
            return 0.0

    def check(self) -> None:
        if self.popen.poll() is not None:
            self.log.seek(0)
            said = self.log.read().decode(errors="replace").strip()
            raise RuntimeError(f"process {self.popen.args!r} ended with code {self.popen.returncode}: {said}")

    def end(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(20.0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()


class Rig:
    """A coordinator, its workers and one client; closed with the context."""

    def __init__(self, *options: str) -> None:
        """Starts a coordinator with some options of its command line."""
        self._options = options
        self._directory = tempfile.mkdtemp(prefix="zq-benchmark-")
        self._workers: list[Process] = []
        self._address = ""
        self.client: zq.Client
        self.start_seconds = 0.0
        self._start()

    def _start(self) -> None:
        bind = self._address or "tcp://127.0.0.1:*"
        options = ["--data", f"{self._directory}/data", "--bind", bind, "--queue-tasks-max", str(TASKS_MAX)]
        started = time.perf_counter()
        self._coordinator = spawn([sys.executable, "-m", "zq.cli", "coordinator", *options, *self._options])
        self._address = self._wait_for_address()
        self.client = zq.Client(self._address, timeout=120.0)
        self.client.ping()
        self.start_seconds = time.perf_counter() - started

    @property
    def address(self) -> str:
        return self._address

    @property
    def pid(self) -> int:
        return self._coordinator.popen.pid

    @property
    def disk_bytes(self) -> int:
        """What the store takes of the disk."""
        return sum(file.stat().st_blocks * 512 for file in Path(self._directory, "data").iterdir())

    def restart(self) -> None:
        """Ends the coordinator and starts it again on its directory and address."""
        self.client.close()
        self._coordinator.end()
        self._start()

    def add_worker(self, handler: str, *queues: str) -> None:
        """Starts a worker process, and waits until it has said hello."""
        name = f"kitchen-{len(self._workers)}"
        script = str(Path(__file__).with_name("kitchen.py"))
        process = spawn([sys.executable, script, self.address, handler, name, *queues])
        self._workers.append(process)

        def is_there() -> bool:
            rows = self.client.query("workers")
            return sum(len(row["queues"]) for row in rows if row["name"].startswith(f"{name}-")) == len(queues)

        self.wait_until(is_there)

    def serve(self, spec: str, name: str, *options: str) -> None:
        """Starts `zq worker` with a worker of a module of this directory, and waits until it has said hello."""
        path = str(Path(__file__).with_name(spec))
        command = [sys.executable, "-m", "zq.cli", "worker", path, "--name", name, "-a", self.address, *options]
        self._workers.append(spawn(command))
        self.wait_until(lambda: any(row["name"] == name for row in self.client.query("workers")))

    def end_workers(self) -> None:
        for process in self._workers:
            process.end()
        self._workers = []

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.client.query("status")
        return status

    def wait_done(self, count: int) -> None:
        """Waits until so many tasks have been done since the directory was made."""
        known, give_up_at = -1, 0.0
        while (status := self.status())["done"] < count:
            self.check()
            if status["done"] > known:
                known, give_up_at = status["done"], time.monotonic() + STALL_PATIENCE
            elif time.monotonic() > give_up_at:
                raise RuntimeError(f"no task was done for {STALL_PATIENCE:.0f} s: {known} of {count} are")
            time.sleep(POLL_INTERVAL)
        if status["done"] > count or status["dead"]:
            raise RuntimeError(f"expected {count} tasks done and none dead, got {status}")

    def drain(self) -> None:
        """Waits until nothing waits or runs."""
        while (status := self.status())["waiting"] or status["leased"]:
            self.check()
            time.sleep(POLL_INTERVAL)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + START_PATIENCE
        while not is_so():
            self.check()
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"what was waited for did not come within {START_PATIENCE:.0f} s")
            time.sleep(POLL_INTERVAL)

    def check(self) -> None:
        """Raises, with what it said, when a process has ended."""
        for process in (self._coordinator, *self._workers):
            process.check()

    def measure(self) -> Meter:
        return Meter(self)

    def rss_bytes(self) -> int:
        """Returns the bytes that the coordinator's own memory takes."""
        return int(_fields_of(f"/proc/{self.pid}/status")["RssAnon"][0]) * 1024

    def coordinator_cpu(self) -> float:
        return self._coordinator.cpu()

    def worker_cpu(self) -> float:
        return sum(process.cpu() for process in self._workers)

    def _wait_for_address(self) -> str:
        """Reads the address from what the coordinator says when it is ready."""
        give_up_at = time.monotonic() + START_PATIENCE
        while time.monotonic() < give_up_at:
            self._coordinator.check()
            said = os.pread(self._coordinator.log.fileno(), 4000, 0).decode(errors="replace")
            _, marker, rest = said.partition("ready on ")
            if marker and "," in rest:
                return rest.partition(",")[0]
            time.sleep(0.001)
        raise RuntimeError("the coordinator did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_workers()
        self.client.close()
        self._coordinator.end()
        shutil.rmtree(self._directory)


class Meter:
    """Measures from its making to `stop`; use as a context, then read `usage`."""

    usage: Usage

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._is_over = threading.Event()
        self._largest = (0, 0)
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        self._before = self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        after = self._look()
        self._is_over.set()
        self._sampler.join()
        differences = [late - early for early, late in zip(self._before, after, strict=True)]
        seconds, client, coordinator, worker, written, commits = differences
        self.usage = Usage(seconds, client, coordinator, worker, int(written), int(commits), *self._largest)

    def _look(self) -> tuple[float, ...]:
        rig = self._rig
        written = _fields_of(f"/proc/{rig.pid}/io")["wchar"]  # write_bytes counts whole folios of the page cache
        commits = rig.status()["commits"]
        return (
            time.perf_counter(),
            time.process_time(),
            rig.coordinator_cpu(),
            rig.worker_cpu(),
            int(written[0]),
            commits,
        )

    def _sample(self) -> None:
        while True:
            fields = _fields_of(f"/proc/{self._rig.pid}/status")
            own, file = (int(fields[name][0]) * 1024 for name in ("RssAnon", "RssFile"))
            self._largest = (max(self._largest[0], own), max(self._largest[1], own + file))
            if self._is_over.wait(SAMPLE_INTERVAL):
                return


def _fields_of(path: str) -> dict[str, list[str]]:
    """Reads lines of `name: value unit`."""
    rows = (line.partition(":") for line in Path(path).read_text().splitlines())
    return {name: rest.split() for name, _, rest in rows if rest.split()}


def spawn(command: list[str], **options: Any) -> Process:
    """Starts a process; the options are those of `subprocess.Popen`."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process; a pipe that nobody reads would fill up
    return Process(subprocess.Popen(command, stdout=log, stderr=log, **options), log)
