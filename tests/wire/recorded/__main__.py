"""Records what a client, a worker and a coordinator say to each other in a session in which each kind of message comes.

    python -m tests.wire.recorded TO     with the version on the path whose session is to be kept

The first line of the file says which version it was; each of the others is a frame, in the order in which they came by:
who it was from or for, `up` to the coordinator or `down` from it, and its bytes in hexadecimal. Files of earlier
versions stay when one is added.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

import zq
from tests.process.kitchen import wait_until
from zq.wire.codec import KINDS
from zq.wire.limits import VERSION
from zq.worker import helm

OPTIONS: Final[dict[str, Any]] = {"heartbeat_interval": 0.2, "suspect_after": 5.0, "gone_after": 20.0}
"""Of the coordinator, also when the session is said again."""

TURN_SECONDS = 0.01
"""After which the next frame comes to the coordinator, so that each has a turn of its own, now and later."""

HELLO = 20
"""Kind by which a worker is known."""


class Frame(NamedTuple):
    """A frame that came by."""

    peer: str
    is_up: bool
    data: bytes

    @property
    def kind(self) -> int:
        """The number of its kind."""
        return self.data[2]


class Relay(threading.Thread):
    """Stands between everybody and a coordinator, and keeps what comes by."""

    def __init__(self, upstream: str, address: str) -> None:
        super().__init__(daemon=True)
        self._upstream = upstream
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._front.bind(address)
        self._behind: dict[bytes, zmq.Socket[bytes]] = {}
        self._names: dict[bytes, str] = {}
        self._is_over = threading.Event()
        self.frames: list[Frame] = []

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._front, zmq.POLLIN)
        while not self._is_over.is_set():
            ready = dict(poller.poll(20))
            if self._front in ready:
                peer, data = self._front.recv_multipart()
                if peer not in self._behind:
                    self._behind[peer] = self._context.socket(zmq.DEALER)
                    self._behind[peer].connect(self._upstream)
                    poller.register(self._behind[peer], zmq.POLLIN)
                    who = "worker" if data[2] == HELLO else "client"
                    self._names[peer] = f"{who}-{len(self._names) + 1}"
                self.frames.append(Frame(self._names[peer], True, data))
                self._behind[peer].send(data)
                time.sleep(TURN_SECONDS)
            for peer, socket in self._behind.items():
                if socket in ready:
                    data = socket.recv()
                    self.frames.append(Frame(self._names[peer], False, data))
                    self._front.send_multipart([peer, data])
        self._context.destroy(linger=0)

    def close(self) -> None:
        """Ends it."""
        self._is_over.set()
        self.join()


def say_everything(address: str) -> None:
    """Has a client and a worker say whatever they can."""
    with zq.Client(address, timeout=20.0) as client:
        client.ping()
        _ask_and_manage(client)
        _pull(client)
        _join_and_publish(client)
        _follow(client)
        _work(client, address)


def _ask_and_manage(client: zq.Client) -> None:
    client.submit("orders", {"pizza": "funghi"}, id="single", priority=7, key="ann", headers={"from": "ann"}, ttl=900.0)
    client.submit("orders", {"pizza": "funghi"}, id="single")  # the same again
    client.submit_many("batch", ["a", "b", b"\0c", None, 1.5], retry="constant:0.01", max_attempts=3, timeout=60.0)
    client.submit("later", "x", id="later", delay=600.0, on_lost="cancel")
    client.submit("lines", 1, id="line-1", key="k", ordered=True, on_dead="complaints")
    client.submit("alone", 1, id="alone-1", unique="bread")
    client.submit("alone", 2, id="alone-2", unique="bread")
    client.queues.set("small", max_tasks=1)
    client.submit("small", 1, id="small-1")
    try:
        client.submit("small", 2, id="small-2", timeout=0.3)
    except zq.BusyError:
        pass
    client.schedules.define("nightly", "reports", {"of": "day"}, every=86400.0, catch_up="all")
    client.cancel("later")
    for what in ("status", "queues", "workers", "schedules", "namespaces", "failures"):
        client.query(what)
    client.status("single")
    try:
        client.query("nothing-like-it")
    except zq.RemoteProtocolError:
        pass


def _pull(client: zq.Client) -> None:
    client.submit_many("pulled", list(range(6)))
    tasks = client.pull("pulled", max_tasks=6, wait=5.0, lease=60.0)
    tasks[0].done({"made": 0})
    tasks[1].fail("burnt", retry_in=500.0)
    tasks[2].fail("burnt", is_final=True)
    tasks[3].extend(90.0)
    tasks[4].release()
    tasks[5].forward("next", "on its way")
    tasks[5].done(None)
    tasks[3].done(None)
    assert not client.pull("nothing", wait=0.1)
    receipt = client.submit("waits", 1, id="waits-1")
    try:
        receipt.result(0.1)  # and it is not waited for any more
    except zq.TimedOutError:
        pass
    client.cancel("waits-1")


def _join_and_publish(client: zq.Client) -> None:
    client.topics.bind("news.#", "audit", headers={"size": "large"})
    client.publish("news.eu", "pizza", headers={"size": "large"}, id="news-1")
    try:
        client.publish("nobody.reads", "pizza", id="news-2")
    except zq.UnroutableError:
        pass


def _follow(client: zq.Client) -> None:
    events = client.events()
    client.submit("batch", "seen", id="seen")
    assert next(iter(events)).kind
    events.close()


def _work(client: zq.Client, address: str) -> None:
    worker, may_end = zq.Worker(address, name="shop-1", concurrency=1), threading.Event()

    @worker.task("orders")
    def bake(task: zq.Task) -> Any:
        task.forward("delivery", {"box": task.payload})
        return task.payload

    @worker.task("parts")
    def make(task: zq.Task) -> int:
        return int(task.payload) + 1

    @worker.task("sum")
    def add(task: zq.Task) -> Any:
        return len(task.payload)

    @worker.task("brittle")
    def break_once(task: zq.Task) -> int:
        if task.attempt == 1:
            raise zq.Retry(0.01, "the oven is cold")
        return task.attempt

    @worker.task("slow")
    def bake_slowly(task: zq.Task) -> None:
        while not task.cancelled and not may_end.wait(0.1):
            task.progress(0.5)  # again and again: who looks late hears the next one

    with worker:
        client.result("single", timeout=20.0)
        client.group([1], queue="parts", callback="sum", id="group-1", policy="settled")
        client.result("group-1", timeout=20.0)
        client.submit("brittle", 1, id="brittle-1").result(20.0)
        receipt = client.submit("slow", 1, id="slow-1")
        assert next(iter(receipt.progress()), None) is not None
        client.cancel("slow-1")
        client.workers.drain("shop-1")
        wait_until(lambda: client.workers.list()[0].is_draining, "the worker to drain")
        client.workers.resume("shop-1")
        client.submit("slow", 2, id="slow-2")
        wait_until(lambda: client.queues.show("slow").leased > 0, "a task in the worker's hands")
        threading.Timer(0.5, may_end.set).start()


def record() -> list[Frame]:
    """Returns all frames of a session."""
    helm.HOST = "kitchen"  # type: ignore[misc] # of this process; the machine that records is nobody's business
    with tempfile.TemporaryDirectory() as place:
        address = f"ipc://{place}/relay"
        options = zq.CoordinatorOptions(**OPTIONS)
        with zq.Coordinator(Path(place) / "s.zq", options=options) as coordinator:
            relay = Relay(coordinator.address, address)
            relay.start()
            try:
                say_everything(address)
            finally:
                relay.close()
    return relay.frames


def main() -> None:
    """Records, and refuses a session in which a kind did not come."""
    frames = record()
    missing = [kind.message.__name__ for kind in KINDS if kind.number not in {frame.kind for frame in frames}]
    if missing:
        sys.exit(f"these were not said: {', '.join(missing)}")
    kinds = {str(kind.number): kind.message.__name__ for kind in KINDS}
    note = {"zq": zq.__version__, "protocol": VERSION, "options": OPTIONS, "kinds": kinds}
    lines = [f"{frame.peer} {'up' if frame.is_up else 'down'} {frame.data.hex()}" for frame in frames]
    Path(sys.argv[1]).write_text("\n".join([json.dumps(note), *lines, ""]), encoding="ascii")


def read(path: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Returns the note and the frames of a recording."""
    note, *lines = path.read_text(encoding="ascii").splitlines()
    parts = [line.split() for line in lines]
    return json.loads(note), [Frame(peer, way == "up", bytes.fromhex(data)) for peer, way, data in parts]


if __name__ == "__main__":
    main()
