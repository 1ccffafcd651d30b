"""Whether what is open is still what has its name: what is written to a file without one is lost at the next start."""

import os
from pathlib import Path


class FilePlace:
    """The place of an open file."""

    __slots__ = ("_identity", "name")

    def __init__(self, path: Path, number: int) -> None:
        """Notes which file is at a place; `number` is its descriptor."""
        self.name = str(path.absolute())  # also when this program goes to another folder
        found = os.fstat(number)
        self._identity = found.st_dev, found.st_ino

    def look(self) -> str | None:
        """Returns what is wrong with the place, in words that follow its name; None when it is as it was."""
        try:
            found = os.lstat(self.name)  # once for each turn; a Path takes twice as long
        except (FileNotFoundError, NotADirectoryError):
            return "is there no more"
        except OSError:  # it may not be looked at any more: that says nothing
            return None
        return (
            None if (found.st_dev, found.st_ino) == self._identity else "is another file than the one that was opened"
        )
