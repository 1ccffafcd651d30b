"""Where the trials of the matrix take place: a process for each kind, as few as can be, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import zq
from tests.matrix.deeds import Order
from tests.matrix.host import Outcomes, outcome_of
from tests.matrix.table import TAINTS, WORKERS, Expected
from tests.patterns.leftovers import is_alive

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds within which everything happens that should; nothing is slow when all is well."""


LATE = f"failed: {zq.TimedOutError.__name__}"
"""How the outcome of a task begins that has not ended: nobody can say what its worker does, and it is not asked."""


class Trial(NamedTuple):
    """How a trial went.

    Attributes:
        outcomes: of the tasks before, odd, after and later.
        exit: code with which the process of the worker ended; None when it went on.
        copies: processes that a handler made, and that would not end.
    """

    outcomes: Outcomes
    exit: int | None = None
    copies: int = 0


class House:
    """A process in a group of its own, started when it is needed, again when it has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._trials = count()

    def try_out(self, deed: str, expected: Expected) -> Trial:
        """Has an odd task done between two others, and another one afterwards."""
        place = self.folder / f"trial-{next(self._trials)}"
        place.mkdir()
        plan = {"before": None, "odd": deed, "after": None, "later": None}
        orders = [
            {"place": name, "deed": one, "folder": str(place), "once": expected.once} for name, one in plan.items()
        ]
        try:
            self.open()
            trial = self.trial(orders, expected)
            if expected.is_deaf or any(one.startswith(LATE) for one in trial.outcomes.values()):
                self.kill()
            elif deed in TAINTS and expected.exit is None:
                self.close()
            return trial._replace(copies=_copies_left(place))
        except BaseException:
            self.kill()  # the next cell gets a fair chance
            raise

    def trial(self, orders: list[Order], expected: Expected) -> Trial:
        raise NotImplementedError

    def open(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def spawn(self, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
                **more,
            )

    def wait_exit(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Ends it as anybody would; it must be able to."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.wait_exit()
            finally:
                self.kill()

    def leave(self) -> None:
        """Ends it for good."""
        self.close()

    def kill(self) -> None:
        """Ends it and what is left of it."""
        process, self.process = self.process, None
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


class WorkerHouse(House):
    """A worker of a coordinator that all such houses share."""

    def __init__(self, folder: Path, address: str, kind: str) -> None:
        super().__init__(folder)
        self._address = address
        self._name, *self._options = WORKERS[kind]
        self._namespace = kind.replace(" ", "-")
        self._client = zq.Client(address, namespace=self._namespace)

    def start(self) -> subprocess.Popen[bytes]:
        address = ("--address", self._address, "--name", "shop")
        environment = {**os.environ, "ZQ_NAMESPACE": self._namespace}
        return self.spawn(
            "zq.cli", "worker", f"tests.matrix.shop:{self._name}", *self._options, *address, env=environment
        )

    def trial(self, orders: list[Order], expected: Expected) -> Trial:
        *first, later = orders
        if expected.is_apart:
            submits = [
                self._client.submit("orders", one, max_attempts=5 if one["deed"] is None else 1) for one in first
            ]
        else:
            submits = list(self._client.submit_many("orders", first, max_attempts=1, on_lost="cancel"))
        code = None
        if expected.exit is not None:
            code = self.wait_exit()
            self.open()
        ended = {one["place"]: _end_of(receipt) for one, receipt in zip(first, submits, strict=True)}
        last = self._client.submit("orders", later, max_attempts=1, on_lost="cancel")
        return Trial(ended | {"later": _end_of(last)}, code)

    def close(self) -> None:
        super().close()
        assert not self._client.queues.show("orders").leased

    def leave(self) -> None:
        super().leave()
        self._client.close()


def _end_of(receipt: zq.Receipt) -> str:
    return outcome_of(lambda: receipt.result(PATIENCE))


class HostHouse(House):
    """A program that hosts the worker and submits to it."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder)
        self._kind = kind
        self._line: socket.socket | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self._line, theirs = socket.socketpair()
        self._line.settimeout(PATIENCE)
        with theirs:
            descriptor = theirs.fileno()
            command = ("tests.matrix.host", self._kind, str(descriptor), str(self.folder))
            return self.spawn(*command, pass_fds=(descriptor,))

    def trial(self, orders: list[Order], expected: Expected) -> Trial:
        assert self._line is not None
        self._line.sendall(json.dumps(orders).encode() + b"\n")
        if expected.exit is not None:
            return Trial({}, self.wait_exit())
        with self._line.makefile("r") as lines:
            return Trial(json.loads(lines.readline()))

    def kill(self) -> None:
        super().kill()
        if self._line is not None:
            self._line.close()
            self._line = None


def _copies_left(place: Path) -> int:
    """Returns how many copies of a handler's process do not end, and ends them."""
    file = place / "copies"
    if not file.exists():
        return 0
    copy = int(file.read_text())
    give_up_at = time.monotonic() + PATIENCE / 3
    while is_alive(copy):
        if time.monotonic() > give_up_at:
            os.kill(copy, signal.SIGKILL)
            return 1
        time.sleep(0.02)
    return 0
