"""The coordinator's directory of keys: its own key pair, and an entry for each public key that it lets in.

    keys/                   mode 0700
        server.key          the coordinator's own key (0600), which never leaves it
        server.next.key     the one that takes its place, while it is rotated, and
        rotation.toml       the time of that
        till.pub            entries, one a key

It is looked at again about once a second: what a file says holds from then on, also for connections that are there. A
file that cannot be read as an entry takes its key's rights away, says so in the log, and touches no other.

When the machine has no descriptors or no memory to read, or its disk fails, nothing was said about any key: then what
was read last holds on while its files are as they were, which is to be seen without opening them; and for a while when
that cannot be seen either. It ends by its times as ever.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from zq.core.rights.rights import Rights
from zq.errors import KeyFileError
from zq.keys.entry import ENTRY_BYTES_MAX, KeyEntry, read_entry, time_text
from zq.keys.key import Key, check_key_name, write_private

log = logging.getLogger(__name__)

ENTRY_SUFFIX: Final = ".pub"
SERVER_FILE: Final = "server.key"
NEXT_FILE: Final = "server.next.key"
ROTATION_FILE: Final = "rotation.toml"
SERVER_NAME: Final = "server"

ENTRIES_MAX: Final = 10_000
"""Keys of one coordinator: looking at their files takes milliseconds, once a second."""

TROUBLES: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EINTR, errno.EAGAIN, errno.ENOBUFS, errno.ESTALE}
)
"""Errors that tell of this machine, and nothing of a key: anybody may use up descriptors."""

TROUBLE_SECONDS: Final = 30.0
"""For so long rights hold of which it cannot be seen whether their files are as they were: then a key that was revoked
meanwhile has lived long enough.
"""

OTHERS_MAY_WRITE: Final = 0o022
OTHERS_MAY_ANYTHING: Final = 0o077


class Stamp(NamedTuple):
    """What changes when a file does."""

    number: int
    size: int
    changed_at: int
    mode: int


class KeyDirectory:
    """The directory of keys at a path; of one thread.

    Attributes:
        path: of the directory.
        faults: by name, why an entry is not good: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path)
        self.faults: dict[str, str] = {}
        self.rights: Mapping[str, Rights] = {}
        self._stamps: dict[str, Stamp] = {}
        self._entries: dict[str, KeyEntry] = {}
        self._names: dict[str, str] = {}  # by public key, also of those that are not good
        self._next_change = -math.inf
        self._fault: str | None = None  # what the log has said about a directory that could not be looked at
        self._unseen_since: float | None = None  # when files could be looked at last
        self._clock = clock

    # The coordinator's side.

    def check(self) -> None:
        """Looks at the directory itself.

        Raises:
            KeyFileError: it is not there, or others than its owner can get into it.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise KeyFileError(
                f"cannot use the directory of keys {self.path}: {error.strerror}; `zq keys new NAME` makes one"
            ) from error
        if not stat.S_ISDIR(found.st_mode):
            raise KeyFileError(f"expected a directory of keys at {self.path}, got a file")
        _check_owner(self.path, found)
        if found.st_mode & OTHERS_MAY_ANYTHING:
            raise KeyFileError(
                f"expected a directory of keys that its owner alone can use (mode 0700), got {self.path} with "
                f"{stat.S_IMODE(found.st_mode):04o}: run `chmod 700 {self.path}`"
            )

    def look(self, wall: float) -> bool:
        """Reads what has changed since the last look, by its files or by time; returns whether any rights have.

        When the directory cannot be looked at, nobody has rights; when nothing can be looked at, they stay for a while.
        """
        try:
            self.check()
            has_changed = self._read_changed()
            if self._fault is not None:
                log.warning("the keys in %s can be read again", self.path)
            self._fault = self._unseen_since = None
        except (OSError, KeyFileError) as error:
            has_changed = self._take_trouble(error) if _is_trouble(error) else self._lose_all(error)
        if not has_changed and wall < self._next_change:
            return False
        before = self.rights
        self.rights = self._rights_at(wall)
        self._next_change = min((one.next_change(wall) for one in self._entries.values()), default=math.inf)
        return self.rights != before

    def _lose_all(self, error: OSError | KeyFileError) -> bool:
        self._say("nobody is let in, and who is in may do nothing", error)
        self._entries, self._stamps = {}, {}
        return True

    def _take_trouble(self, error: OSError | KeyFileError) -> bool:
        """Keeps what was read of files that are as they were; returns whether any are not."""
        now = self._clock()
        changed: list[str] = []
        is_seen = True
        for name, stamp in self._stamps.items():
            try:
                if _stamp(self.path_of(name).lstat()) != stamp:
                    changed.append(name)
            except FileNotFoundError:
                changed.append(name)
            except OSError:
                is_seen = False
        if is_seen:
            self._unseen_since = None
        elif self._unseen_since is None:
            self._unseen_since = now
        elif now >= self._unseen_since + TROUBLE_SECONDS:
            return self._lose_all(error)
        self._say(
            "the keys cannot be read, and those whose files have not changed have the rights that they had", error
        )
        for name in changed:
            del self._stamps[name]
            self._entries.pop(name, None)
        return bool(changed)

    def _say(self, what: str, error: OSError | KeyFileError) -> None:
        if what != self._fault:  # once, and not each second
            log.error("%s: %s", what, error)
        self._fault = what

    def server_key(self, wall: float) -> Key:
        """Returns the coordinator's own key of a time; raises KeyFileError when it cannot be read."""
        switch_at = self.rotates_at()
        is_over = switch_at is not None and switch_at <= wall
        return Key.read(self.path / (NEXT_FILE if is_over else SERVER_FILE))

    def server_publics(self, wall: float) -> tuple[str, ...]:
        """Returns the public keys of the coordinator that a new key should know, the one of now first."""
        keys = [self.server_key(wall)]
        switch_at = self.rotates_at()
        if switch_at is not None and switch_at > wall:
            keys.append(Key.read(self.path / NEXT_FILE))
        return tuple(key.public for key in keys)

    def rotates_at(self) -> float | None:
        """Returns the wall time from which on the next key is the coordinator's; None: there is no next one."""
        try:
            content = _read(self.path / ROTATION_FILE)
        except FileNotFoundError:
            return None
        try:
            return tomllib.loads(content.decode())["at"].timestamp()  # type: ignore[no-any-return]
        except (ValueError, KeyError, AttributeError):
            raise KeyFileError(f"expected `at = <time>` in {self.path / ROTATION_FILE}") from None

    def _read_changed(self) -> bool:
        stamps = dict(self._files())
        changed = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        gone = self._stamps.keys() - stamps.keys()
        entries = {name: self._read_entry(name) for name in changed}  # all of it or, in trouble, nothing
        for name in gone:
            self._entries.pop(name, None)
            self.faults.pop(name, None)
        for name, entry in entries.items():
            self._take_entry(name, entry)
        self._stamps = stamps
        return bool(changed or gone)

    def _read_entry(self, name: str) -> KeyEntry | KeyFileError:
        """Returns an entry, or why it is none; raises KeyFileError in trouble."""
        try:
            return self.entry(name)
        except KeyFileError as error:
            if _is_trouble(error):
                raise
            return error

    def _take_entry(self, name: str, entry: KeyEntry | KeyFileError) -> None:
        self._entries.pop(name, None)
        self.faults.pop(name, None)
        if isinstance(entry, KeyFileError):
            self.faults[name] = str(entry)
            log.warning("the key of this file has no rights: %s", entry)
        else:
            self._entries[name] = entry

    def _files(self) -> Iterator[tuple[str, Stamp]]:
        with os.scandir(self.path) as found:
            for count, one in enumerate(found):
                if count > ENTRIES_MAX:
                    raise KeyFileError(f"expected at most {ENTRIES_MAX} files in {self.path}")
                if one.name.endswith(ENTRY_SUFFIX) and not one.name.startswith("."):
                    try:
                        state = one.stat(follow_symlinks=False)
                    except FileNotFoundError:  # in this moment
                        continue
                    yield one.name.removesuffix(ENTRY_SUFFIX), _stamp(state)

    def _rights_at(self, wall: float) -> dict[str, Rights]:
        """Returns the rights of all public keys that are good; one that two entries name is nobody's."""
        self._names = {}
        found: dict[str, Rights] = {}
        for entry in self._entries.values():
            for public in (entry.public, entry.previous):
                if public is None:
                    continue
                other = self._names.setdefault(public, entry.name)
                if other != entry.name:
                    log.error("keys %s and %s have the same public key, which has no rights then", other, entry.name)
                    found.pop(public, None)
                elif public in entry.publics_at(wall):
                    found[public] = entry.rights()
        return found

    def name_of(self, public: str) -> str:
        """Returns the name of a public key, good or not, for people; itself when it has none."""
        return self._names.get(public, public)

    # For whoever keeps it.

    def make(self) -> bool:
        """Makes the directory and the coordinator's own key, where they are not there; returns whether it made one."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True)
        self.check()
        is_new = not (self.path / SERVER_FILE).exists()
        if is_new:
            Key.new(SERVER_NAME, "coordinator").write(self.path / SERVER_FILE)
        return is_new

    def holder_of(self, public: str) -> str | None:
        """Returns the name of an entry that has a public key, or had it before; None: none that can be read has."""
        for name in self.names():
            with suppress(KeyFileError):
                entry = self.entry(name)
                if public in (entry.public, entry.previous):
                    return name
        return None

    def entry(self, name: str) -> KeyEntry:
        """Returns an entry as its file has it now; raises KeyFileError when it is not there or not good."""
        path = self.path_of(name)
        try:
            return read_entry(_read(path), name)
        except FileNotFoundError:
            raise KeyFileError(f"expected a key {name} in {self.path}, got none; `zq keys ls` shows them") from None
        except OSError as error:
            raise KeyFileError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise KeyFileError(f"{path}: {error}") from None

    def names(self) -> list[str]:
        """Returns the names of all entries, good or not."""
        self.check()
        return sorted(name for name, _ in self._files())

    def write(self, entry: KeyEntry, *, is_replacing: bool = False) -> None:
        """Writes an entry, whole or not at all.

        Raises:
            KeyFileError: there is one of the name already and it is not to be replaced, or it cannot be written.
        """
        self.check()
        write_private(self.path_of(entry.name), entry.text(), is_replacing=is_replacing)

    def rotate_server(self, wall: float, overlap: float) -> Key:
        """Makes the key that takes the place of the coordinator's own after some seconds; returns it.

        Raises:
            KeyFileError: the last rotation is not over.
        """
        self.check()
        switch_at = self.rotates_at()
        if switch_at is not None:
            if switch_at > wall:
                raise KeyFileError(f"the key is being rotated already: the next one holds from {time_text(switch_at)}")
            self.server_key(wall).write(self.path / SERVER_FILE, is_replacing=True)
        fresh = Key.new(SERVER_NAME, "coordinator")
        (self.path / ROTATION_FILE).unlink(missing_ok=True)
        fresh.write(self.path / NEXT_FILE, is_replacing=True)
        write_private(self.path / ROTATION_FILE, f"at = {time_text(wall + overlap)}\n", is_replacing=True)
        return fresh

    def path_of(self, name: str) -> Path:
        """Returns where an entry is; raises ValueError when nothing can be called so."""
        return self.path / (check_key_name(name) + ENTRY_SUFFIX)


def _read(path: Path) -> bytes:
    """Returns what is in a file that only its owner can have written; what is looked at is what is read."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(f"expected a file at {path}, got something else")
        _check_owner(path, found)
        if found.st_mode & OTHERS_MAY_WRITE:
            mode = stat.S_IMODE(found.st_mode)
            raise KeyFileError(
                f"expected a file that its owner alone can write, got {path} with {mode:04o}: look at it, and run "
                f"`chmod 600 {path}`"
            )
        content = file.read(ENTRY_BYTES_MAX + 1)
    if len(content) > ENTRY_BYTES_MAX:
        raise KeyFileError(f"expected at most {ENTRY_BYTES_MAX} bytes in {path}")
    return content


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)


def _is_trouble(error: OSError | KeyFileError) -> bool:
    """Whether an error tells of this machine, and not of the files."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in TROUBLES


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise KeyFileError(f"expected {path} to be of the user who runs this, or of root: it is of user {found.st_uid}")
