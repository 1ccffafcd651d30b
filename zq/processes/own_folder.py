"""Temporary folders of this process: a private one, that goes with it.

A process that is killed removes nothing. So whoever makes such a folder holds it by a lock, which ends with the process
in every case, and first removes those of this user that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from zq.processes.endpoints import kept_path
from zq.processes.forks import drop_in_forks

PREFIX: Final = "zq-"
"""With which the names of all such folders begin."""

HELD_FILE: Final = "held"
"""Within each: it is locked as long as the folder is somebody's."""


class OwnFolder:
    """A new folder that only this user can enter, until `close`.

    Attributes:
        path: where it is.
    """

    def __init__(self, kind: str = "", within: str | None = None) -> None:
        """Makes it, and removes what killed processes have left beside it.

        Args:
            kind: for its name, which people see.
            within: the folder in which it is made; None: that for temporary files.

        Raises:
            OSError: it cannot be made.
        """
        place = str(kept_path(within or tempfile.gettempdir()))
        _remove_left(place)
        while True:
            self.path = tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-" if kind else PREFIX, dir=place)
            held = os.open(f"{self.path}/{HELD_FILE}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            if _take(held) and os.fstat(held).st_nlink:
                break
            os.close(held)  # somebody found it before it was held, and removes it
        self._held = held
        self._forget = drop_in_forks(lambda: os.close(held))

    def close(self) -> None:
        """Removes it with everything in it; as often as you like."""
        held, self._held = self._held, -1
        if held >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            self._forget()
            os.close(held)


@contextmanager
def own_folder(kind: str) -> Iterator[str]:
    """Yields the path of a folder that is removed at the end, or by whoever makes the next one; raises OSError."""
    folder = OwnFolder(kind)
    try:
        yield folder.path
    finally:
        folder.close()


def _remove_left(place: str) -> None:
    """Removes the folders of this user that nobody holds."""
    with suppress(OSError), os.scandir(place) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(PREFIX) and _is_own(entry)]
        for path in left:
            _remove_unless_held(Path(path))


def _is_own(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return False


def _remove_unless_held(path: Path) -> None:
    """Removes a folder, unless it is held or is no such folder."""
    with suppress(OSError):
        held = os.open(path / HELD_FILE, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if _take(held):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(held)


def _take(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
