"""Whatever has ended is forgotten, all of it: after twice as much work there is no more than after once, in no table
and in nothing that is kept in memory.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from tests.core.desk import CLIENT, Desk, done, failed
from zq.core.state.leases import assignment_of
from zq.core.tables import TABLES
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Cancel, Follow, Goodbye, Group, Open, Options, Publish, Pull, Schedule, Wait

STAYS = {"meta", "queues", "measures", "operations"}
"""Tables that keep something when all has ended: counters, a row for each queue that was not deleted, a history whose
bound is its own (`zq.core.measures.steps`), and the last operations, of which there is a hundred.
"""

BOUNDED = (
    "measures.", "tallies.queue_names", "tallies.namespaces", "shares.by_name", "shares.names", "counters", "fenced",
    "worker_notes", "_spare_numbers", "pull_ends", "operations", "queues.lanes.heap",
)  # fmt: skip
"""Of what is in memory, what has a bound of its own: the last failures, the ways that tasks took, the last operations,
names of faults and of namespaces; and heaps and lists that are swept when most of them is gone, or looked at again.
"""

PAYLOAD = pack_payloads([encode_payload(0)])

KEPT_SECONDS = 30.0


def live(desk: Desk, life: str) -> None:
    """Has everything happen once, and come to its end; what life it was is in each name."""
    worker, asker = f"w-{life}".encode(), f"c-{life}".encode()
    queues = ("q", "parts", "lines", f"own-{life}")
    desk.hello(worker, f"shop-{life}", credit=50, queues=queues)
    desk.say(asker, Follow(1, None, (), 60.0, 0))
    desk.say(asker, Wait(2, f"plain-{life}", 0, 1))
    desk.say(asker, Pull(3, life, "never", 1, 5.0, 5.0))
    desk.submit(f"plain-{life}", 5, headers={"a": "b"}, ttl=20.0)
    desk.submit(f"own-{life}", 2, queue=f"own-{life}")
    desk.submit(f"unique-{life}", unique=(f"bread-{life}", "ended", "keep"))
    desk.submit(f"expires-{life}", 3, queue="away", ttl=1.0)
    desk.submit(f"later-{life}", 3, delay=1.0)
    desk.submit(f"never-{life}", 3, delay=1000.0)
    desk.submit(f"off-{life}", 3, queue="away")
    desk.submit(f"purged-{life}", 3, queue="away")
    desk.submit(f"dead-{life}", 3, queue="dying", max_attempts=1, on_dead="complaints")
    desk.submit(f"fails-{life}", max_attempts=1, on_dead="complaints")
    for n in range(3):
        desk.submit(f"line-{n}-{life}", queue="lines", key=f"k-{life}", ordered=True)
    for policy in ("all", "any", "settled"):
        desk.say(CLIENT, Open(1, Group(f"{policy}-{life}", 2, policy, False, "joined", Options())))
        desk.submit(f"part-{policy}-{life}", 2, queue="parts", group=(f"{policy}-{life}", (0,)))
    desk.say(CLIENT, Open(1, Group(f"called-off-{life}", 2, "all", False, "joined", Options())))
    desk.command("bind", pattern=f"topic.{life}", queue="news", headers=("a", "b"))
    desk.say(CLIENT, Publish(1, f"news-{life}", f"topic.{life}", Options(headers={"a": "b"}), False, *PAYLOAD))
    desk.say(CLIENT, Schedule(1, Batch(f"tick-{life}", "ticks", Options(), *PAYLOAD), 2.0, None, "UTC", "one"))
    desk.command("set-namespace", name=f"team-{life}", max_tasks=5)
    desk.command("bury", id=f"dead-{life}", reason="burnt")
    desk.say(CLIENT, Cancel(1, f"off-{life}"))
    desk.say(CLIENT, Cancel(1, f"never-{life}"))
    desk.say(CLIENT, Cancel(1, f"called-off-{life}"))
    work_off(desk, worker, f"shop-{life}")
    tidy_up(desk, life)
    desk.say(worker, Goodbye(f"shop-{life}", f"shop-{life}"))
    desk.lose(worker, asker)


def work_off(desk: Desk, peer: bytes, name: str) -> None:
    """Completes all that a worker gets, but for what has to fail."""
    while leases := [one for one in desk.leases if one.holder.name == name]:
        for lease in leases:
            assignment = assignment_of(lease, desk.wall)
            ends = failed if assignment.id.startswith("fails") else done
            desk.settle(peer, ends(assignment), credit=50)
        desk.wait(0.5)


def tidy_up(desk: Desk, life: str) -> None:
    """Takes away what somebody has to take away."""
    desk.wait(3.0)
    desk.command("delete-schedule", name=f"tick-{life}")
    desk.command("unbind", pattern=f"topic.{life}", queue="news", headers=("a", "b"))
    desk.command("set-namespace", name=f"team-{life}", max_tasks=None)
    desk.command("purge-dead", queue="dying")
    desk.command("purge-dead", queue="q")
    for queue in ("away", "joined", "news", "ticks", "complaints"):
        desk.command("purge", id=f"purge-{queue}-{life}", queue=queue)
    desk.command("delete", id=f"delete-{life}", queue=f"own-{life}")
    desk.wait(2.0)


def sizes_of(found: Any, place: str = "", seen: set[int] | None = None) -> Counter[str]:
    """Returns how much is in each container that is reached from an object of the core, by the names on the way."""
    seen = set() if seen is None else seen
    sizes: Counter[str] = Counter()
    if id(found) in seen or isinstance(found, str | bytes | int | float | type):
        return sizes
    seen.add(id(found))
    if isinstance(found, dict | list | set | deque):
        sizes[place] += len(found)
        for one in found.values() if isinstance(found, dict) else found:
            sizes += sizes_of(one, place, seen)
    elif type(found).__module__.startswith("zq.core"):
        names = [
            *getattr(found, "__dict__", ()),
            *(n for one in type(found).__mro__ for n in getattr(one, "__slots__", ())),
        ]
        for name in names:
            if hasattr(found, name):
                sizes += sizes_of(getattr(found, name), f"{place}.{name}".lstrip("."), seen)
    return sizes


def kept(desk: Desk) -> tuple[dict[str, int], Counter[str]]:
    """Returns what is kept in tables, and in memory."""
    rows = {name: len(desk.store.values[name]) for name in TABLES if name not in STAYS}
    memory = sizes_of(desk.machine.books)
    return rows, Counter({place: size for place, size in memory.items() if not place.startswith(BOUNDED)})


def test_whatever_has_ended_is_forgotten_in_tables_and_in_memory() -> None:
    desk = Desk(keep_seconds=KEPT_SECONDS, keep_seconds_min=1.0)
    found = []
    for life in range(3):
        live(desk, f"{life}a")
        if life:
            live(desk, f"{life}b")  # twice as much
        assert sum(kept(desk)[0].values()) > 10  # there is something to forget
        desk.wait(2 * KEPT_SECONDS, every=1.0)
        found.append(kept(desk))

    assert [rows for rows, _ in found] == [dict.fromkeys(found[0][0], 0)] * 3
    assert found[1][1] - found[0][1] == Counter()
    assert found[2][1] - found[1][1] == Counter()
