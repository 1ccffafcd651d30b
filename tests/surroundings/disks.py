"""Disks of a few MiB that somebody fills: a tmpfs, or ext4 in a file; both need root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

KINDS = ("tmpfs", "ext4")

NEARLY_NOTHING = 16_384
"""Free bytes of a disk that is full: file systems keep some blocks that nobody gets."""


class SmallDisk:
    """A disk, mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Takes every byte that is free, as another program would; looks whether there is none left."""
        with self._ballast.open("ab", buffering=0) as file:
            for _ in range(20):  # others give back what they have tried, and a file system what it has reserved
                for size in (1 << 20, 4096, 1024):
                    with suppress(OSError):
                        while file.write(bytes(size)) == size:
                            pass
                os.fsync(file.fileno())
                found = os.statvfs(self.path)
                if found.f_bavail * found.f_frsize < NEARLY_NOTHING:
                    return
        raise AssertionError(f"{found.f_bavail} blocks are still free")

    def empty(self) -> None:
        """Gives back what `fill` took."""
        self._ballast.unlink()


def why_not(kind: str) -> str | None:
    """Says why no disk of a kind can be made, if none can."""
    if sys.platform != "linux":
        return "disks of a few MiB are made with Linux's mount"
    if os.geteuid() != 0:
        return "only root may mount a disk"
    if kind == "ext4" and shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4"
    return None


@contextmanager
def small_disk(kind: str, folder: Path, *, mib: int) -> Iterator[SmallDisk]:
    """Mounts a disk; skips the test where that cannot be done."""
    if (reason := why_not(kind)) is not None:
        pytest.skip(reason)
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)]
    else:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        command = ["mount", "-o", "loop", str(image), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
