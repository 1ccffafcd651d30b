"""Where what is open is by now: a folder may be moved while it is in use, and what is written to a file without a name
is lost at the next start.

Theory of operation. A folder is held by a descriptor, which is of the folder and of no name. What is opened or made in
it later is reached by that. Which name it has is another question: one that was *moved* goes on, and a start finds
there what was written; one whose name another folder has got does not, for a start on that name would find the other.
"""

import fcntl
import logging
import os
from contextlib import ExitStack, suppress
from pathlib import Path

from zq.processes.forks import drop_in_forks

log = logging.getLogger(__name__)

CLOSED = "cannot be written any more: its descriptor was closed by something else in this process"
"""What is wrong with a file, in words that follow its name."""


class OpenFolder:
    """A folder that is held from its making until `close`, whatever it is called."""

    __slots__ = ("_identity", "_name", "_opened", "_place", "number")

    def __init__(self, path: Path) -> None:
        """Opens a folder; raises OSError when it cannot be."""
        self._place = str(path.absolute())  # also when this program goes to another folder
        self._name = self._place
        self._opened = ExitStack()
        self.number = number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._opened.callback(KeptFile(path.name, number).close)
        self._opened.callback(drop_in_forks(lambda: os.close(number)))
        self._identity = _identify(os.fstat(number))

    @property
    def name(self) -> str:
        """What it is called, as far as was looked: absolute."""
        return self._name

    def reach(self) -> Path:
        """Returns a path by which it is reached now, for what takes no descriptor."""
        for name in (self._place, self._find_name()):
            if name is not None and self._is_at(name):
                return Path(name)
        link = f"/proc/self/fd/{self.number}"  # also where the folders above may not be entered any more
        return Path(link if os.path.lexists(link) else self._place)

    def look(self, name: str) -> os.stat_result | str:
        """Looks for a file in it, wherever it is; returns what is wrong in words if it is not there."""
        trouble = self._look_for_itself()
        if trouble is not None:
            return trouble
        try:
            return os.stat(name, dir_fd=self.number, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return "is there no more"

    def close(self) -> None:
        self._opened.close()

    def _is_at(self, name: str) -> bool:
        try:
            return _identify(Path(name).stat()) == self._identity
        except OSError:
            return False

    def _look_for_itself(self) -> str | None:
        """Finds out what it is called; returns why nothing more may be written to it, in words."""
        try:
            if _identify(os.fstat(self.number)) != self._identity:
                return "cannot be looked for: its directory was closed by something else in this process"
            if _identify(Path(self._place).stat()) != self._identity:
                where = self._find_name() or "where nobody knows"
                return f"is of a directory that was moved to {where}: another one has its name by now"
            name: str | None = self._place
        except (FileNotFoundError, NotADirectoryError):
            name = self._find_name()
        if name is not None and name != self._name:
            self._say_moved(name)
        return None

    def _say_moved(self, name: str) -> None:
        if os.path.lexists(name):  # else it was removed, or is where this process cannot look
            before, self._name = self._name, name
            log.warning("%s was moved while it is in use: it is %s now, and goes on; start on that later", before, name)

    def _find_name(self) -> str | None:
        """Returns what the system calls it; None where it does not tell."""
        try:
            if hasattr(fcntl, "F_GETPATH"):  # of macOS, which has no /proc
                return os.fsdecode(fcntl.fcntl(self.number, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
            return os.readlink(f"/proc/self/fd/{self.number}")  # noqa: PTH115 - as all that is looked at here
        except OSError:
            return None


class KeptFile:
    """A file that is open, and the number that is its descriptor: a program may close what is not its own, and what it
    opens next gets the number.

    Attributes:
        name: of the file.
    """

    __slots__ = ("_identity", "_number", "_size", "name")

    def __init__(self, name: str, number: int) -> None:
        """Notes of which file a descriptor is."""
        self.name = name
        self._number = number
        found = os.fstat(number)
        self._identity, self._size = _identify(found), found.st_size

    @property
    def is_own(self) -> bool:
        """Whether the number is still a descriptor of the file."""
        try:
            return _identify(os.fstat(self._number)) == self._identity
        except OSError:
            return False

    def look(self) -> str | None:
        """Returns what is wrong with it, in words that follow its name; what was cut off is filled with zeros, for what
        has it open may still touch it.
        """
        if not self.is_own:
            return CLOSED
        size = os.fstat(self._number).st_size
        if size < self._size:
            os.ftruncate(self._number, self._size)
            return f"was cut off, from {self._size} bytes to {size}"
        return None

    def close(self) -> None:
        """Closes it; what has got its number stays open."""
        if self.is_own:
            os.close(self._number)


def find_kept(path: Path) -> list[KeptFile]:
    """Returns all descriptors of this process for a file."""
    identity, found = _identify(path.stat()), []
    for number in [int(file.name) for file in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # the descriptor of this listing, for one
            if _identify(os.fstat(number)) == identity:
                found.append(KeptFile(path.name, number))
    return found


class FilePlace:
    """The place of an open file."""

    __slots__ = ("_folder", "_identity", "_path", "changed_at", "name", "size")

    def __init__(self, folder: OpenFolder, name: str, number: int) -> None:
        """Notes which file has a name in a folder; `number` is its descriptor."""
        self.name = name
        self._folder = folder
        self._path = f"{folder.name}/{name}"
        found = os.fstat(number)
        self._identity = _identify(found)
        self.size = found.st_size  # at the last look
        self.changed_at = found.st_mtime_ns  # the same

    def look(self) -> str | None:
        """Returns what is wrong with the place, in words that follow its name; None when it is as it was, though the
        folder may have been moved.
        """
        try:  # once for each turn: a Path takes twice as long
            found = os.lstat(self._path)
            is_whole = (found.st_dev, found.st_ino) == self._identity and found.st_size >= self.size
        except OSError:
            is_whole = False
        if not is_whole:
            return self._look_in_folder()
        self.size, self.changed_at = found.st_size, found.st_mtime_ns
        return None

    def _look_in_folder(self) -> str | None:
        try:
            found = self._folder.look(self.name)
        except OSError:  # it may not be looked at any more: that says nothing
            return None
        if isinstance(found, str):
            return found
        if _identify(found) != self._identity:
            return "is another file than the one that was opened"
        if found.st_size < self.size:
            return f"was cut off, from {self.size} bytes to {found.st_size}"
        self.size, self.changed_at = found.st_size, found.st_mtime_ns
        return None


class FlushedFilePlace(FilePlace):
    """The place of a file that is flushed again and again, and whether its descriptor is still its own.

    Linux notes that somebody has seen the times of a file, and then writes exact ones at its next change: with the look
    above between two flushes, each of them takes half as long again. So it asks which name the open file has by now.
    """

    __slots__ = ("_link", "_link_text", "_number", "file")

    def __init__(self, folder: OpenFolder, name: str, number: int) -> None:
        super().__init__(folder, name, number)
        self._number, self.file = number, KeptFile(name, number)
        self._link = f"/proc/self/fd/{number}"
        self._link_text = self._read_link()

    def look(self) -> str | None:
        """See `FilePlace`; where there is no /proc, it looks as that does."""
        text = self._read_link()
        if text is not None and text == self._link_text:
            return self.look_at_size()
        if not self.file.is_own:
            return CLOSED
        trouble = super().look()
        if trouble is None:
            self._link_text = text  # its folder was moved
        return trouble

    def look_at_size(self) -> str | None:
        """Looks whether there is all of it: a fraction of the time of `look`, and no look at its times."""
        try:
            size = os.lseek(self._number, 0, os.SEEK_END)
        except OSError:  # it is closed, or something by now that has no places
            return CLOSED
        if size == self.size:
            return None
        if not self.file.is_own:
            return CLOSED
        return f"has {size} bytes in the place of {self.size}"

    def _read_link(self) -> str | None:
        try:
            return os.readlink(self._link)  # noqa: PTH115 - a Path takes twice as long
        except OSError:
            return None


def _identify(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
