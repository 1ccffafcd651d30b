"""A coordinator with a dashboard before it, as processes, and what is to be seen there."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import zq
from tests.dashboard.browser.shop import STRANGE
from tests.process.kitchen import Kitchen, kill, wait_until

SHOP = "tests.dashboard.browser.shop:worker"
KEEPER = "tests.dashboard.browser.shop:keeper"

STRANGE_QUEUE = STRANGE.replace(" ", "/")  # names have no spaces


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class House:
    """Everything that it starts it ends."""

    def __init__(self, directory: Path, address: str | None = None) -> None:
        self.kitchen = Kitchen(directory)
        self.kitchen.address = address or self.kitchen.address
        self.root = f"http://127.0.0.1:{free_port()}/"
        self.directory = directory
        self.coordinator = self.kitchen.start_coordinator()
        self.client = self.kitchen.client()
        self.dashboard: subprocess.Popen[bytes] | None = None

    def start_dashboard(self, *options: str) -> None:
        place = self.root.removeprefix("http://").rstrip("/")
        self.dashboard = self.kitchen.start("dashboard", "--bind", place, *options)
        host, _, port = place.partition(":")
        wait_until(lambda: _listens(host, int(port)), "the dashboard")

    def start_dashboard_beside(self, *options: str) -> str:
        """Starts one more dashboard and returns its address."""
        place = f"127.0.0.1:{free_port()}"
        self.kitchen.start("dashboard", "--bind", place, *options)
        wait_until(lambda: _listens("127.0.0.1", int(place.partition(":")[2])), "another dashboard")
        return f"http://{place}/"

    def start_worker(self, name: str, *options: str, module: str = SHOP) -> subprocess.Popen[bytes]:
        return self.kitchen.start("worker", module, "--processes", "0", "--name", name, *options)

    def restart_coordinator(self, between: Any = None) -> None:
        """Kills the coordinator and starts it again over its data; `between` is called while there is none."""
        kill(self.coordinator)
        if between is not None:
            between()
        self.coordinator = self.kitchen.start_coordinator()

    def furnish(self) -> None:
        """Brings in something for every page, and what strangers may write wherever they may."""
        client = self.client
        client.schedules.define("every-minute", "orders", {"seconds": 0.01}, every=60)
        client.schedules.define("hourly", "orders", {"seconds": 0.01}, every=3600)
        client.schedules.pause("hourly")
        client.topics.bind("pizza.*.burned", "complaints")
        client.topics.bind("pizza.#", "archive", headers={"shop": "north"})
        client.publish("pizza.funghi.burned", {"text": STRANGE})
        client.namespaces.set("team-a", max_tasks=1000)
        members = [("deliver", {"seconds": 0.05}), ("deliver", {"seconds": 0.1}), ("nobody", {})]
        client.group(members, callback="join", id="party-7")
        client.submit_many("bake", [{"burns": True}] * 12, max_attempts=1)
        client.submit(
            STRANGE_QUEUE, {"note": STRANGE}, id="strange-1", key="<b>key</b>", headers={"from": "<i>web</i>"}
        )
        client.submit("later", {"pizza": "funghi"}, delay=3600)
        client.submit("nobody", {"customer": "Ada", "pizza": "funghi"}, id="order-77")
        client.submit_many("orders", [{"seconds": 0.002}] * 60)

    def reassign(self, id: str) -> None:
        """Has a task assigned to a worker that is killed with SIGKILL, and then to another one, who has it."""
        gate = self.directory / f"gate-{id}"
        doomed = self.start_worker("doomed", module=KEEPER)
        wait_until(lambda: self._has("doomed"), "the worker doomed")
        self.client.submit("gated", {"gate": str(gate)}, id=id)
        wait_until(lambda: self.client.status(id).worker == "doomed", "the first assignment")
        wait_until(lambda: any(one.event == "started" for one in self.client.trace(id)), "the start")
        kill(doomed)
        self.start_worker("heir", module=KEEPER)
        wait_until(lambda: self.client.status(id).worker == "heir", "the second assignment")

    def open_gate(self, id: str) -> None:
        (self.directory / f"gate-{id}").touch()

    def _has(self, worker: str) -> bool:
        return any(one.name == worker and one.state == "live" for one in self.client.workers.list())

    def close(self) -> None:
        self.client.close()
        self.kitchen.close()


def _listens(host: str, port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex((host, port)) == 0


def keep_busy(client: zq.Client, stop: Any) -> None:
    """Submits orders until it is told to stop."""
    while not stop.is_set():
        client.submit_many("orders", [{"seconds": 0.005}] * 5)
        time.sleep(0.1)
