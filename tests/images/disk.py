"""What a power cut may leave of a directory, from the system calls that came before it.

The model. A file's data is in *sectors* of 512 bytes, each of which a disk writes as a whole or not. What was flushed
(fdatasync, fsync, or a write through a descriptor opened with O_DSYNC) is there. Of what was written since, any sectors
are there and any are not, and each that is there is as it was at some moment between two of the writes; nothing is said
of their order, nor of one file beside another. The length of a file that grew is the old one, one that what is left
needs, or the new one, and what was not written of it is zeros. Names are there when the directory was flushed, and a
directory when the one that names it was; of what was made, renamed and removed since, any is there, in the order in
which it happened to a name.

Stricter than disks are, a write to a file of which nothing says that it counts on whole sectors may also be cut at any
byte. LMDB counts on them: its page that makes a commit current has no checksum.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

SECTOR = 512

SECTORED = frozenset({"data.mdb", "lock.mdb"})
"""Files that count on it that a sector is written as a whole, or not."""

CARELESS = frozenset({"lock", "lock.mdb"})
"""Files in which nothing is that must survive: they may be lost, and nothing is lost by that."""


class Write(NamedTuple):
    """Bytes written at a place; a truncation has none, and says the new length by its place."""

    place: int
    data: bytes | None

    @property
    def end(self) -> int:
        return self.place + len(self.data or b"")


@dataclass
class Inode:
    """A file: what of it is safe, and what was written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Bytes that it has for whoever reads it now."""
        length = len(self.durable)
        for one in self.pending:
            length = one.place if one.data is None else max(length, one.end)
        return length

    def content(self) -> bytes:
        """Returns what whoever reads it now sees."""
        return bytes(_applied(self.durable, self.pending))

    def flush(self) -> None:
        for one in self.pending:
            _apply(self.durable, one)
        self.pending = []

    def flush_write(self, write: Write) -> None:
        """Adds a write that is flushed when it returns, which says nothing of those before it elsewhere."""
        if any(_overlaps(one, write) for one in self.pending):
            raise NotImplementedError("a synchronous write over what was not flushed")
        _apply(self.durable, write)


class NameChange(NamedTuple):
    """What happened to names of the directory: each now has that file, or none."""

    names: tuple[tuple[str, Inode | None], ...]


class Image(NamedTuple):
    """What a power cut left, and what it took.

    Attributes:
        files: by name; None: the directory is not there.
        is_whole: nothing was lost of what was written, but in files that do not matter.
        draws: by file that matters, what was drawn of what was not flushed.
    """

    files: dict[str, bytes] | None
    is_whole: bool
    draws: dict[str, str]


class Disk:
    """A directory as the system calls make it, and what a power cut would leave of it."""

    def __init__(self) -> None:
        self.is_made = False
        self.is_found = False  # its own name is flushed
        self.names: dict[str, Inode] = {}  # as whoever looks now sees them
        self.durable_names: dict[str, Inode] = {}
        self.changes: list[NameChange] = []  # since the directory was flushed

    # What happens.

    def make(self) -> None:
        self.is_made = True

    def flush_parent(self) -> None:
        self.is_found = self.is_made

    def create(self, name: str) -> Inode:
        """Opens a file that may have to be made."""
        if name not in self.names:
            self._change((name, Inode()))
        return self.names[name]

    def unlink(self, name: str) -> None:
        self._change((name, None))

    def rename(self, name: str, to: str) -> None:
        self._change((to, self.names[name]), (name, None))

    def flush_names(self) -> None:
        self.durable_names = dict(self.names)
        self.changes = []

    def _change(self, *names: tuple[str, Inode | None]) -> None:
        self.changes.append(NameChange(names))
        _rename(self.names, self.changes[-1])

    @property
    def is_safe(self) -> bool:
        """Whether a power cut would take nothing."""
        return not self.unsafe

    @property
    def unsafe(self) -> tuple[str, ...]:
        """What a power cut might take: files, and names of which something is not flushed; "" is that of it all."""
        named = {name for change in self.changes for name, _ in change.names}
        written = {name for name, inode in self.names.items() if inode.pending}
        whole = () if self.is_found or not self.is_made else ("",)
        return (*whole, *sorted(named - CARELESS), *sorted(written - CARELESS))

    # What may be left.

    def draw(self, rng: random.Random) -> Image:
        """Draws one of the states in which a power cut may leave all this."""
        if not self.is_made or (not self.is_found and rng.random() < 0.5):
            return Image(None, not self.is_made, {"directory": "lost"})
        names = self._draw_names(rng)
        draws, files = {}, {}
        for name, inode in names.items():
            files[name], draw = _draw_content(rng, inode, is_sectored=name in SECTORED)
            if draw and name not in CARELESS:
                draws[name] = draw
        for name in self.names.keys() ^ names.keys():
            if name not in CARELESS:
                draws[name] = "lost" if name in self.names else "still there"
        counted = self.names.keys() - CARELESS
        is_whole = counted == names.keys() - CARELESS and all(
            files[name] == self.names[name].content() for name in counted
        )
        return Image(files, is_whole, draws)

    def _draw_names(self, rng: random.Random) -> dict[str, Inode]:
        """Returns names of which any that nothing else was renamed with may be older than the others."""
        groups: list[tuple[set[str], list[NameChange]]] = []
        for change in self.changes:
            names = {name for name, _ in change.names}
            touched = [one for one in groups if one[0] & names]
            merged = names.union(*(one[0] for one in touched))
            of_them = [one for group in touched for one in group[1]]
            groups = [one for one in groups if one not in touched]
            groups.append((merged, [*of_them, change]))
        found = dict(self.durable_names)
        for _, changes in groups:
            count = rng.choice((0, len(changes), len(changes), rng.randint(0, len(changes))))
            for change in changes[:count]:
                _rename(found, change)
        return found


def _rename(names: dict[str, Inode], change: NameChange) -> None:
    for name, inode in change.names:
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


# The content of a file.


def _apply(content: bytearray, write: Write) -> None:
    place, data = write
    if data is None:
        del content[place:]
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    if data is not None:
        content[place : place + len(data)] = data


def _applied(content: bytearray, writes: list[Write]) -> bytearray:
    copy = bytearray(content)
    for one in writes:
        _apply(copy, one)
    return copy


def _overlaps(one: Write, other: Write) -> bool:
    return one.data is None or (one.place < other.end and other.place < one.end)


def _draw_content(rng: random.Random, inode: Inode, *, is_sectored: bool) -> tuple[bytes, str]:
    """Returns what may be left of a file, and the draw in words, if there was anything to draw."""
    if not inode.pending:
        return bytes(inode.durable), ""
    if any(one.data is None for one in inode.pending):  # lengths change in the order in which they were changed
        count = rng.randint(0, len(inode.pending))
        return bytes(_applied(inode.durable, inode.pending[:count])), "first"
    style = rng.choice(_STYLES if is_sectored else (*_STYLES, "cut", "cut"))
    content = _draw_style(rng, inode, style)
    if len(content) < inode.length and rng.random() < 0.5:
        style += ", at its new length"
        content.extend(bytes(inode.length - len(content)))
    return bytes(content), style


_STYLES = ("none", "some", "some", "first", "first", "sectors", "sectors", "but one", "all")


def _draw_style(rng: random.Random, inode: Inode, style: str) -> bytearray:
    writes = inode.pending
    match style:
        case "none":
            return bytearray(inode.durable)
        case "all":
            return _applied(inode.durable, writes)
        case "first":
            return _applied(inode.durable, writes[: rng.randint(0, len(writes))])
        case "cut":
            return _cut(rng, inode)
        case "some":
            kept = [rng.random() < 0.5 for _ in writes]
            return _sectors_left(inode, lambda number, sector: kept[number])
        case "but one":
            lost = rng.randrange(len(writes))
            return _sectors_left(inode, lambda number, sector: number != lost)
        case _:
            share = rng.choice((0.1, 0.5, 0.9))
            return _sectors_left(inode, lambda number, sector: rng.random() < share)


def _cut(rng: random.Random, inode: Inode) -> bytearray:
    """Keeps what came before one of the writes, and of that one so many bytes."""
    number = rng.randrange(len(inode.pending))
    place, data = inode.pending[number]
    assert data is not None
    return _applied(inode.durable, [*inode.pending[:number], Write(place, data[: rng.randint(0, len(data))])])


def _sectors_left(inode: Inode, is_left: Callable[[int, int], bool]) -> bytearray:
    """Keeps sectors of writes, and with a sector what was written to it before."""
    newest: dict[int, int] = {}  # by sector, the last write that is in it
    for number, one in enumerate(inode.pending):
        for sector in range(one.place // SECTOR, -(-one.end // SECTOR)):
            if is_left(number, sector):
                newest[sector] = number
    content = bytearray(inode.durable)
    for number, (place, data) in enumerate(inode.pending):
        assert data is not None
        end = place + len(data)
        for sector in range(place // SECTOR, -(-end // SECTOR)):
            if newest.get(sector, -1) >= number:
                low, high = max(place, sector * SECTOR), min(end, (sector + 1) * SECTOR)
                _apply(content, Write(low, data[low - place : high - place]))
    return content
