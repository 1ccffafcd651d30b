"""Long runs of ordered keys while their workers and the coordinator are killed with SIGKILL; judged by tokens, which
only grow. Short ones are among all else in tests/chaos.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from tests.process.kitchen import Kitchen, check_ledger, kill, wait_until

KEYS = 6
RUN = 60


@pytest.mark.timeout(240)
def test_order_inside_of_runs_survives_kill_9_of_workers_and_coordinator(kitchen: Kitchen) -> None:
    coordinator = kitchen.start_coordinator("--max-attempts", "1000")
    workers = {name: kitchen.start_worker(name) for name in ("shop-0", "shop-1")}
    with kitchen.client() as client:
        lines = [
            client.submit_many(
                "orders", [{"seconds": 0.004}] * RUN, batch_size=RUN, key=f"customer-{key}", ordered=True
            )
            for key in range(KEYS)
        ]
        for name in ("shop-0", "coordinator", "shop-1"):
            count = len(kitchen.events())
            wait_until(lambda: len(kitchen.events()) > count + RUN, "tasks that start")  # noqa: B023 - called at once
            if name == "coordinator":
                kill(coordinator)
                coordinator = kitchen.start_coordinator("--max-attempts", "1000")
            else:
                kill(workers[name])
                workers[name] = kitchen.start_worker(name)
        tokens = {receipt.id: receipt.result(timeout=60.0) for line in lines for receipt in line}
        verdict = check_ledger(kitchen, tokens, client.query("status"))

    print(verdict)
    for line in lines:
        for before, after in pairwise(receipt.id for receipt in line):
            for started_before, token in _starts_with_those_before(kitchen.ledger, after):
                assert tokens[before] < token or before in started_before, f"{after} started before {before} had ended"


def _starts_with_those_before(ledger: Path, id: str) -> list[tuple[set[str], int]]:
    """Returns, for each start of a task, what its process had ended under the same token by then, and the token."""
    found = []
    for file in ledger.iterdir():
        ended: dict[str, set[str]] = {}
        for line in file.read_text().splitlines():
            event, *rest = line.split()
            if event == "end" and len(rest) == 2:
                ended.setdefault(rest[1], set()).add(rest[0])
            elif event == "start" and rest[:1] == [id] and len(rest) == 2:
                found.append((set(ended.get(rest[1], ())), int(rest[1])))
    return found
