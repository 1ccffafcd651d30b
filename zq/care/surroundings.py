"""What is around the data of a directory: rights, files that do not belong there, the disk and its flushes."""

from __future__ import annotations

import os
import stat
import statistics
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from zq.care.findings import Finding, Weight
from zq.store.copying import REPORT_FILE
from zq.store.damage import KEPT_FILES_MAX, REBUILT_FILE, kept_files
from zq.store.engine import NEW_FILE
from zq.store.hold import DATA_FILE, HOLD_FILE, JOURNAL_FILE, READERS_FILE
from zq.store.journal import NEW_JOURNAL_FILE
from zq.store.lmdb import LmdbOptions

FILES = frozenset({DATA_FILE, HOLD_FILE, JOURNAL_FILE, READERS_FILE, REPORT_FILE})
"""What belongs into a directory."""

HALF_MADE = frozenset({NEW_FILE, NEW_JOURNAL_FILE, REBUILT_FILE})
"""What is made there under another name first, and left when its maker is killed."""

FLUSHES = 20

FLUSHED_BYTES = 1 << 20

HONEST_SECONDS = 20e-6
"""What a flush takes at least that reaches any device."""

IN_MEMORY = frozenset({"tmpfs", "ramfs", "overlay"})
"""File systems whose files do not outlive the machine, or its container."""

OVER_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs"})


def look_around(directory: Path) -> Iterator[Finding]:
    """Yields what is around the data; it writes nothing but a file without a name, which it flushes."""
    yield from _rights(directory)
    yield from _files(directory)
    yield from _disk(directory)
    yield from _flushes(directory)


def _rights(directory: Path) -> Iterator[Finding]:
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0):
        text = f"belongs to user {found.st_uid}, and this is user {os.geteuid()}"
        yield Finding(Weight.WARNING, str(directory), text, "run the coordinator as its owner")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        weight = Weight.WARNING if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else Weight.NOTE
        text = f"others than its owner may look into it (mode {stat.S_IMODE(found.st_mode):o})"
        yield Finding(weight, str(directory), text, f"chmod 700 {directory}")
    for name in sorted(FILES):
        path = directory / name
        if not os.path.lexists(path):
            continue
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            text = f"is a symbolic link to {path.resolve()}, and no coordinator follows it"
            yield Finding(Weight.BROKEN, str(path), text, "put that file in its place")
        elif not stat.S_ISREG(about.st_mode):
            yield Finding(Weight.BROKEN, str(path), "is no file", "remove it, or put back the one that was there")
        elif not os.access(path, os.R_OK | os.W_OK):
            yield Finding(Weight.WARNING, str(path), "may not be read and written by this user", "run as its owner")


def _files(directory: Path) -> Iterator[Finding]:
    names = {one.name for one in directory.iterdir()}
    for name in sorted(names & HALF_MADE):
        text = "was left half made by something that was killed"
        yield Finding(Weight.NOTE, str(directory / name), text, "nothing: what makes it next takes its place")
    kept = {one.name for one in kept_files(directory).values()}
    for name in sorted(kept):
        text = f"is a data file that had broken pages, as it was found; the last {KEPT_FILES_MAX} are kept"
        yield Finding(Weight.NOTE, str(directory / name), text, "nothing reads it, and it may be removed")
    for name in sorted(names - FILES - HALF_MADE - kept):
        yield Finding(Weight.NOTE, str(directory / name), "is no file of a coordinator")
    if DATA_FILE not in names:
        text = "is not there" + (f", and {', '.join(sorted(names & FILES))} is" if names & FILES else "")
        remedy = "put it back, or restore a backup: a coordinator would begin anew, or refuse to"
        yield Finding(Weight.BROKEN, str(directory / DATA_FILE), text, remedy)


def _disk(directory: Path) -> Iterator[Finding]:
    disk = os.statvfs(directory)
    free, least = disk.f_bavail * disk.f_frsize, LmdbOptions().free_bytes_min
    if free < least:
        text = f"{free >> 20} MiB are free on its disk; below {least >> 20} MiB nothing new is accepted"
        yield Finding(Weight.WARNING, str(directory), text, "make room, or give --disk-free-mib another value")
    else:
        yield Finding(Weight.FINE, str(directory), f"{free >> 20} MiB are free on its disk")
    kind = file_system_of(directory)
    if kind in IN_MEMORY:
        text = f"is on {kind}: what is there does not outlive the machine, or the container"
        yield Finding(Weight.WARNING, str(directory), text, "keep it on a disk")
    elif kind in OVER_A_NETWORK:
        text = f"is on {kind}, over a network: LMDB's locks and flushes may mean nothing there"
        yield Finding(Weight.WARNING, str(directory), text, "keep it on a local disk")


def file_system_of(path: Path) -> str:
    """Returns the kind of file system on which a path is; empty where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(lines):
        words = line.split()
        if words[2] == number:
            return words[words.index("-") + 1]
    return ""


def _flushes(directory: Path) -> Iterator[Finding]:
    try:
        number = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    except (OSError, AttributeError):  # not every file system can, and not every system
        return
    try:
        os.pwrite(number, bytes(FLUSHED_BYTES), 0)
        os.fsync(number)
        seconds = statistics.median(_flush_seconds(number, place) for place in range(FLUSHES))
    except OSError as error:
        text = f"cannot be written: {error.strerror}"
        yield Finding(Weight.BROKEN, str(directory), text, "see to the disk before anything else")
        return
    finally:
        os.close(number)
    text = f"a flush takes {seconds * 1e6:.0f} us"
    if seconds < HONEST_SECONDS:
        text += ": nothing can reach a device so fast"
        remedy = "a power cut may lose what was answered, unless the disk's memory has a battery: ask whoever runs it"
        yield Finding(Weight.WARNING, str(directory), text, remedy)
    else:
        yield Finding(Weight.FINE, str(directory), text)


def _flush_seconds(number: int, place: int) -> float:
    os.pwrite(number, b"zq", place * 4096)
    begun_at = perf_counter()
    os.fdatasync(number)
    return perf_counter() - begun_at
