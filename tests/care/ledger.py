"""What a damaged directory had, and what became of each of it: handed out, or named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import zq
from zq.core import tables
from zq.store.raw import RawFile


def fill(directory: Path, count: int, **options: Any) -> list[str]:
    """Submits payloads in batches of ten, and returns them."""
    payloads = [f"margherita {number:05}" for number in range(count)]
    with zq.Coordinator(directory, **options) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", payloads, batch_size=10)
    return payloads


def batches_of(directory: Path) -> dict[bytes, list[str]]:
    """Returns the payloads of the batches in table `pending` that can be read, by their keys."""
    with RawFile.open(directory) as raw:
        rows = [row for row in raw.rows() if row.table == tables.PENDING and row.fault is None]
    return {row.key: re.findall(r"margherita \d{5}", row.stored.decode("latin-1")) for row in rows}


def handed_out(directory: Path) -> list[str]:
    """Returns the payloads of all that is handed out of a directory, until nothing is left."""
    payloads: list[str] = []
    with zq.Coordinator(directory) as coordinator, zq.Client(coordinator.address) as client:
        for row in client.query("queues"):
            while pulled := client.pull(row["name"], max_tasks=1000, wait=0):
                payloads += [task.payload for task in pulled]
                for task in pulled:
                    task.done()
        assert client.query("status")["waiting"] == 0
    assert len(payloads) == len(set(payloads))
    return sorted(payloads)


def check_ledger_of(before: dict[bytes, list[str]], after: list[str], lines: list[dict[str, Any]]) -> None:
    """Checks that each payload is handed out, or in a batch that is named as damaged, and that some are."""
    handed = set(after)
    lost = {key: payloads for key, payloads in before.items() if not handed.issuperset(payloads)}
    assert lost  # else nothing was hit
    assert [key for key in lost if not is_named(lines, key)] == []
    assert not handed - {payload for payloads in before.values() for payload in payloads}


def is_named(lines: list[dict[str, Any]], key: bytes) -> bool:
    """Whether a row of table `pending` is among what is said to be damaged: by its key, or in a part."""
    for line in lines:
        if line.get("table") != tables.PENDING:
            continue
        start, stop = bytes.fromhex(line["key"]), None if line["stop"] is None else bytes.fromhex(line["stop"])
        if key == start or (line["is_part"] and start <= key and (stop is None or key < stop)):
            return True
    return False
