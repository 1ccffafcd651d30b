"""What strace saw of a directory, as calls that change a disk (`tests.images.disk`), and marks between them.

strace is run with `-f -y -xx`: descriptors come with their paths, and all strings are escaped, so no byte of theirs can
be taken for a part of the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tests.images.disk import Disk, Write

CALLS = (
    "open,openat,openat2,creat,pwrite64,pwritev,pwritev2,write,writev,lseek,fdatasync,fsync,sync,syncfs,sync_file_range,"
    "ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,symlink,symlinkat,"
    "mmap,msync,sendfile,copy_file_range,splice"
)
"""All that could change a file; those that nobody makes are here so that it is noticed if somebody begins to."""

STRING_BYTES = 1 << 26
"""Of a string that strace shows; no call may write more."""

UNSHARED = frozenset({"lock.mdb"})
"""Files that are written through memory: they are nobody's after a start, and may hold anything."""


class Call(NamedTuple):
    """A call, as a line of strace has it: arguments are text, up to the result."""

    name: str
    arguments: str
    result: str


class Mark(NamedTuple):
    """What the program wrote down of itself at this place."""

    data: bytes


def read_calls(lines: Iterable[str]) -> Iterator[Call]:
    """Yields calls in the order in which they were made; those that flush in the order in which they returned."""
    slots: list[Call | None] = []
    open_calls: dict[str, tuple[int, str]] = {}
    for line in lines:
        process, _, text = line.rstrip("\n").partition(" ")
        text = text.lstrip()
        if text.startswith(("+++", "---")):
            continue
        if text.startswith("<... "):
            slot, begun = open_calls.pop(process)
            call = _read(begun + text[text.index(" resumed>") + len(" resumed>") :])
            if "sync" in call.name:
                slots.append(call)
            else:
                slots[slot] = call
        elif text.endswith("<unfinished ...>"):
            open_calls[process] = len(slots), text.removesuffix("<unfinished ...>").rstrip()
            slots.append(None)
        else:
            slots.append(_read(text))
    for slot, begun in open_calls.values():  # the process was killed in it
        slots[slot] = _read(f"{begun}) = ?")
    return (call for call in slots if call is not None)


def _read(text: str) -> Call:
    name, _, rest = text.partition("(")
    arguments, _, result = rest.rpartition(" = ")
    return Call(name, arguments.rstrip().removesuffix(")"), result.strip())


class Player:
    """Carries out calls on a disk, one after the other, and yields the marks among them."""

    def __init__(self, directory: Path, marks: Path) -> None:
        """Args: the directory that is recorded, and the file of the marks, both absolute."""
        self.disk = Disk()
        self._directory = str(directory)
        self._parent = str(directory.parent)
        self._marks = str(marks)
        self._places: dict[tuple[str, str], int] = {}  # by descriptor and path: where the next write goes
        self._synchronous: set[tuple[str, str]] = set()

    def play(self, calls: Iterable[Call]) -> Iterator[Mark | None]:
        """Yields after each call that had to do with the directory: a mark, or None."""
        for call in calls:
            if call.result.startswith("-1") or (call.result.startswith("?") and "write" not in call.name):
                continue
            if call.name in ("write", "pwrite64") and _path_of(call.arguments)[1] == self._marks:
                yield Mark(_strings(call.arguments)[0])
            elif self._concerns(call):
                self._carry_out(call)
                yield None

    def _concerns(self, call: Call) -> bool:
        found = _paths(call.arguments + call.result)
        return any(path == self._parent or path.startswith(self._directory) for path in found)

    def _carry_out(self, call: Call) -> None:
        name, arguments, result = call
        match name:
            case "openat" | "open":
                self._open(arguments, result)
            case "mkdir" if _strings(arguments)[0].decode() == self._directory:
                self.disk.make()
            case "unlink" | "unlinkat" if "AT_REMOVEDIR" not in arguments:
                path = _named_path(arguments)
                if path.startswith(self._directory + "/"):
                    self.disk.unlink(self._name(path))
            case "rename" | "renameat" | "renameat2":
                old, new = (self._name(one.decode()) for one in _strings(arguments)[-2:])
                self.disk.rename(old, new)
            case _:
                self._change_file(call)

    def _open(self, arguments: str, result: str) -> None:
        descriptor, path = _path_of(result)
        if "O_TMPFILE" in arguments or not path.startswith(self._directory + "/"):
            return
        inode = self.disk.create(self._name(path)) if "O_CREAT" in arguments else self.disk.names[self._name(path)]
        if "O_TRUNC" in arguments and inode.length:
            inode.pending.append(Write(0, None))
        if "O_APPEND" in arguments:
            raise NotImplementedError(f"a file that is opened for appending: {path}")
        self._places[descriptor, path] = 0
        self._synchronous.discard((descriptor, path))
        if "O_DSYNC" in arguments or "O_SYNC" in arguments:
            self._synchronous.add((descriptor, path))

    def _change_file(self, call: Call) -> None:
        name, arguments, result = call
        key = _path_of(arguments)
        path = key[1]
        if path.endswith("(deleted)"):
            return
        if "sync" in name:
            self._flush(name, path)
            return
        if name == "mmap":
            self._check_map(arguments)
            return
        if not path.startswith(self._directory + "/"):
            return
        inode = self.disk.names[self._name(path)]
        numbers = [int(one) for one in re.findall(r", (\d+)(?=,|$)", _without_strings(arguments))]
        match name:
            case "lseek":
                self._places[key] = int(result)
            case "ftruncate":
                inode.pending.append(Write(numbers[0], None))
            case "write" | "writev":
                data = _written(arguments, result)
                self._write(key, self._places[key], data)
                self._places[key] += len(data)
            case "pwrite64" | "pwritev":
                self._write(key, numbers[-1], _written(arguments, result))
            case "fallocate" if "FALLOC_FL_KEEP_SIZE" in arguments:  # takes room, and changes nothing of the file
                pass
            case _:
                raise NotImplementedError(f"{name} on {path}")

    def _write(self, key: tuple[str, str], place: int, data: bytes) -> None:
        inode = self.disk.names[self._name(key[1])]
        if key in self._synchronous:
            inode.flush_write(Write(place, data))
        else:
            inode.pending.append(Write(place, data))

    def _flush(self, name: str, path: str) -> None:
        if name not in ("fsync", "fdatasync"):
            raise NotImplementedError(name)
        if path == self._directory:
            self.disk.flush_names()
        elif path == self._parent:
            self.disk.flush_parent()
        else:
            self.disk.names[self._name(path)].flush()

    def _check_map(self, arguments: str) -> None:
        path = next(iter(_paths(arguments)), "")
        is_ours = path.startswith(self._directory + "/") and self._name(path) not in UNSHARED
        if is_ours and "PROT_WRITE" in arguments and "MAP_SHARED" in arguments:
            raise NotImplementedError(f"{path} is written through memory")

    def _name(self, path: str) -> str:
        name = path.removeprefix(self._directory + "/")
        if "/" in name:
            raise NotImplementedError(f"a path that is not in the directory: {path}")
        return name


# Parts of a line.


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _path_of(text: str) -> tuple[str, str]:
    """Returns a descriptor and its path, with which an argument or a result begins."""
    descriptor, _, rest = text.partition("<")
    path, _, _ = rest.partition(">")
    return descriptor, _unescape(path).decode() if path.startswith("\\x") else path


def _named_path(arguments: str) -> str:
    """Returns the path of a call that has one, which may be that of a name in a directory that has a descriptor."""
    folder = _path_of(arguments)[1] if "<" in arguments.partition('"')[0] else ""
    return str(PurePosixPath(folder, _strings(arguments)[-1].decode()))


def _paths(text: str) -> list[str]:
    """Returns all paths in a text: those of descriptors, and strings that are short enough for one."""
    bracketed = [_unescape(one).decode(errors="replace") for one in re.findall(r"<((?:\\x[0-9a-f]{2})+)>", text[:4000])]
    bracketed += [
        _unescape(one).decode(errors="replace") for one in re.findall(r"<((?:\\x[0-9a-f]{2})+)>", text[-4000:])
    ]
    strings = (
        [one.decode(errors="replace") for one in _strings(text) if one.startswith(b"/")] if len(text) < 20_000 else []
    )
    return [*bracketed, *strings]


def _strings(text: str) -> list[bytes]:
    """Returns all strings; escaped as they are, there is no quote in one."""
    parts = text.split('"')
    if any(part.startswith("...") for part in parts[2::2]):
        raise ValueError("strace has cut a string off: a call writes more than it was told to show")
    return [_unescape(one) for one in parts[1::2]]


def _without_strings(text: str) -> str:
    return "".join(text.split('"')[::2])


def _written(arguments: str, result: str) -> bytes:
    """Returns what a call has written; all that it should, if the process was killed in it."""
    data = b"".join(_strings(arguments))
    return data if result.startswith("?") else data[: int(result.split(maxsplit=1)[0])]
