"""How many files and connections this process may have open."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

DESCRIPTORS_MAX = 1 << 20
"""More are not asked for: where the system has no limit, tables of that size would be made for nothing."""


def raise_limit() -> int:
    """Raises the soft limit of this process to the hard one, as far as the system lets it, and returns it.

    For programs that are this process; a library leaves it alone: select() cannot do descriptors above 1,023.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has another limit beside it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """Returns how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS_MAX if soft == resource.RLIM_INFINITY else min(soft, DESCRIPTORS_MAX)


def used() -> int:
    """Returns how many descriptors this process has; 0 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir())
    return 0


def take_standard() -> None:
    """Opens nothing in the place of each of standard input, output and error that is closed: else the next file or
    socket has its number, and what is meant for a terminal goes into it.
    """
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:
            os.close(number)
            return
        os.set_inheritable(number, True)
