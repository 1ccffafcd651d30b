"""The processes of a run, over one directory: a coordinator, workers, and whatever injures them. What they leave behind
is looked for when all of them have ended.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import zq
from tests.chaos import notes
from tests.chaos.ledger import Ledger
from tests.chaos.line_cuts import Proxy
from tests.chaos.networks import Network
from tests.chaos.notes import Note
from tests.chaos.shop import QUEUES
from tests.chaos.verdict import Final
from tests.process.kitchen import Kitchen, wait_until
from tests.surroundings.disks import SmallDisk

HOUSE = "ZQ_TEST_HOUSE"
"""Variable of the environment by which all processes of a run are known, also those that lost their parents."""

STATES = ("done", "cancelled", "dead", "expired")


class House(Kitchen):
    """Everything of a run; `close` ends it."""

    def __init__(self, directory: Path, journal: str = "on", plant: str | None = None) -> None:
        super().__init__(directory)
        self.place = directory
        self.journal = journal
        self.plant = plant  # a fault of the coordinator
        self.name = uuid.uuid4().hex
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        (directory / "broken").mkdir()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.coordinator: subprocess.Popen[bytes] | None = None
        self.served = self.address  # where the coordinator listens; `address` is where all others look for it
        self.before: tuple[str, ...] = ()  # what stands in front of the command of the coordinator
        self.before_workers: tuple[str, ...] = ()  # and of a worker's
        self.hands: list[subprocess.Popen[bytes]] = []  # other processes, which SIGTERM ends in peace
        self.proxy: Proxy | None = None
        self.clock: Path | None = None  # file with what is added to the wall clock
        self.disk: SmallDisk | None = None  # under the directory of the coordinator
        self.one_at_a_time = threading.Lock()  # for injuries of which each is looked at while all else is well
        self.networks: tuple[Network, Network] | None = None  # of the coordinator, and of the workers

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, HOUSE: self.name, "TMPDIR": str(self.temporary)}

    def open(self, *options: str) -> subprocess.Popen[bytes]:
        """Starts the coordinator."""
        fixed = ("--data", str(self.data), "--bind", self.served, "--journal", self.journal, "--max-attempts", "1000")
        kept = ("--keep-seconds", "864000", "--keep-seconds-min", "864000")  # what is forgotten cannot be judged
        command = ("coordinator", *fixed, *kept, "--disk-free-mib", "4", *self.options, *options)
        module = ("zq.cli",) if self.plant is None else ("tests.chaos.planted", self.plant)
        self.coordinator = self._start_behind(self.before, *module, *command)
        return self.coordinator

    def _start_behind(self, before: tuple[str, ...], *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", *command], stdout=self.log, stderr=self.log, env=self.environment
        )
        self.processes.append(process)
        return process

    def start_module(self, *command: str, address: str | None = None) -> subprocess.Popen[bytes]:
        """Starts a module of Python, for the coordinator at an address [default: that of all others]."""
        return self._start_behind(("env", f"ZQ_ADDRESS={address}") if address is not None else (), *command)

    def open_again(self, *options: str) -> subprocess.Popen[bytes]:
        """Kills the coordinator, and starts it again."""
        assert self.coordinator is not None
        kill_hard(self.coordinator)
        return self.open(*options)

    def hire(self, name: str, children: int = 0) -> subprocess.Popen[bytes]:
        """Starts a worker, with two threads or so many child processes."""
        how = ("--processes", str(children)) if children else ("--processes", "0", "--concurrency", "2")
        command = ("zq.cli", "worker", "tests.chaos.shop:worker", "--name", name, *how)
        self.workers[name] = self._start_behind(self.before_workers, *command)
        return self.workers[name]

    def notes(self) -> list[Note]:
        """Returns what the handlers have noted."""
        return notes.read(self.ledger)

    def children_of(self, name: str) -> list[int]:
        """Returns the child processes of a worker."""
        return [pid for pid in _pids() if _parent(pid) == self.workers[name].pid]

    def close_down(self) -> list[str]:
        """Ends everything in peace, and returns what is left that should not be."""
        hands = {**self.workers, **{f"hand {number}": hand for number, hand in enumerate(self.hands)}}
        for process in hands.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(60.0) for name, process in hands.items()}
        broken = [f"worker {name} ended with {code}" for name, code in codes.items() if code]
        if self.coordinator is not None:
            self.coordinator.send_signal(signal.SIGTERM)
            if code := self.coordinator.wait(60.0):
                broken.append(f"the coordinator ended with {code}")
        self.close()
        return broken + self._left_behind()

    def _left_behind(self) -> list[str]:
        give_up_at = time.monotonic() + 10.0
        while (orphans := self._orphans()) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        found = [f"process {pid} lives on: {_command(pid)}" for pid in orphans]
        return found + [f"a file was left: {path.name}" for path in self.temporary.rglob("*")]

    def _orphans(self) -> list[int]:
        mark = f"{HOUSE}={self.name}".encode()
        return [pid for pid in _pids() if mark in _read(pid, "environ").split(b"\0") and _state(pid) not in ("Z", "")]


def kill_hard(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that lives: a kill that hit nothing is no kill."""
    assert process.poll() is None, f"it had ended by itself, with {process.returncode}"
    process.kill()
    assert process.wait() == -signal.SIGKILL


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # it has ended since
        return b""


def _state(pid: int) -> str:
    return _read(pid, "stat").rpartition(b") ")[2][:1].decode()


def state_of(process: subprocess.Popen[bytes]) -> str:
    """Returns the letter that Linux has for what a process does: T when it was stopped."""
    return _state(process.pid)


def worked(process: subprocess.Popen[bytes]) -> int:
    """Returns how long a process has worked, in the ticks of Linux."""
    fields = _read(process.pid, "stat").rpartition(b") ")[2].split()
    return int(fields[11]) + int(fields[12])


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b") ")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def settle(house: House, ledger: Ledger, known: frozenset[str] = frozenset()) -> Final:
    """Works off what is left, and returns what the coordinator says then, but of the tasks that are known."""
    with zq.Client(house.address, timeout=120.0) as client:
        client.queues.resume("orders")
        with contextlib.suppress(zq.RemoteProtocolError):  # there is no such queue
            client.queues.move("lobby", "orders")
        for queue in ("late", "bulk"):
            with contextlib.suppress(zq.RemoteProtocolError):
                client.queues.purge(queue)
        for name in ledger.schedules:
            client.schedules.pause(name)
        for id, queue in ledger.tried.items():
            if queue == "slow" and id not in ledger.called_off:
                client.cancel(id)
        wait_until(lambda: _is_worked_off(client, ledger), "everything to be worked off", 120.0)
        return _look(client, ledger, known)


def _is_worked_off(client: zq.Client, ledger: Ledger) -> bool:
    asked_at = time.monotonic()
    for task in client.pull("pulled", max_tasks=1000, wait=0.01, lease=60.0):
        if task.id in ledger.ended and ledger.ended[task.id][1] < asked_at:
            ledger.broken_promises.append(f"{task.id} was done, and was pulled again")
        with contextlib.suppress(zq.StaleLeaseError):
            task.done(task.token)
            ledger.ended[task.id] = (task.token, time.monotonic())
    return not client.dead.replays() and not any(map(_left, _rows(client)))


def _rows(client: zq.Client) -> list[zq.QueueStatus]:
    """Returns the queues that are judged: those of runs of a pipeline go with them."""
    return [row for row in client.queues.list() if row.name in QUEUES | {"pulled", "lobby"}]


def _left(row: zq.QueueStatus) -> int:
    return row.waiting + row.scheduled + row.leased


def _look(client: zq.Client, ledger: Ledger, known: frozenset[str]) -> Final:
    states: dict[str, str] = {}
    listed: dict[str, int] = {}
    results: dict[str, Any] = {}
    for state in STATES:
        for task in client.tasks(state):  # type: ignore[arg-type] # one of them
            if task.id in known or task.queue is None:  # of a queue that was deleted since
                continue
            states[task.id] = state
            if state == "done":
                listed[task.queue] = listed.get(task.queue, 0) + 1
                if task.queue in ("orders", "relay", "lines", "alone", "pulled"):
                    results[task.id] = client.result(task.id, 60.0)
    rows = _rows(client)
    return Final(
        states=states,
        results=results,
        ever_done={row.name: row.done for row in rows},
        listed=listed,
        left={row.name: _left(row) for row in rows},
        groups={id: str(client.query("group", id=id)["state"]) for id in ledger.groups},
        fired={name: client.schedules.show(name).fired for name in ledger.schedules},
    )
