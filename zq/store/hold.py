"""The right of one coordinator to a directory: a lock that ends with it, whoever was forked from it, and the look
whether what it holds is still what has the name.

Two files are locked. `lock` also says who has the directory, and is there before LMDB opens anything; should somebody
delete it, the lock of the data file still keeps a second coordinator out.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import stat
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from zq.errors import StoreCorruptError, StoreError, StoreLockedError
from zq.processes.descriptors import take_standard
from zq.processes.forks import drop_in_forks
from zq.store.place import FilePlace, KeptFile, OpenFolder, find_kept
from zq.store.room import LACKS

log = logging.getLogger(__name__)

DATA_FILE, READERS_FILE = "data.mdb", "lock.mdb"
"""As LMDB names them."""

JOURNAL_FILE = "journal"
"""Of `zq.store.journal`."""

HOLD_FILE = "lock"
"""Says who has the directory."""


UNCLEAN_ENDS_MAX = 5
"""Ends in a row that were none, kills or aborts: the next start looks at all of a file, however large. LMDB ends the
process at some pages that are broken, and would do so at each start.
"""


SHARED_PATIENCE = 0.5
"""Seconds to wait for those who share a lock for a moment, to see whether somebody has it."""

SHARED_PAUSE = 0.005

READERS_LOOK_INTERVAL = 1.0
"""Seconds between two looks at the file of readers."""


class DirectoryHold:
    """Holds a directory from its making until `close`.

    Attributes:
        folder: the directory, open.
        is_lost: whether what LMDB has open is not its own any more: it must not be closed, nor touched.
        is_new: whether there was no data file.
        is_looping: whether who had it last was ended while it read what is read at each start, or so many did not end
            as they should, that something here may end them.
    """

    def __init__(self, path: Path) -> None:
        """Makes the directory if need be, and locks it.

        Raises:
            StoreLockedError: somebody has it.
            StoreError: it cannot be made or written, or somebody else may have made what is in it.
        """
        self.is_lost = False
        self._path = path
        self._data = -1
        self._readers = 0  # the inode of the file in which LMDB looks for readers
        self._has_readers = True  # whether who comes to read finds that file
        self._readers_look_at = 0.0
        self._own: dict[int, KeptFile] = {}  # by descriptor, what is held
        self._holder: dict[str, Any] = {}  # as the file of the lock has it
        self._opened = ExitStack()
        take_standard()
        try:
            self.is_new = not (path / DATA_FILE).exists()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.is_new:
                _flush_names_of(path.absolute())
            self.folder = OpenFolder(path)
            self._opened.callback(self.folder.close)
            _check_owner(path)
            for name in (HOLD_FILE, DATA_FILE, READERS_FILE, JOURNAL_FILE):
                _check_file(path / name)
            self._file = self._open(path / HOLD_FILE, os.O_RDWR | os.O_CREAT)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                text = f"expected a directory that can be written at {path}: {error.strerror}"
                raise StoreError(text) from error
            raise
        try:
            self._take(self._file)
            self._check_ours()
            before = _read_holder(self._file)
            self._check_not_lost(before)
            unclean = 0 if before.get("is_closed", True) else int(before.get("unclean_ends", 0)) + 1
            self.is_looping = unclean % UNCLEAN_ENDS_MAX == UNCLEAN_ENDS_MAX - 1 or (
                unclean > 0 and bool(before.get("is_reading", False))
            )
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            state = {"has_data": not self.is_new, "is_closed": False, "is_reading": False, "unclean_ends": unclean}
            self._holder = {**holder, "started": _started(os.getpid()), **state}
            self._say_holder()
        except BaseException:
            self.close()
            raise

    def hold_data(self) -> None:
        """Holds the data file, once LMDB has made it; raises as the constructor."""
        self._data = self._open(self.folder.reach() / DATA_FILE, os.O_RDWR)
        self._take(self._data)
        self._data_place = FilePlace(self.folder, DATA_FILE, self._data)
        self._holder["has_data"] = True
        self._say_holder()

    @property
    def changed_at(self) -> int:
        """When the data file was last written, as far as was looked: in nanoseconds, of the system's clock."""
        return self._data_place.changed_at

    @property
    def data_number(self) -> int:
        """The descriptor of the data file, once it is held."""
        return self._data

    def check(self) -> None:
        """Looks whether the data file is still the one that has its name: what is written must be found at a start.

        Raises:
            StoreError: it was removed, renamed or replaced, or its directory was removed or replaced; one
                that was moved and not replaced goes on.
        """
        trouble = self._data_place.look()
        if trouble is not None:
            raise StoreError(
                f"{self.folder.name}/{DATA_FILE} {trouble}. It was removed or replaced while it was in use, and nothing that "
                "came since was answered: put it back, or start on the directory that you want"
            )
        now = time.monotonic()
        if now >= self._readers_look_at:
            self._readers_look_at = now + READERS_LOOK_INTERVAL
            self._look_at_readers()

    def _look_at_readers(self) -> None:
        """Says once when those who come to read enter themselves where nobody looks."""
        try:
            found = self.folder.look(READERS_FILE)
        except OSError:  # it may not be looked at any more: that says nothing
            return
        is_there = not isinstance(found, str) and found.st_ino == self._readers
        if is_there != self._has_readers:
            self._has_readers = is_there
            name = f"{self.folder.name}/{READERS_FILE}"
            if is_there:
                log.warning("%s is back: there may be readers again", name)
            else:
                log.error(
                    "%s was removed or replaced while it is in use: who reads beside this process (zq backup, zq doctor) "
                    "cannot be seen, and is refused until it is put back or this is started again; nothing is lost", name,
                )  # fmt: skip

    def note_read(self) -> None:
        """Notes that all was read that is read at each start: what ends it now does not do so at each."""
        self._holder["is_reading"] = False
        self._say_holder()

    def note_opened(self) -> None:
        """Notes by which descriptors LMDB has what it has opened just now; says which file its readers are in, and
        that it is read now as at each start.
        """
        folder = self.folder.reach()
        self._kept = [kept for name in (DATA_FILE, READERS_FILE) for kept in find_kept(folder / name)]
        self._readers = self._holder["readers"] = (folder / READERS_FILE).stat().st_ino
        self._holder["is_reading"] = True
        self._say_holder()

    def check_opened(self) -> None:
        """Looks whether what LMDB has open is still that: else it would write to whatever has got a number of its own,
        or touch what is no more of its file of readers, which ends the process without a word.

        Raises:
            StoreError: something else has closed it, or cut it off.
        """
        for kept in self._kept:
            trouble = kept.look()
            if trouble is not None:
                self.is_lost = True
                raise StoreError(f"{self.folder.name}/{kept.name} {trouble}. Nothing that came since was answered")

    def close(self) -> None:
        """Notes that what was open ends as it should, by words at least, and lets go of the directory, also for what
        was forked from this process.
        """
        try:
            if self._holder:
                self._holder["is_closed"] = True
                self._holder.pop("readers", None)  # whoever reads now is not in the way of anybody
                self._say_holder()
        finally:
            self._opened.close()

    def _check_ours(self) -> None:
        """Raises when something else has a file of that name, which would be written over."""
        text = os.pread(self._file, 1000, 0).strip(b"\0 ")
        if text and not text.startswith(b"{"):
            raise StoreError(
                f"{self._path / HOLD_FILE} is not of zq, and would be written over: choose another directory"
            )

    def _check_not_lost(self, before: dict[str, Any]) -> None:
        """Raises when there was a data file and is none: a new one in its place would be all that is found later."""
        if self.is_new and before.get("has_data"):
            raise StoreCorruptError(
                f"{self._path} has no {DATA_FILE}, and {HOLD_FILE} says that there was one: put it back, or restore a backup of "
                f"the whole directory. To begin anew, remove {HOLD_FILE}"
            )

    def _say_holder(self) -> None:
        """Says who has it, in the room that the file has, for the disk may have no more; the lock counts without it."""
        text = json.dumps(self._holder)
        if not self._own[self._file].is_own:  # something else in this process has closed it
            return
        try:
            os.pwrite(self._file, text.ljust(os.fstat(self._file).st_size).encode(), 0)
        except OSError as error:
            if error.errno not in LACKS:
                raise StoreError(f"cannot write {self._path / HOLD_FILE}: {error.strerror}") from error

    def _open(self, path: Path, flags: int) -> int:
        number = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        self._own[number] = kept = KeptFile(path.name, number)
        forget = drop_in_forks(kept.close)
        self._opened.callback(kept.close)
        self._opened.callback(forget)
        return number

    def _take(self, number: int) -> None:
        give_up_at = time.monotonic() + SHARED_PATIENCE
        while not _locks(number, fcntl.LOCK_EX):
            is_only_looked_at = _locks(number, fcntl.LOCK_SH)
            if is_only_looked_at:
                fcntl.flock(number, fcntl.LOCK_UN)
            if not is_only_looked_at or time.monotonic() > give_up_at:
                told = {} if number == self._data else _read_holder(self._file)
                holder = _describe(told, _locker_of(number))
                raise StoreLockedError(f"{self._path} is in use by {holder}; one coordinator at a time")
            time.sleep(SHARED_PAUSE)
        self._opened.callback(self._release, number)

    def _release(self, number: int) -> None:
        """Gives a lock up: closing would leave it to copies of the descriptor."""
        if self._own[number].is_own:
            fcntl.flock(number, fcntl.LOCK_UN)


def _locks(number: int, how: int) -> bool:
    try:
        fcntl.flock(number, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locker_of(number: int) -> int | None:
    """Returns the process that has taken the lock of an open file, where the system tells."""
    try:
        found = os.fstat(number)
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for fields in map(str.split, lines):
        if name in fields and fields[1] == "FLOCK" and (pid := int(fields[fields.index(name) - 1])) > 0:
            return pid
    return None


def forget_readers(directory: Path) -> None:
    """Takes away the file of readers of a data file of which another one takes the place: LMDB would go by it, as long
    as somebody has it open, and take the wrong one of the new file's two pages for its last.
    """
    (directory / READERS_FILE).unlink(missing_ok=True)


def check_readers(directory: Path) -> None:
    """Raises StoreError when who enters as a reader of a directory that is in use is not seen by who has it: the pages
    that are read would be written over.
    """
    try:
        told = json.loads((directory / HOLD_FILE).read_bytes())["readers"]
    except (OSError, ValueError, LookupError, TypeError):  # nobody says it
        return
    try:
        found = (directory / READERS_FILE).stat().st_ino
    except OSError:
        found = None
    if found != told:
        raise StoreError(
            f"{directory}/{READERS_FILE} was {'removed' if found is None else 'replaced'} while the coordinator has it open: "
            "it does not see who reads, and would write over what is being read. Put it back, or restart the coordinator; "
            "then try it again"
        )


def _flush_names_of(path: Path) -> None:
    """Makes the name of a directory durable, and the names of those that it is in: any may have been made just now, or
    by somebody who came no further.
    """
    for parent in path.parents:
        try:
            flush(parent)
        except OSError:  # it may not be read, or is no file system that flushes: whoever made it has seen to it
            return


def flush(path: Path) -> None:
    """Makes durable what is in a file, or the names that are in a directory."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# A directory that somebody else has made may hold links, through which what is written here would go elsewhere.


def _check_owner(path: Path) -> None:
    owner, own = path.stat().st_uid, os.geteuid()
    if own != 0 and owner not in (own, 0):
        raise StoreError(
            f"{path} belongs to another user ({owner}), who can change all that is in it: choose another directory, or have it given to user {own}"
        )


def _check_file(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise StoreError(f"{path} is a symbolic link, which is not followed: remove it, or choose another directory")
    if path.name == DATA_FILE and not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is no file: expected the data file of a coordinator, or nothing")
    if path.name != DATA_FILE and found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} has another name, too (a hard link): remove it, or choose another directory")


def _read_holder(number: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(number, 1000, 0))
    except ValueError:  # it is being written just now
        return {}
    return found if isinstance(found, dict) else {}


def _describe(holder: dict[str, Any], locker: int | None = None) -> str:
    """Returns who has a directory, as far as it is known: a process that has ended has nothing, and what the last one
    has written may be old.

    Args:
        holder: as it was written.
        locker: the process that has taken the lock, if the system tells.
    """
    if locker is not None and (holder.get("is_closed") or holder.get("pid") != locker):
        return f"this very process ({locker})" if locker == os.getpid() else f"process {locker}"
    if holder.get("is_closed"):
        return "another process"
    try:
        pid, host = int(holder["pid"]), str(holder["host"])
        name = f"process {pid} on {host} since {holder['since']}"
    except (LookupError, ValueError, TypeError):
        return "another process"
    if host != socket.gethostname():
        return name
    if pid == os.getpid():
        return f"this very process ({name})"
    if _runs(pid, holder.get("started")):
        return name
    return f"a process that was forked from {name}; that one has ended, and `fuser` on the file lock says who is left"


def who_has(directory: Path) -> str:
    """Returns who has a directory that is in use, as far as it is known."""
    try:
        number = os.open(directory / HOLD_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "another process"
    try:
        return _describe(_read_holder(number))
    finally:
        os.close(number)


def _runs(pid: int, started: str | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and is another user's
        pass
    return started is None or _started(pid) in (None, started)


def _started(pid: int) -> str | None:
    """Returns what tells a process from a later one of the same number; None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
