"""The processes of the evening: a coordinator and the shops, each on its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zq

NAMES = ("Napoli", "Roma", "Milano", "Torino", "Palermo", "Genova", "Bari", "Verona", "Trieste", "Lecce")

QUICK = ("--heartbeat-interval", "0.2", "--suspect-after", "0.6", "--gone-after", "2", "--assign", "hash")
"""An evening of half a minute; the defaults are for longer ones."""

SEATS = 40
"""Orders that the shops take on together; who comes when they are taken is told to come back later."""

START_PATIENCE = 20.0


class Town:
    """Starts processes, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self._log = (directory / "log.txt").open("ab")
        self.directory = directory
        self.address = f"ipc://{directory}/socket"
        self.shops: dict[str, subprocess.Popen[bytes]] = {}
        self._coordinator = self._start(
            "coordinator", "--data", str(directory / "orders.zq"), "--bind", self.address, *QUICK,
            "--queue-tasks-max", str(SEATS),
        )  # fmt: skip

    def open_shops(self, count: int) -> None:
        shop = Path(__file__).with_name("shop.py")
        for i in range(count):
            name = NAMES[i] if i < len(NAMES) else f"Shop-{i + 1}"
            self.shops[name] = self._start("worker", f"{shop}:worker", "--name", name, "--processes", "0")

    def wait_until_open(self, client: zq.Client) -> None:
        """Waits for the coordinator and all shops."""
        give_up_at = time.monotonic() + START_PATIENCE
        while len(client.workers.list()) < len(self.shops):
            if time.monotonic() > give_up_at or self._coordinator.poll() is not None:
                raise RuntimeError(f"the shops did not open; see {self.directory / 'log.txt'}")
            time.sleep(0.02)

    def kill_a_busy_shop(self, client: zq.Client) -> str | None:
        """Kills, with SIGKILL, a shop that is baking both a delivery and a takeaway; returns its name, None when there
        is none now.
        """
        baking: dict[str, set[str]] = {}
        for task in client.query("tasks", queue="orders", state="leased", limit=1000)["rows"]:
            if task["started"] and (task["progress"] or 0.0) < 0.8:
                baking.setdefault(task["worker"], set()).add(task["on_lost"])
        for name, kinds in baking.items():
            if len(kinds) == 2 and name in self.shops:
                self.shops[name].kill()
                self.shops[name].wait()
                return name
        return None

    def close(self) -> None:
        """Closes shops and coordinator."""
        for process in (*self.shops.values(), self._coordinator):
            process.terminate()
        for process in (*self.shops.values(), self._coordinator):
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment: dict[str, Any] = {**os.environ, "ZQ_ADDRESS": self.address}
        return subprocess.Popen(
            [sys.executable, "-m", "zq.cli", *arguments], stdout=self._log, stderr=self._log, env=environment
        )
