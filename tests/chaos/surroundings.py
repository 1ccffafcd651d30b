"""Injuries of what stands around: networks, clocks, descriptors, crowds, and tasks that are poison."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import zq
from tests.chaos.injuries import Scene, executed_again
from tests.chaos.line_cuts import Proxy
from tests.chaos.networks import FAR, FAR_HOST, NEAR, NEAR_HOST, PORT, Network, links
from tests.process.kitchen import wait_until
from tests.server import raw

DAY = 86_400

CONNECTIONS = 1000

CROWD = 50
"""Workers in one process of a crowd."""


def cut_lines(scene: Scene) -> None:
    """Everything that a network does to a connection, one after the other."""
    proxy = scene.house.proxy
    assert proxy is not None
    kinds: list[Callable[[Scene, Proxy, float], bool]] = [
        _cut_hard, _cut_softly, _stop_up, _stop_down, _stop_both, _delay, _slow_down, _go_deaf,
    ]  # fmt: skip
    done: Counter[str] = Counter()
    longest = 0.0
    for number in range(scene.count):
        scene.wait_for_receipts(20)
        kind = kinds[number % len(kinds)]
        seconds = scene.rng.uniform(1.0, 10.0) if scene.is_long else scene.rng.uniform(0.2, 0.8)
        with scene.house.one_at_a_time:
            if not kind(scene, proxy, seconds):
                scene.violations.append(f"a fault of the network, {kind.__name__}, has hit nothing")
            proxy.heal()
            longest = max(longest, scene.wait_for_receipt())
        done[kind.__name__.strip("_")] += 1
    scene.figures |= {"kinds": dict(done), "first_receipt_max": round(longest, 3)}


def _cut_hard(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    return proxy.cut_all(hard=True) > 0


def _cut_softly(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    return proxy.cut_all(hard=False) > 0


def _stop_up(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    return _stop(proxy, seconds, "up")


def _stop_down(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    return _stop(proxy, seconds, "down")


def _stop_both(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    return _stop(proxy, seconds, "up", "down")


def _stop(proxy: Proxy, seconds: float, *ways: str) -> bool:
    before = proxy.held_up
    proxy.stopped = frozenset(ways)
    time.sleep(seconds)
    return proxy.held_up > before


def _delay(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    before = proxy.held_up
    proxy.delay = seconds / 4
    time.sleep(seconds)
    return proxy.held_up > before


def _slow_down(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    before = proxy.slowed
    proxy.rate = 5000.0
    time.sleep(seconds)
    return proxy.slowed > before


def _go_deaf(scene: Scene, proxy: Proxy, seconds: float) -> bool:
    before = proxy.refused
    proxy.is_deaf = True
    proxy.cut_all(hard=True)
    wait_until(lambda: proxy.refused > before, "a connection that nobody answers")
    time.sleep(seconds)
    return True


def pull_the_cable(scene: Scene) -> None:
    """The network of the workers: its cable is pulled, or what they send is lost; that of the machine is left alone."""
    assert scene.house.networks is not None
    near, far = scene.house.networks
    longest = 0.0
    for number in range(scene.count):
        scene.wait_for_work()
        seconds = scene.rng.uniform(1.0, 30.0) if scene.is_long else scene.rng.uniform(0.3, 2.0)
        fault, mend = (
            (("link", "set", NEAR, "down"), ("link", "set", NEAR, "up")),
            (("route", "add", "blackhole", FAR_HOST), ("route", "del", "blackhole", FAR_HOST)),
        )[number % 2]
        near.ip(*fault)
        if _gets_through(far):
            scene.violations.append(f"the network goes on though {' '.join(fault)}")
        time.sleep(seconds)
        if ours := {NEAR, FAR} & links():
            scene.violations.append(f"the network of the machine has {sorted(ours)}")
        near.ip(*mend)
        begun = time.monotonic()
        scene.wait_for_work()
        longest = max(longest, time.monotonic() - begun)
    scene.figures["first_start_max"] = round(longest, 3)


def _gets_through(network: Network) -> bool:
    """Whether somebody in the network of the workers reaches the coordinator."""
    program = f"import socket; socket.create_connection({(NEAR_HOST, PORT)}, timeout=0.3)"
    command = [*network.inside, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def set_the_clock(scene: Scene) -> None:
    """The wall clock of the coordinator jumps by days, ahead and back."""
    house, seen = scene.house, set()
    assert house.clock is not None
    with house.client() as client:
        for number in range(scene.count):
            days = (1, 0, -1, 0, 1, -1)[number % 6] if number < scene.count - 1 else 0
            written = house.clock.with_suffix(".new")
            written.write_text(f"{days * DAY:+d}")
            written.rename(house.clock)
            wait_until(lambda: _days_ahead(scene, client) == days, "the clock to be set")  # noqa: B023 - called at once
            seen.add(days)
            scene.wait_for_receipts(30)
    again = executed_again(scene)
    scene.figures |= {"days": sorted(seen), "false_deaths": len(again)}
    scene.violations += [f"{id} was executed again though its worker lived" for id in again[:5]]


def _days_ahead(scene: Scene, client: zq.Client) -> int:
    receipt = scene.note(client.submit("orders", {}))
    time_of_it = client.status(receipt.id).accepted_time
    assert time_of_it is not None
    receipt.result(60.0)
    return round((time_of_it - time.time()) / DAY)


def use_up_descriptors(scene: Scene) -> None:
    """Many more connections than the coordinator has descriptors; those that were there go on."""
    waits = scene.load.ledger.waits
    scene.wait_for_receipts(300)
    before = sorted(waits)
    for _ in range(scene.count):
        at = len(waits)
        opened, refused = _connect_many(scene.house.served)
        scene.wait_for_receipts(100)
        during = sorted(waits[at:])
        for one in opened:
            one.close()
        with zq.Client(scene.house.served, timeout=60.0) as late:
            begun = time.monotonic()
            late.ping()
            scene.figures["back_after"] = round(time.monotonic() - begun, 3)
            cut = late.query("status")["connections"]["cut"]
        if not cut and not refused:
            scene.violations.append(f"{CONNECTIONS} connections, and none was turned away")
        scene.figures |= {"turned_away": cut, "p99_before": _p99(before), "p99_during": _p99(during)}


def _connect_many(address: str) -> tuple[list[socket.socket], int]:
    opened: list[socket.socket] = []
    for _ in range(CONNECTIONS):
        with contextlib.suppress(OSError):
            opened.append(raw.connect(address))
    return opened, CONNECTIONS - len(opened)


def _p99(waits: list[float]) -> float:
    return round(waits[int(len(waits) * 0.99)], 4) if waits else 0.0


def restart_before_a_crowd(scene: Scene) -> None:
    """Very many workers, which all come back after each restart of the coordinator, and none of which gets what another
    one has.
    """
    house = scene.house
    crowd = 1000 if scene.is_long else 200
    for number in range(crowd // CROWD):
        house.hands.append(house.start_module("tests.chaos.crowd", f"crowd-{number}", str(CROWD), address=house.served))
    longest = 0.0
    with zq.Client(house.served, timeout=60.0) as client:
        wait_until(lambda: len(client.workers.list()) >= crowd, "the crowd", 120.0)
        for _ in range(scene.count):
            scene.wait_for_receipts(50)
            with house.one_at_a_time:
                house.open_again()
                begun = time.monotonic()
                wait_until(lambda: len(client.workers.list()) >= crowd, "the crowd to be back", 120.0)
                longest = max(longest, time.monotonic() - begun)
    scene.figures |= {"workers": crowd, "all_back_max": round(longest, 2)}
    twice = _granted_twice(scene)
    scene.figures["granted_twice_in_an_epoch"] = len(twice)
    scene.violations += [f"{id} was granted twice in one epoch" for id in twice[:5]]


EPOCH_BITS = 40
"""Of a token, below its epoch."""


def _granted_twice(scene: Scene) -> list[str]:
    starts: Counter[tuple[str, int]] = Counter()
    fails: Counter[tuple[str, int]] = Counter()
    for note in scene.house.notes():
        if note.event in ("start", "fail"):
            (starts if note.event == "start" else fails)[note.id, note.token >> EPOCH_BITS] += 1
    return [id for (id, epoch), count in starts.items() if count > fails[id, epoch] + 1]


def poison(scene: Scene) -> None:
    """Tasks that end their process, in four ways; each is a dead letter after five starts, and its neighbours are
    charged for nothing.
    """
    kinds = ("exit", "segv", "kill", "endless")
    with scene.house.client() as client:
        receipts = [
            client.submit("poison", {"how": kinds[number % 4]}, id=f"poison-{number}", max_attempts=5, timeout=0.5)
            for number in range(scene.count)
        ]
        wait_until(lambda: all(client.status(one.id).state == "dead" for one in receipts), "the dead letters", 600.0)
        charged = [client.status(one.id).attempts for one in receipts]
    starts = Counter(note.id for note in scene.house.notes() if note.event == "start")
    found = {one.id: (starts[one.id], attempts) for one, attempts in zip(receipts, charged, strict=True)}
    scene.violations += [
        f"{id} was started and charged {count} times" for id, count in found.items() if count != (5, 5)
    ]
    again = executed_again(scene)
    scene.figures |= {"dead_letters_of_five": sum(one == (5, 5) for one in found.values()), "neighbours": len(again)}
    scene.violations += [f"{id} was executed again for its neighbour" for id in again[:5]]
