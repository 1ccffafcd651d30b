"""Injuries for a long life: each is done once, looks whether it bit, and leaves the house as it was."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable

import zq
from tests.chaos.house import kill_hard, state_of, worked
from tests.chaos.injuries import Scene, stand_still
from tests.chaos.line_cuts import Proxy
from tests.chaos.shop import QUEUES
from tests.fuzz.peers import abuse
from tests.process.kitchen import wait_until

INJURED = ("shop-1", "shop-2")


def kill_coordinator(scene: Scene) -> None:
    """kill -9 of the coordinator."""
    scene.house.open_again()
    scene.wait_for_receipt()


def kill_worker(scene: Scene) -> None:
    """kill -9 of a worker; its children go with it."""
    name = scene.rng.choice(INJURED)
    kill_hard(scene.house.workers[name])
    scene.house.hire(name, 2)


def kill_child(scene: Scene) -> None:
    """kill -9 of a child process in which a handler runs."""
    name = scene.rng.choice(INJURED)
    children = wait_until(lambda: scene.house.children_of(name), "children")
    victim = scene.rng.choice(children)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in scene.house.children_of(name), "the child to be gone")


def stop_worker(scene: Scene) -> None:
    """SIGSTOP of a worker until it counts as gone, and SIGCONT."""
    name = scene.rng.choice(INJURED)
    process = scene.house.workers[name]
    with scene.house.client() as client:
        wait_until(lambda: name in {row.name for row in client.workers.list()}, "the worker to be known")
        stand_still(process)
        wait_until(lambda: name not in {row.name for row in client.workers.list()}, "the worker to count as gone")
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: name in {row.name for row in client.workers.list()}, "the worker to be back")


def stop_coordinator(scene: Scene) -> None:
    """SIGSTOP of the coordinator for longer than a worker may be silent."""
    coordinator = scene.house.coordinator
    assert coordinator is not None
    stand_still(coordinator)
    before = worked(coordinator)
    time.sleep(2.0)
    assert worked(coordinator) == before, "it went on"
    assert state_of(coordinator) == "T", "it went on"
    coordinator.send_signal(signal.SIGCONT)


def hurt_lines(scene: Scene) -> None:
    """A fault of the network, for a moment."""
    proxy = scene.house.proxy
    assert proxy is not None
    fault = scene.rng.choice((_cut, _stop, _delay, _slow_down))
    try:
        assert fault(scene, proxy), f"a fault of the network, {fault.__name__}, has hit nothing"
    finally:
        proxy.heal()


def _cut(scene: Scene, proxy: Proxy) -> bool:
    return proxy.cut_all(hard=scene.rng.random() < 0.5) > 0


def _stop(scene: Scene, proxy: Proxy) -> bool:
    before = proxy.held_up
    proxy.stopped = frozenset(scene.rng.choice((("up",), ("down",), ("up", "down"))))
    time.sleep(scene.rng.uniform(0.5, 3.0))
    return proxy.held_up > before


def _delay(scene: Scene, proxy: Proxy) -> bool:
    before = proxy.held_up
    proxy.delay = scene.rng.uniform(0.1, 0.5)
    time.sleep(2.0)
    return proxy.held_up > before


def _slow_down(scene: Scene, proxy: Proxy) -> bool:
    before = proxy.slowed
    proxy.rate = 5000.0
    time.sleep(2.0)
    return proxy.slowed > before


def back_up(scene: Scene) -> None:
    """A backup of what is in use, which is whole."""
    target = scene.house.place / "backup"
    for command in (("backup", str(scene.house.data), "--to", str(target)), ("doctor", str(target))):
        assert scene.house.start(*command).wait(60.0) == 0, f"zq {command[0]} found something"
    shutil.rmtree(target)


def fill_the_disk(scene: Scene) -> None:
    """Another program takes the whole disk, and gives it back; meanwhile what runs ends, and the rest is refused."""
    disk = scene.house.disk
    assert disk is not None
    with scene.house.client() as client:
        disk.fill()
        try:
            wait_until(lambda: _is_refused(client), "a refusal")
            assert client.query("status")["store"]["full_by"] == "disk", "the true reason is not said"
            runs = {task.id for task in client.tasks("leased") if task.queue in QUEUES}
            wait_until(lambda: not runs & {task.id for task in client.tasks("leased")}, "what runs to be done")
        finally:
            disk.empty()
        wait_until(lambda: not _is_refused(client), "room again")


def _is_refused(client: zq.Client) -> bool:
    try:
        client.submit("late", bytes(200_000))
    except zq.BusyError:
        return True
    return False


def poison(scene: Scene) -> None:
    """A task that takes its process with it, twice."""
    with scene.house.client() as client:
        how = scene.rng.choice(("exit", "segv", "kill", "endless"))
        receipt = client.submit("poison", {"how": how}, max_attempts=2, timeout=0.5)
        wait_until(lambda: client.status(receipt.id).state == "dead", "the dead letter")


def send_nonsense(scene: Scene) -> None:
    """Two hundred peers that speak badly."""
    assert abuse(scene.house.served, scene.rng.randrange(1 << 20), 400, threads=4) > 200


LASTING: dict[str, Callable[[Scene], None]] = {
    "worker killed": kill_worker,
    "child killed": kill_child,
    "worker stopped": stop_worker,
    "coordinator stopped": stop_coordinator,
    "network hurt": hurt_lines,
    "backed up": back_up,
    "disk filled": fill_the_disk,
    "poison": poison,
    "nonsense": send_nonsense,
}
