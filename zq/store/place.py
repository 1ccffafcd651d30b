"""Whether what is open is still what has its name: what is written to a file without one is lost at the next start."""

import os
from pathlib import Path


class FilePlace:
    """The place of an open file."""

    __slots__ = ("_identity", "changed_at", "name", "size")

    def __init__(self, path: Path, number: int) -> None:
        """Notes which file is at a place; `number` is its descriptor."""
        self.name = str(path.absolute())  # also when this program goes to another folder
        found = os.fstat(number)
        self._identity = found.st_dev, found.st_ino
        self.size = found.st_size  # at the last look
        self.changed_at = found.st_mtime_ns  # the same

    def look(self) -> str | None:
        """Returns what is wrong with the place, in words that follow its name; None when it is as it was."""
        try:
            found = os.lstat(self.name)  # once for each turn; a Path takes twice as long
        except (FileNotFoundError, NotADirectoryError):
            return "is there no more"
        except OSError:  # it may not be looked at any more: that says nothing
            return None
        if (found.st_dev, found.st_ino) != self._identity:
            return "is another file than the one that was opened"
        if found.st_size < self.size:
            return f"was cut off, from {self.size} bytes to {found.st_size}"
        self.size, self.changed_at = found.st_size, found.st_mtime_ns
        return None


class FlushedFilePlace(FilePlace):
    """The place of a file that is flushed again and again.

    Linux notes that somebody has seen the times of a file, and then writes exact ones at its next change: with the look
    above between two flushes, each of them takes half as long again. So it asks which name the open file has by now.
    """

    __slots__ = ("_link", "_link_text")

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(path, number)
        self._link = f"/proc/self/fd/{number}"
        self._link_text = self._read_link()

    def look(self) -> str | None:
        """See `FilePlace`; where there is no /proc, it looks as that does."""
        if self._link_text is not None and self._read_link() == self._link_text:
            return None
        return super().look()

    def _read_link(self) -> str | None:
        try:
            return os.readlink(self._link)  # noqa: PTH115 - a Path takes twice as long
        except OSError:
            return None
