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
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from zq.core.sums import SCHEMAS_OF_VALUES, SUM_BYTES, is_whole, salt_of
from zq.core.tables import SCHEMA, TABLES
from zq.errors import StoreCorruptError, StoreError
from zq.store.carrying import INFO_TABLE, PLACE_KEY, SCHEMA_KEY, SEALED_KEY, readable, schema_rows, schema_told
from zq.store.hold import DATA_FILE
from zq.store.pages import (
    BIG_NODE,
    HEAD_BYTES_OF_PAGE,
    META_BYTES,
    NO_PAGE,
    TREE_NODE,
    BrokenPageError,
    LeafNode,
    MetaPage,
    PageTree,
    PageWalk,
    check_overflow,
    find_metas,
    free_pages_of,
    page_of,
    pages_below,
    read_branch,
    read_leaf,
    read_tree,
)
from zq.store.records import CHECKPOINT_TABLE

_TABLES: Final = (*TABLES, INFO_TABLE, CHECKPOINT_TABLE)

TREE_DEPTH_MAX: Final = 32
"""Of a tree: as LMDB has it."""

MISPLACED: Final = "it is not where its key belongs"
"""The fault of a row that is whole, and lies where nobody finds it."""

LIST_OF_TABLES: Final = "the list of tables"
"""How a fault begins that is of it."""

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
        is_lost: whether some of a part could not be read, or all of it; else all rows of it follow, in an order that
            LMDB trips over.
        right: of a row that is not whole, key and what is stored of the one that belongs there, where that is known.
    """

    table: str
    key: bytes
    stored: bytes
    fault: str | None = None
    stop: bytes | None = None
    is_part: bool = False
    is_lost: bool = False
    right: tuple[bytes, bytes] | None = None

    @property
    def value(self) -> bytes:
        """What was stored, without its checksum."""
        return self.stored if self.table == INFO_TABLE else self.stored[SUM_BYTES:]


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
        self.schema_text: bytes | None = None  # as it is stored, or the checksums tell it, once a row was read
        self.meta_faults: list[str] = []
        self.has_all_tables = False
        self.is_cut_off = False  # whether something that is in use, as far as was looked, is beyond the end of the file
        self._walked = [0, 0, 0]  # branches, leaves and pages of long values of the tree that is read
        self._spare: list[tuple[int, int]] = []  # pages that long values have and do not take: the first, how many
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
        yield from self._meta_rows()
        if self.size < self.meta.bytes_min:  # pages at its end that were never used may be missing
            for _ in self._all_rows(True):
                pass
            if self.is_cut_off:
                yield RawRow("", b"", b"", self.about_size, is_part=True)
        yield from self._all_rows(only_faults)

    def first_faults(self) -> Iterator[RawRow]:
        """Yields what is wrong with the file itself, its list of tables, and what it says of its schema, which is some
        pages however large it is.
        """
        yield from self._meta_rows()
        for table, tree in (yield from self._list_of_tables()):
            if table == INFO_TABLE:
                yield from self.rows_of(table, tree, only_faults=True)

    def _meta_rows(self) -> Iterator[RawRow]:
        for text in self.meta_faults:
            yield RawRow("", b"", b"", text, is_part=True, is_lost=True)

    def _all_rows(self, only_faults: bool) -> Iterator[RawRow]:
        for table, tree in (yield from self._list_of_tables()):
            name = self._name_by_rows(table, tree)
            if name != table:
                yield RawRow("", table.encode(), b"", f"table {table} is {name}, by its checksums", is_part=True)
            yield from self.rows_of(name, tree, only_faults=only_faults)
        yield from self._free_faults()
        yield from self._spare_faults()

    def _list_of_tables(self) -> Generator[RawRow, None, list[tuple[str, PageTree]]]:
        """Yields what is wrong with the list of tables, and returns it; learns the schema."""
        self._forget_seen()
        trees: list[tuple[str, PageTree]] = []
        lost: list[RawRow] = []
        names: set[str] = set()
        for node in self._nodes("", self.meta.main):
            if isinstance(node, RawRow):
                lost.append(node._replace(fault=f"{LIST_OF_TABLES}: {node.fault}"))
                continue
            names.add(node.key.decode(errors="replace"))
            try:
                name, tree = node.key.decode(), read_tree(node.value if node.flags & TREE_NODE else b"")
            except (BrokenPageError, UnicodeDecodeError) as error:
                yield RawRow("", node.key, node.value, f"table {node.key!r}: {error}", is_part=True, is_lost=True)
                continue
            is_odd = tree.is_odd or tree.pages + tree.overflow_pages > self.meta.last_page
            if is_odd or (trees and name <= trees[-1][0]):
                text = f"{LIST_OF_TABLES}: {name} is not where it belongs, or of a kind that is not written here"
                yield RawRow("", node.key, b"", text, is_part=True)
            trees.append((name, tree))
        self.has_all_tables = names.issuperset(_TABLES)  # whatever its page has more than it needs
        yield from (row._replace(is_lost=row.is_lost and not self.has_all_tables) for row in lost)
        self._learn_schema(trees)
        return trees

    def _name_by_rows(self, table: str, tree: PageTree) -> str:
        """Returns the name of a table, which may have been changed where it is written: its checksums know it."""
        if table in _TABLES:
            return table
        first = next(self._peek(table, tree), None)
        if first is None:
            return table
        if first.key in (SCHEMA_KEY, PLACE_KEY):
            return INFO_TABLE
        return next((name for name in _TABLES if is_whole(salt_of(name), first.key, first.value, self.schema)), table)

    def _peek(self, table: str, tree: PageTree) -> Iterator[LeafNode]:
        """Yields the entries of a table, as far as they can be read; what is read counts as not looked at."""
        taken = self._seen.copy()
        try:
            for node in self._nodes(table, tree):
                if isinstance(node, LeafNode) and not node.flags:
                    yield node
        finally:
            self._seen = taken

    def _learn_schema(self, trees: list[tuple[str, PageTree]]) -> None:
        """Learns of which schema the rows are: from what is written of it, or from the checksums that they have."""
        said: dict[bytes, bytes] = {}
        for table, tree in trees:
            if self._name_by_rows(table, tree) == INFO_TABLE:
                rows = [
                    (node.key, node.value) for node in self._peek(table, tree)
                ]  # of another name, by checksum alone
                said.update(row for row in rows if table == INFO_TABLE or row[0] == SEALED_KEY)
        text = schema_told(said.get(SCHEMA_KEY), said.get(SEALED_KEY))
        self.schema_text = self._schema_by_rows(trees) if text is None else text
        self.schema = readable(self.schema_text or b"") or SCHEMA

    def _schema_by_rows(self, trees: list[tuple[str, PageTree]]) -> bytes | None:
        old, new = False, False
        for table, tree in trees:
            if table in _TABLES and table != INFO_TABLE:
                salt = salt_of(table)
                for node in self._peek(table, tree):
                    is_new = is_whole(salt, node.key, node.value)
                    new = new or is_new
                    old = old or (not is_new and is_whole(salt, node.key, node.value, SCHEMAS_OF_VALUES[-1]))
        if not old:
            return b"%d" % SCHEMA if new else None
        return b"%d>%d" % (SCHEMAS_OF_VALUES[-1], SCHEMA) if new else b"%d" % SCHEMAS_OF_VALUES[-1]

    def stray_rows(self, tables: Iterable[str]) -> Iterator[RawRow]:
        """Yields whole rows on pages that nothing leads to, after `rows` has gone by all that it could: whose table is
        told by their checksums. Where the list of free pages is lost, too, some may be of long before.
        """
        salts = [(table, salt_of(table)) for table in tables]
        for page in range(2, len(self._seen)):
            if self._seen[page]:
                continue
            try:
                nodes, _ = read_leaf(self._read(page), page)
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
        salt, has_sum, schema = salt_of(table), table != INFO_TABLE, self.schema
        last = b""
        count, is_torn = 0, False
        self._walked = [0, 0, 0]
        for node in self._nodes(table, tree):
            if isinstance(node, RawRow):
                is_torn = is_torn or node.is_lost
                yield node
                continue
            count += 1
            key, flags, stored, size = node
            if flags & BIG_NODE:
                try:
                    stored = self._read_big(page_of(stored), size)
                except BrokenPageError as error:
                    is_torn = True
                    text = f"page {page_of(stored)}: {error}"
                    yield RawRow(table, key, b"", text, key + b"\0", is_part=True, is_lost=True)
                    continue
            fault = right = None
            if not has_sum:
                fault, right = self._fault_of_schema(key, stored)
            elif not is_whole(salt, key, stored, schema) and not (schema != SCHEMA and is_whole(salt, key, stored)):
                fault = "it does not match its checksum"
            if fault is None:
                if key <= last:
                    fault = MISPLACED
                else:
                    last = key
            if fault is not None or not only_faults:
                yield RawRow(table, key, stored, fault, right=right)
        if is_torn:
            return
        pages = [tree.branch_pages, tree.leaf_pages, tree.overflow_pages]
        if count != tree.entries or pages != self._walked:
            text = f"it has {count} rows on {self._walked} pages, and its tree speaks of {tree.entries} on {pages}"
            yield RawRow(table, b"", b"", text, is_part=True, is_lost=count < tree.entries)

    def _fault_of_schema(self, key: bytes, stored: bytes) -> tuple[str | None, tuple[bytes, bytes] | None]:
        """Returns what is wrong with a row of INFO_TABLE, and what is right."""
        rows = schema_rows(self.schema_text or b"%d" % SCHEMA)
        if key == PLACE_KEY or rows.get(key) == stored:
            return None, None
        right = SCHEMA_KEY if key not in rows else key
        return "it does not say which schema the other rows are of", (right, rows[right])

    # Pages.

    def _read(self, page: int, count: int = 1) -> bytes:
        size = self.meta.page_bytes
        return os.pread(self._number, count * size, page * size)

    def _pick_meta(self) -> MetaPage:
        found, faults = find_metas(lambda at: os.pread(self._number, META_BYTES, at))
        self.meta_faults += [f"{text}; {_LAST_COMMIT}" for text in faults]
        if not found:
            raise StoreCorruptError(
                f"{self.name} has no meta page that can be read ({self.size} bytes): it is no file of LMDB, or both of them "
                "are damaged. Restore a backup of the whole directory"
            )
        return max(found, key=lambda one: one.transaction)

    def _forget_seen(self) -> None:
        self._seen = bytearray(len(self._seen))
        self._spare.clear()

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
        todo = [PageWalk(tree.root, 1, b"", None)]
        while todo:
            one = todo.pop()
            try:
                self._take(one.page)
                page = self._read(one.page)
                if one.depth == tree.depth:
                    nodes, is_crowded = read_leaf(page, one.page)
                    self._walked[1] += 1
                else:
                    self._walked[0] += 1
                    todo += reversed(pages_below(read_branch(page, one.page), one))
                    continue
            except BrokenPageError as error:
                yield _lost(table, one, str(error))
                continue
            if is_crowded:
                yield _lost(table, one, "its entries lie upon each other, and there may have been others")
            elif nodes and (nodes[0].key < one.start or (one.stop is not None and nodes[-1].key >= one.stop)):
                text = f"page {one.page}: its keys are not those that lead to it"
                yield RawRow(table, one.start, b"", text, one.stop, is_part=True)
            yield from nodes

    def _read_big(self, page: int, size: int) -> bytes:
        head = self._read(page) if page <= self.meta.last_page else b""
        count, own = check_overflow(head, page, size, self.meta.page_bytes)
        self._take(page, count)
        self._walked[2] += own
        if own > count:
            self._spare.append((page + count, own - count))
        found = self._read(page, count)[HEAD_BYTES_OF_PAGE : HEAD_BYTES_OF_PAGE + size]
        if len(found) != size:
            raise BrokenPageError("it is cut off")
        return found

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

    def _spare_faults(self) -> Iterator[RawRow]:
        """Yields what is wrong with pages that nobody reads, and that would be free with a value: as it says how many
        they are, which may be wrong, they are looked at after all others.
        """
        stop = min(self.meta.last_page + 1, self.size // self.meta.page_bytes)
        for page, count in self._spare:
            if page + count > stop or any(self._seen[page : page + count]):
                yield RawRow(
                    "", b"", b"", f"page {page}: a value before it says that {count} are its own", is_part=True
                )
            else:
                self._seen[page : page + count] = b"\1" * count


def _lost(table: str, one: PageWalk, why: str) -> RawRow:
    return RawRow(table, one.start, b"", f"page {one.page}: {why}", one.stop, is_part=True, is_lost=True)
