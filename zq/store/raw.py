"""The rows of a directory, read without LMDB: all that can be read, whatever else is broken, and what cannot, by name.

    with RawFile.open(directory) as raw:
        for row in raw.rows():
            row.table, row.key, row.stored, row.fault

A row's `fault` is None when it is whole. A page that is broken is a row, too: its fault says why, and nothing between
its `key` and its `stop` could be read; the walk goes on behind it. Whoever reads sees to it that nobody writes: by
`DirectoryHold`, or since no coordinator runs; else pages change while they are looked at, and count as broken.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from zq.core.sums import SUM_BYTES, is_whole, salt_of
from zq.core.tables import SCHEMA, SCHEMAS_BEFORE, TABLES
from zq.errors import StoreCorruptError, StoreError
from zq.store.hold import DATA_FILE
from zq.store.pages import (
    BIG_NODE,
    HEAD_BYTES_OF_PAGE,
    NO_PAGE,
    PAGE_SIZES,
    TREE_NODE,
    BrokenPageError,
    LeafNode,
    MetaPage,
    PageTree,
    check_overflow,
    free_pages_of,
    page_of,
    read_branch,
    read_leaf,
    read_meta,
    read_tree,
)
from zq.store.records import CHECKPOINT_TABLE

SUMLESS_TABLE: Final = "zq"
"""Of the store itself: its rows have no checksum."""

_TABLES: Final = (*TABLES, SUMLESS_TABLE, CHECKPOINT_TABLE)

TREE_DEPTH_MAX: Final = 32
"""Of a tree: as LMDB has it."""

MISPLACED: Final = "it is not where its key belongs"
"""The fault of a row that is whole, and lies where nobody finds it."""

_META_BYTES: Final = 4096
_LAST_COMMIT: Final = "if it was in force, what was committed last is gone"


class RawRow(NamedTuple):
    """A row as it was found, or a part of a table that could not be read.

    Attributes:
        table: its name; of what is wrong with the file itself, empty.
        key: of the row; of a part, where it begins.
        stored: all that is stored under the key, the checksum first; of a part, nothing.
        fault: why it is not to be trusted, in words; None when it is whole.
        stop: of a part, the key before which it ends, or None where it ends with the table.
        is_part: whether it is a part of a table, and not a row.
        is_lost: whether nothing of a part could be read; else all rows of it follow, in an order that LMDB trips over.
    """

    table: str
    key: bytes
    stored: bytes
    fault: str | None = None
    stop: bytes | None = None
    is_part: bool = False
    is_lost: bool = False

    @property
    def value(self) -> bytes:
        """What was stored, without its checksum."""
        return self.stored if self.table == SUMLESS_TABLE else self.stored[SUM_BYTES:]


class _Walk(NamedTuple):
    """What is known of a page before it is read: how deep it is below the root, and between which keys it lies."""

    page: int
    depth: int
    start: bytes
    stop: bytes | None


class RawFile:
    """The data file of a directory, to be read."""

    def __init__(self, number: int, name: str) -> None:
        """Takes an open file; `open` is what is called.

        Raises:
            StoreCorruptError: neither of its meta pages can be read.
        """
        self.name = name
        self.size = os.fstat(number).st_size
        self.schema = SCHEMA
        self.meta_faults: list[str] = []
        self.is_cut_off = False  # whether something that is in use, as far as was looked, is beyond the end of the file
        self._number = number
        self.meta = self._pick_meta()
        self._seen = bytearray(min(self.meta.last_page + 1, self.size // self.meta.page_bytes + 1))

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Opens the data file of a directory.

        Raises:
            StoreCorruptError: it has no meta page that can be read.
            StoreError: it is not there, or may not be read.
        """
        path = Path(directory) / DATA_FILE
        try:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        try:
            return cls(number, str(path))
        except BaseException:
            os.close(number)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._number)

    # What there is.

    def tables(self) -> dict[str, PageTree]:
        """Returns the trees of the tables by name, as far as they can be read; a row of the file for each other one is
        among `rows`.
        """
        self._forget_seen()
        found: dict[str, PageTree] = {}
        for node in self._nodes("", self.meta.main):
            if isinstance(node, LeafNode) and node.flags & TREE_NODE:
                try:
                    found[node.key.decode()] = read_tree(node.value)
                except (BrokenPageError, UnicodeDecodeError):
                    continue
        return found

    def rows(self, *, only_faults: bool = False) -> Iterator[RawRow]:
        """Yields all rows of all tables, each table's in the order of its pages, with what cannot be read between; or
        what has a fault alone.
        """
        for text in self.meta_faults:
            yield RawRow("", b"", b"", text, is_part=True, is_lost=True)
        if self.size < self.meta.bytes_min:  # pages at its end that were never used may be missing
            for _ in self._all_rows(True):
                pass
            if self.is_cut_off:
                yield RawRow("", b"", b"", self.about_size, is_part=True)
        yield from self._all_rows(only_faults)

    def _all_rows(self, only_faults: bool) -> Iterator[RawRow]:
        self._forget_seen()
        trees: list[tuple[str, PageTree]] = []
        for node in self._nodes("", self.meta.main):
            if isinstance(node, RawRow):
                yield node._replace(fault=f"the list of tables: {node.fault}")
                continue
            try:
                name, tree = node.key.decode(), self._tree_of(node)
            except (BrokenPageError, UnicodeDecodeError) as error:
                yield RawRow("", node.key, node.value, f"table {node.key!r}: {error}", is_part=True, is_lost=True)
                continue
            if tree.is_odd or (trees and name <= trees[-1][0]):
                text = f"the list of tables: {name} is not where it belongs, or of a kind that is not written here"
                yield RawRow("", node.key, b"", text, is_part=True)
            trees.append((name, tree))
        trees.sort(key=lambda one: one[0] != SUMLESS_TABLE)  # it says which checksums the others have
        for table, tree in trees:
            if table == SUMLESS_TABLE:
                self.schema = self._read_schema(tree)
            name = self._name_by_rows(table, tree)
            if name != table:
                yield RawRow("", table.encode(), b"", f"table {table} is {name}, by its checksums", is_part=True)
            yield from self.rows_of(name, tree, only_faults=only_faults)
        yield from self._free_faults()

    def _name_by_rows(self, table: str, tree: PageTree) -> str:
        """Returns the name of a table, which may have been changed where it is written: its checksums know it."""
        if table in _TABLES or self.schema != SCHEMA:
            return table
        taken = self._seen.copy()
        nodes = (node for node in self._nodes(table, tree) if isinstance(node, LeafNode) and not node.flags)
        first = next(nodes, None)
        self._seen = taken
        if first is None:
            return table
        return next((name for name in _TABLES if is_whole(salt_of(name), first.key, first.value)), table)

    def stray_rows(self, tables: Iterable[str]) -> Iterator[RawRow]:
        """Yields whole rows on pages that nothing leads to, after `rows` has gone by all that it could: whose table is
        told by their checksums. Where the list of free pages is lost, too, some may be of long before.
        """
        salts = [(table, salt_of(table)) for table in tables]
        for page in range(2, len(self._seen)):
            if self._seen[page]:
                continue
            try:
                nodes = read_leaf(self._read(page), page)
            except BrokenPageError:
                continue
            for node in nodes:
                try:
                    stored = (
                        self._read_big(page_of(node.value), node.value_bytes) if node.flags & BIG_NODE else node.value
                    )
                except BrokenPageError:
                    continue
                table = next((table for table, salt in salts if is_whole(salt, node.key, stored, self.schema)), None)
                if table is not None:
                    yield RawRow(table, node.key, stored)

    @property
    def about_size(self) -> str:
        """How long the file is, and how long it was."""
        return f"it has {self.size} bytes, and its meta page speaks of {self.meta.bytes_min}: it was cut off"

    def rows_of(self, table: str, tree: PageTree, *, only_faults: bool = False) -> Iterator[RawRow]:
        """Yields the rows of a table, as `rows` does."""
        salt, has_sum = salt_of(table), table != SUMLESS_TABLE
        schema = self.schema
        carried = self._is_carried
        last = b""
        count, is_torn = 0, False
        for node in self._nodes(table, tree):
            if isinstance(node, RawRow):
                is_torn = is_torn or node.is_lost
                yield node
                continue
            count += 1
            key, flags, stored, size = node
            fault = None
            if flags & BIG_NODE:
                try:
                    stored = self._read_big(page_of(stored), size)
                except BrokenPageError as error:
                    is_torn = True
                    text = f"page {page_of(stored)}: {error}"
                    yield RawRow(table, key, b"", text, key + b"\0", is_part=True, is_lost=True)
                    continue
            if fault is None and has_sum and not is_whole(salt, key, stored, schema):
                is_carried = carried and is_whole(salt, key, stored)
                fault = None if is_carried else "it does not match its checksum"
            if fault is None:
                if key <= last:
                    fault = MISPLACED
                else:
                    last = key
            if fault is not None or not only_faults:
                yield RawRow(table, key, stored, fault)
        if count != tree.entries and not is_torn:
            text = f"it has {count} rows, and its tree speaks of {tree.entries}"
            yield RawRow(table, b"", b"", text, is_part=True, is_lost=count < tree.entries)

    @property
    def _is_carried(self) -> bool:
        return self.schema != SCHEMA

    # Pages.

    def _read(self, page: int, count: int = 1) -> bytes:
        size = self.meta.page_bytes
        return os.pread(self._number, count * size, page * size)

    def _pick_meta(self) -> MetaPage:
        data = os.pread(self._number, _META_BYTES, 0)
        found: list[MetaPage] = []
        try:
            found.append(read_meta(data))
            sizes: tuple[int, ...] = (found[0].page_bytes,)
        except BrokenPageError as error:
            self.meta_faults.append(f"meta page 0: {error}; {_LAST_COMMIT}")
            sizes = PAGE_SIZES
        for size in sizes:
            try:
                second = read_meta(os.pread(self._number, _META_BYTES, size))
            except BrokenPageError as error:
                trouble = f"meta page 1: {error}; {_LAST_COMMIT}"
                continue
            if second.page_bytes == size:
                found.append(second)
                break
        else:
            self.meta_faults.append(trouble if len(sizes) == 1 else f"meta page 1: not found; {_LAST_COMMIT}")
        if not found:
            raise StoreCorruptError(
                f"{self.name} has no meta page that can be read ({self.size} bytes): it is no file of LMDB, or both of them "
                "are damaged. Restore a backup of the whole directory"
            )
        return max(found, key=lambda one: one.transaction)

    def _forget_seen(self) -> None:
        self._seen = bytearray(len(self._seen))

    def _take(self, page: int, count: int = 1) -> None:
        """Notes that pages are in use; raises BrokenPageError when they cannot be, or are already."""
        if not 2 <= page <= page + count - 1 <= self.meta.last_page:
            raise BrokenPageError("there is no such page")
        if page + count > len(self._seen):
            self.is_cut_off = True
            raise BrokenPageError("it is beyond the end of the file")
        if any(self._seen[page : page + count]):
            raise BrokenPageError("it is in use by something else, too")
        self._seen[page : page + count] = b"\1" * count

    def _nodes(self, table: str, tree: PageTree) -> Iterator[LeafNode | RawRow]:
        """Yields the entries of a tree from left to right, and the parts that cannot be read."""
        if tree.root == NO_PAGE:
            return
        if not 1 <= tree.depth <= TREE_DEPTH_MAX:
            yield RawRow(table, b"", b"", f"its tree is {tree.depth} deep", is_part=True, is_lost=True)
            return
        todo = [_Walk(tree.root, 1, b"", None)]
        while todo:
            one = todo.pop()
            try:
                self._take(one.page)
                page = self._read(one.page)
                if one.depth == tree.depth:
                    nodes = read_leaf(page, one.page)
                else:
                    todo += reversed(_below(read_branch(page, one.page), one))
                    continue
            except BrokenPageError as error:
                yield _lost(table, one, str(error))
                continue
            if nodes and (nodes[0].key < one.start or (one.stop is not None and nodes[-1].key >= one.stop)):
                text = f"page {one.page}: its keys are not those that lead to it"
                yield RawRow(table, one.start, b"", text, one.stop, is_part=True)
            yield from nodes

    def _read_big(self, page: int, size: int) -> bytes:
        head = self._read(page) if page <= self.meta.last_page else b""
        count = check_overflow(head, page, size, self.meta.page_bytes)
        self._take(page, count)
        found = self._read(page, count)[HEAD_BYTES_OF_PAGE : HEAD_BYTES_OF_PAGE + size]
        if len(found) != size:
            raise BrokenPageError("it is cut off")
        return found

    def _tree_of(self, node: LeafNode) -> PageTree:
        if not node.flags & TREE_NODE:
            raise BrokenPageError("it is no table")
        return read_tree(node.value)

    def _read_schema(self, tree: PageTree) -> int:
        taken = self._seen.copy()
        found = {node.key: node.value for node in self._nodes(SUMLESS_TABLE, tree) if isinstance(node, LeafNode)}
        self._seen = taken
        text: Any = found.get(b"schema", b"%d" % SCHEMA)
        first = text.partition(b">")[0]
        return int(first) if first.isdigit() and int(first) in SCHEMAS_BEFORE else SCHEMA

    def _free_faults(self) -> Iterator[RawRow]:
        """Yields what is wrong with the list of free pages: one that is in use would be written over."""
        for node in self._nodes("", self.meta.free):
            if isinstance(node, RawRow):
                yield node._replace(fault=f"the list of free pages: {node.fault}", is_lost=False)
                continue
            try:
                value = self._read_big(page_of(node.value), node.value_bytes) if node.flags & BIG_NODE else node.value
                for page in free_pages_of(value):
                    if page < len(self._seen) or page > self.meta.last_page:  # nothing was ever written in those behind
                        self._take(page)
            except BrokenPageError as error:
                text = f"the list of free pages: {error}"
                yield RawRow("", node.key, b"", text, is_part=True)


def _below(entries: list[tuple[bytes, int]], above: _Walk) -> list[_Walk]:
    """Returns what is known of the pages below a branch."""
    starts = [above.start, *(key for key, _ in entries[1:])]
    stops = [*starts[1:], above.stop]
    for start, stop in zip(starts, stops, strict=True):
        if stop is not None and start >= stop:
            raise BrokenPageError("its keys are not in order")
    depth = above.depth + 1
    return [_Walk(page, depth, start, stop) for (_, page), start, stop in zip(entries, starts, stops, strict=True)]


def _lost(table: str, one: _Walk, why: str) -> RawRow:
    return RawRow(table, one.start, b"", f"page {one.page}: {why}", one.stop, is_part=True, is_lost=True)
