"""What a program does whose standard input, output and error are closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
for number in {closed}:
    os.close(number)
import zq
with zq.Coordinator({path!r}) as coordinator, zq.Client(coordinator.address, timeout=30.0) as client:
    client.submit("q", 1)
    with open({report!r}, "w") as file:
        for number in os.listdir("/proc/self/fd"):
            if int(number) < 3:
                print(number, os.readlink("/proc/self/fd/" + number), file=file)
    for number in {closed}:
        os.write(number, b"what a library in C prints")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a descriptor is of")
@pytest.mark.parametrize("closed", [(0, 1, 2), (2,), (0,)], ids=str)
def test_no_file_of_a_directory_is_taken_for_standard_error(closed: tuple[int, ...], tmp_path: Path) -> None:
    path, report = tmp_path / "s.zq", tmp_path / "report"
    program = PROGRAM.format(closed=closed, path=str(path), report=str(report))
    assert subprocess.run([sys.executable, "-c", program], stdin=subprocess.DEVNULL, check=False).returncode == 0

    found = dict(line.split(" ", 1) for line in report.read_text().splitlines())
    assert sorted(found) == ["0", "1", "2"]
    assert {found[str(number)] for number in closed} == {os.devnull}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a descriptor is of")
def test_command_line_has_all_three(tmp_path: Path) -> None:
    command = (
        f"exec '{sys.executable}' -m zq.cli coordinator --data {tmp_path}/s.zq --bind ipc://{tmp_path}/s <&- >&- 2>&-"
    )
    with subprocess.Popen(["bash", "-c", command]) as process:
        try:
            import zq

            with zq.Client(f"ipc://{tmp_path}/s", timeout=60.0) as client:
                client.submit("q", 1)
            found = {str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)}
        finally:
            process.terminate()

    assert found == {os.devnull}
