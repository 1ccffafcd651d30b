"""Real processes for the process tests: a coordinator, workers, and the ledger that the handlers keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zq

PATIENCE = 60.0
"""Seconds that a test waits for a condition before it fails; nothing is slow when all is well."""

QUICK = ("--heartbeat-interval", "0.2", "--suspect-after", "0.6", "--gone-after", "1.5", "--retry", "exponential:0.05")


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Waits for a condition and returns its value; fails the test when it does not come."""
    give_up_at = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < give_up_at, f"waited {patience:.0f} s for {what}"
        time.sleep(0.01)


class Kitchen:
    """Processes over one directory; everything that it starts it ends."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "orders.zq"
        self.ledger = directory / "ledger"
        self.ledger.mkdir()
        self.log = (directory / "log").open("ab")
        self.address = f"ipc://{directory}/socket"
        self.options: tuple[str, ...] = QUICK
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        """That of the processes; whoever is aborted says where its threads are."""
        own = {"ZQ_ADDRESS": self.address, "ZQ_TEST_LEDGER": str(self.ledger), "PYTHONFAULTHANDLER": "1"}
        return {**os.environ, **own}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a command of zq."""
        return self.start_in(None, *arguments)

    def start_in(
        self, place: Path | None, *arguments: str, flags: tuple[str, ...] = (), own_session: bool = False
    ) -> subprocess.Popen[bytes]:
        """Starts a command of zq in another folder, with flags of the interpreter, or in a session of its own."""
        process = subprocess.Popen(
            [sys.executable, *flags, "-m", "zq.cli", *arguments],
            cwd=place,
            start_new_session=own_session,
            stdout=self.log,
            stderr=self.log,
            env=self.environment,
        )
        self.processes.append(process)
        return process

    def start_coordinator(self, *options: str) -> subprocess.Popen[bytes]:
        return self.start("coordinator", "--data", str(self.data), "--bind", self.address, *self.options, *options)

    def start_worker(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        return self.start("worker", "tests.process.shop:worker", "--processes", "0", "--name", name, *options)

    def wait_end(self, process: subprocess.Popen[bytes], patience: float = PATIENCE) -> int:
        """Returns the exit code of a process that was told to end; one that does not fails the test with its stacks."""
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait(PATIENCE)
            stacks = Path(self.log.name).read_text(errors="replace")[-20_000:]
            raise AssertionError(f"a process has not ended in {patience:g} s; the end of the log:\n{stacks}") from None

    def client(self, timeout: float = PATIENCE) -> zq.Client:
        return zq.Client(self.address, timeout=timeout)

    def events(self) -> list[tuple[str, str, int]]:
        """Returns what the handlers noted: event, task id, token."""
        found = []
        for file in sorted(self.ledger.iterdir()):
            for line in file.read_text().splitlines():
                parts = line.split()
                if len(parts) == 3:  # the last line of a killed process may be cut
                    found.append((parts[0], parts[1], int(parts[2])))
        return found

    def close(self) -> None:
        """Ends what was started."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.log.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9."""
    process.kill()
    process.wait()


def check_ledger(kitchen: Kitchen, accepted: dict[str, Any], status: dict[str, Any]) -> dict[str, int]:
    """Checks what clients and handlers recorded against each other and against the coordinator's count.

    Args:
        kitchen: whose handlers' ledger is read.
        accepted: for each task id with a receipt, the result that the client got: the token of its completion.
        status: the coordinator's, after everything has ended.
    """
    ended: dict[str, set[int]] = {}
    started = Counter()  # type: Counter[str]
    for event, id, token in kitchen.events():
        if event == "end":
            ended.setdefault(id, set()).add(token)
        else:
            started[id] += 1
    lost = [id for id, token in accepted.items() if token not in ended.get(id, ())]
    unexpected = [id for id in started if id not in accepted]
    verdict = {
        "accepted": len(accepted),
        "lost": len(lost),
        "unexpected": len(unexpected),
        "completed twice": status["done"] - len(accepted),
        "executed again": sum(count - 1 for count in started.values()),
        "stale refused": status["counters"].get("stale", 0),
    }
    assert not lost, f"accepted and never finished under the token of their result: {lost[:5]} ({verdict})"
    assert not unexpected, f"executed and never accepted: {unexpected[:5]} ({verdict})"
    assert status["done"] == len(accepted), f"completions and tasks do not match: {verdict}"
    return verdict
