"""What this process has of the machine: memory and processors."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_STATM = Path("/proc/self/statm")

_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's limit stands, as of version 2 and 1."""

_QUOTAS = (
    (Path("/sys/fs/cgroup/cpu.max"),),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)
"""Where a container's share of the processors stands, the same: so many microseconds, of how many."""


def resident_bytes() -> int:
    """Returns the bytes of this process that are in memory now; where the system does not tell, the most that ever
    were.
    """
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10


def private_bytes() -> int | None:
    """Returns the bytes of this process that are in memory now and nobody else's: without the pages of files that it
    maps, which the system takes back by itself. None where the system does not tell.
    """
    try:
        _, resident, shared, *_ = _STATM.read_bytes().split()
    except (OSError, ValueError):
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def machine_bytes() -> int:
    """Returns the memory that this process may use at most: the machine's, or its container's."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUPS:
        with suppress(OSError, ValueError):  # there is none, or it says "max"
            found.append(int(path.read_text()))
    return min(found)


def processors() -> float:
    """Returns how many processors this process may use at a time: the machine's, or its container's share of them."""
    found: list[float] = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for paths in _QUOTAS:
        with suppress(OSError, ValueError):  # there is none, or it says "max"
            quota, period = [int(text) for path in paths for text in path.read_text().split()]
            if quota > 0 and period > 0:  # else -1: no limit
                found.append(quota / period)
    return min(found)


def give_back() -> None:
    """Gives memory that is free back to the system, as far as its allocator can do that."""
    import ctypes  # rarely needed, and not small

    with suppress(OSError, AttributeError):  # only that of glibc
        ctypes.CDLL(None).malloc_trim(0)
