"""The suite in benchmarks/ runs from end to end; its figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(400)
def test_a_workload_and_peers_as_far_as_they_are_here_are_measured(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    how = ["--only", "batches-100", "peers", "--scale", "0.002", "--seconds", "0.05", "--repeat", "1"]
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks"), *how, "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(file.read_text())

    assert "batches of 100" in run.stdout
    row, bare, *rows = found["rows"]
    assert row["tasks"] == 2000
    assert row["rate"] > 0
    assert row["usage"]["commits"] > 0
    assert found["floor"]["ZeroMQ round trip, p50 s"] > 0

    measured: dict[str, set[str]] = {}
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
