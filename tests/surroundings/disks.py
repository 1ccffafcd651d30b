"""Disks of a few MiB that somebody fills: a tmpfs, or ext4 in a file; both need root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

KINDS = ("tmpfs", "ext4")


class SmallDisk:
    """A disk, mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Takes every byte that is free, as another program would; looks whether there is none left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1024, 1024):  # a file system that allocates late gives back what it reserved
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
                os.fsync(file.fileno())
        found = os.statvfs(self.path)
        assert found.f_bavail * found.f_frsize < 16_384, f"{found.f_bavail} blocks are still free"

    def empty(self) -> None:
        """Gives back what `fill` took."""
        self._ballast.unlink()


@contextmanager
def small_disk(kind: str, folder: Path, *, mib: int) -> Iterator[SmallDisk]:
    """Mounts a disk; skips the test where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk of its own")
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)]
    else:
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("there is no mkfs.ext4")
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
