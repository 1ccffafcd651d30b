"""The suite in benchmarks/ runs from end to end; its figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_workload_is_measured_and_written_as_table_and_json(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    how = ["--only", "batches-100", "--scale", "0.002", "--seconds", "0.05", "--repeat", "1", "--json", str(file)]

    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks"), *how], capture_output=True, text=True, timeout=100, check=False
    )

    assert run.returncode == 0, run.stderr
    assert "batches of 100" in run.stdout
    found = json.loads(file.read_text())
    (row,) = found["rows"]
    assert row["tasks"] == 2000
    assert row["rate"] > 0
    assert row["usage"]["commits"] > 0
    assert found["floor"]["ZeroMQ round trip, p50 s"] > 0
