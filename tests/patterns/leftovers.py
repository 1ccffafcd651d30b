"""Finds what a run of a pipeline has left behind: processes and socket files. Every run of a test has its folders in
one place, and its processes name theirs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def processes_of(place: Path) -> list[str]:
    """Returns the worker processes whose folders are in a place."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    return [
        line
        for line in listed.splitlines()
        if "patterns.direct.process" in line and str(place) in line and " Z" not in line
    ]


def is_alive(pid: int) -> bool:
    """Returns whether a process lives (a dead one that nobody has buried does not)."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found.strip()) and not found.strip().startswith("Z")
