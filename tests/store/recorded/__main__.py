"""Records a directory with tasks in every state, as the coordinator that runs it leaves it when it is killed.

    python -m tests.store.recorded TO     with the version on the path whose directory is to be kept

Records are kept from the last version of each schema that is still carried over: `schema-12.tar.xz` is the data file,
later ones have the journal, too, with what was answered since the last checkpoint.
"""

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import lmdb

import zq

OPTIONS = zq.CoordinatorOptions(keep_seconds=1e9, keep_seconds_min=1e8)
FAR = 4_000_000_000.0
"""Seconds since 1970 that do not come while anybody runs tests."""


def fill(client: zq.Client) -> None:
    """Brings tasks into every state there is, and beside them whatever else is kept."""
    client.submit("done", "bread", id="done-1", priority=7, headers={"from": "ann"})
    [task] = client.pull("done", wait=5)
    task.done({"baked": "bread"})
    client.submit_many("batch", list(range(10)))
    for task in client.pull("batch", max_tasks=4, wait=5):
        task.done(task.payload * 2)
    client.submit("dead", "burnt", id="dead-1", max_attempts=1)
    [task] = client.pull("dead", wait=5)
    task.fail("too hot", is_final=True)
    client.submit("cancelled", "x", id="cancelled-1")
    client.cancel("cancelled-1")
    client.submit("waiting", "waits", id="waiting-1", unique="the only one")
    client.submit("failed", "again", id="failed-1")
    [task] = client.pull("failed", wait=5)
    task.fail("not yet", retry_in=30.0)
    client.submit("later", "due by then", id="due-1", delay=30.0)
    client.submit("later", "far", id="far-1", at=FAR)
    for n in (1, 2, 3):
        client.submit("ordered", n, id=f"ordered-{n}", key="customer", ordered=True)
    client.group([1, 2, 3], queue="square", id="squares", callback="sum")
    client.schedules.define("nightly", "reports", {"of": "orders"}, cron="30 2 29 2 *")
    client.topics.bind("orders.#", "audit", headers={"size": "large"})
    client.publish("orders.eu.created", "pizza", headers={"size": "large"})
    client.namespaces.set("team-a", max_tasks=1000)
    client.submit("team-a/orders", "theirs", id="team-a/theirs-1")
    client.submit("leased", "held", id="leased-1")
    client.pull("leased", wait=5, lease=2.0)
    client.pull("square", wait=5, lease=2.0)
    client.pull("ordered", wait=5, lease=2.0)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        coordinator = zq.Coordinator(Path(place) / "s.zq", options=OPTIONS).open()
        with zq.Client(coordinator.address) as client:
            fill(client)
            while client.query("status")["journal"]["bytes"]:
                pass  # the next checkpoint has it
            client.submit("waiting", "in the journal", id="journal-1")
            print({name: client.query("status")[name] for name in ("waiting", "scheduled", "leased", "dead", "done")})
        left, small, journal = (Path(place) / name for name in ("left.mdb", "data.mdb", "journal"))
        shutil.copy(Path(place) / "s.zq" / "journal", journal)  # first: records that the tables have count as nothing
        shutil.copy(Path(place) / "s.zq" / "data.mdb", left)
        with lmdb.open(str(left), subdir=False, lock=False, readonly=True, map_size=1 << 26) as env:
            env.copy(str(small), compact=True)
        with tarfile.open(sys.argv[1], "w:xz") as archive:
            for path in (small, journal):
                archive.add(path, path.name)
        os._exit(0)  # as if it were killed


if __name__ == "__main__":
    main()
