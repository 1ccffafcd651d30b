"""The suite in benchmarks/ runs from end to end; its figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def measure(tmp_path: Path, *names: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Returns a short run of the suite, and what it wrote."""
    file = tmp_path / "figures.json"
    how = ["--only", *names, "--scale", "0.002", "--seconds", "0.05", "--repeat", "1", "--json", str(file)]
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks"), *how], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    return run, json.loads(file.read_text())


def test_a_workload_is_measured_and_written_as_table_and_json(tmp_path: Path) -> None:
    run, found = measure(tmp_path, "batches-100")

    assert "batches of 100" in run.stdout
    (row,) = found["rows"]
    assert row["tasks"] == 2000
    assert row["rate"] > 0
    assert row["usage"]["commits"] > 0
    assert found["floor"]["ZeroMQ round trip, p50 s"] > 0


def test_peers_are_measured_as_far_as_they_are_here(tmp_path: Path) -> None:
    run, found = measure(tmp_path, "peers")

    measured: dict[str, set[str]] = {}
    bare, *rows = found["rows"]
    assert bare["rate"] > 0
    for row in rows:
        workload, _, system = row["name"].rpartition(": ")
        assert row["rate"] > 0
        assert row["notes"]["CPU us: client"] > 0
        assert row["notes"]["server"] > 0
        measured.setdefault(system, set()).add(workload)
    assert len(measured["zq"]) == 6
    assert all(workloads == measured["zq"] for workloads in measured.values())
    lacking = [line.strip() for line in run.stderr.splitlines() if "not measured" in line]
    if lacking:
        pytest.skip("; ".join(lacking))
    assert {"Redis streams", "PostgreSQL"} <= set(measured)
