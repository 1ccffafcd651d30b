"""The pages of an LMDB file (format 1, as version 0.9 writes it), read without LMDB: it takes what it finds for whole,
and a page that is not may end the process.

A file is a row of pages. The first two are meta pages, of which the one with the higher number of transaction is in
force: it has the roots of two trees, one of pages that are free and one of tables; each table is a tree of its own.
Numbers are those of the machine that wrote them; what is read here is little-endian with 64 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

META_MAGIC: Final = 0xBEEFC0DE
META_VERSION: Final = 1
NO_PAGE: Final = (1 << 64) - 1
"""The root of a tree in which nothing is."""

BRANCH, LEAF, OVERFLOW, META_PAGE = 1, 2, 4, 8
"""What a page is."""

BIG_NODE, TREE_NODE, REPEATED_NODE = 1, 2, 4
"""What a node of a leaf has: a value in pages of its own, a tree, or several values."""

HEAD_BYTES_OF_PAGE: Final = 16
_HEAD = struct.Struct("<QHHHH")  # its number, nothing, what it is, where the places of nodes end, where nodes begin
_LONG_HEAD = struct.Struct("<QHHI")  # of an overflow page: how many pages it takes
_NODE = struct.Struct(
    "<IHH"
)  # bytes of the value, or lower half of a page; what it has, or upper part; bytes of the key
_NODE_BYTES: Final = _NODE.size
_TREE = struct.Struct("<IHHQQQQQ")
_META = struct.Struct("<IIQQ")
_U64 = struct.Struct("<Q")

KEY_BYTES_MAX: Final = 511

META_BYTES: Final = 4096
"""Of a meta page, and more: what is read of it."""

PAGE_SIZES: Final = tuple(1 << bits for bits in range(9, 17))


class BrokenPageError(Exception):
    """A page is not what it should be; the text says how."""


class PageTree(NamedTuple):
    """A tree, as what names it says."""

    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int
    pad: int = 0

    @property
    def is_odd(self) -> bool:
        """Whether it is not as those are that are written here, or says something of an empty one."""
        counts = (self.depth, self.branch_pages, self.leaf_pages, self.overflow_pages, self.entries)
        return bool(self.pad or self.flags or (self.root == NO_PAGE and any(counts)))

    @property
    def pages(self) -> int:
        """Of its branches and leaves."""
        return self.branch_pages + self.leaf_pages


class MetaPage(NamedTuple):
    """A meta page.

    Attributes:
        page_bytes: of every page in the file.
        free: tree of free pages, by the transaction that freed them.
        main: tree of tables.
        last_page: number of the last page that is in use or was.
        transaction: number of the one that wrote it.
    """

    page_bytes: int
    free: PageTree
    main: PageTree
    last_page: int
    transaction: int

    @property
    def bytes_min(self) -> int:
        """How long the file is at least."""
        return (self.last_page + 1) * self.page_bytes


class LeafNode(NamedTuple):
    """An entry of a leaf: a value, or the place of one that has pages of its own."""

    key: bytes
    flags: int
    value: bytes  # of its own pages the number
    value_bytes: int


class PageWalk(NamedTuple):
    """What is known of a page before it is read: how deep it is below the root, and between which keys it lies."""

    page: int
    depth: int
    start: bytes
    stop: bytes | None


def read_meta(data: bytes) -> MetaPage:
    """Reads a meta page; raises BrokenPageError when it is none."""
    if len(data) < HEAD_BYTES_OF_PAGE + _META.size + 2 * _TREE.size + 16:
        raise BrokenPageError("it is cut off")
    magic, version, _, _ = _META.unpack_from(data, HEAD_BYTES_OF_PAGE)
    if magic != META_MAGIC or version != META_VERSION or not _HEAD.unpack_from(data)[2] & META_PAGE:
        raise BrokenPageError("it is no meta page of LMDB")
    at = HEAD_BYTES_OF_PAGE + _META.size
    page_bytes = _TREE.unpack_from(data, at)[0]
    free, main = (PageTree(*_TREE.unpack_from(data, at + n * _TREE.size)[1:]) for n in (0, 1))
    last_page, transaction = struct.unpack_from("<QQ", data, at + 2 * _TREE.size)
    if page_bytes not in PAGE_SIZES:
        raise BrokenPageError(f"it says that pages have {page_bytes} bytes")
    return MetaPage(page_bytes, free, main, last_page, transaction)


def find_metas(read: Callable[[int], bytes]) -> tuple[list[MetaPage], list[str]]:
    """Returns the meta pages of a file that can be read, and what is wrong with the others.

    Args:
        read: returns META_BYTES from a place in the file on.
    """
    found: list[MetaPage] = []
    faults: list[str] = []
    try:
        found.append(read_meta(read(0)))
        sizes: tuple[int, ...] = (found[0].page_bytes,)
    except BrokenPageError as error:
        faults.append(f"meta page 0: {error}")
        sizes = PAGE_SIZES
    for size in sizes:
        try:
            second = read_meta(read(size))
        except BrokenPageError as error:
            trouble = f"meta page 1: {error}"
            continue
        if second.page_bytes == size:
            found.append(second)
            break
        trouble = f"meta page 1: it says that pages have {second.page_bytes} bytes"
    else:
        faults.append(trouble if len(sizes) == 1 else "meta page 1: not found")
    return found, faults


def read_tree(value: bytes) -> PageTree:
    """Reads what a table's row says of its tree."""
    if len(value) != _TREE.size:
        raise BrokenPageError(f"expected {_TREE.size} bytes about a tree, found {len(value)}")
    pad, *fields = _TREE.unpack(value)
    return PageTree(*fields)._replace(pad=pad)


def _places(page: bytes, number: int, kind: int) -> tuple[int, ...]:
    """Returns where the nodes of a page are; raises BrokenPageError when it is not of a kind."""
    if len(page) < HEAD_BYTES_OF_PAGE:
        raise BrokenPageError("it is beyond the end of the file")
    own_number, _, flags, lower, upper = _HEAD.unpack_from(page)
    if flags != kind:  # a mark of a page that is still to be written makes LMDB give up, too
        raise BrokenPageError(f"expected a page of kind {kind}, found {flags}")
    if own_number != number:
        raise BrokenPageError(f"it calls itself page {own_number}")
    if not HEAD_BYTES_OF_PAGE <= lower <= upper <= len(page) or lower & 1:
        raise BrokenPageError("its head does not fit it")
    places = struct.unpack_from(f"<{(lower - HEAD_BYTES_OF_PAGE) >> 1}H", page, HEAD_BYTES_OF_PAGE)
    if places and (min(places) < upper or max(places) > len(page) - _NODE_BYTES):
        raise BrokenPageError("an entry lies outside of it")
    return places


def read_leaf(page: bytes, number: int) -> tuple[list[LeafNode], bool]:
    """Returns the entries of a leaf, in their order, and whether they lie upon each other or leave a gap: they fill it
    from its end, each at an even place. One of them may be there twice then, in the place of another.

    Raises:
        BrokenPageError: it is no leaf.
    """
    found = []
    end = len(page)
    taken = 0
    unpack, make = _NODE.unpack_from, tuple.__new__
    places = _places(page, number, LEAF)
    for place in places:
        size, flags, key_bytes = unpack(page, place)
        at = place + _NODE_BYTES
        value_at = at + key_bytes
        stop = value_at + (8 if flags & BIG_NODE else size)
        if stop > end or not 1 <= key_bytes <= KEY_BYTES_MAX or flags & ~(BIG_NODE | TREE_NODE):
            raise BrokenPageError("an entry does not fit it")
        taken += (stop - place + 1) & ~1
        found.append(
            make(LeafNode, (page[at:value_at], flags, page[value_at:stop], size))
        )  # half as long as by its name
    if taken > end:  # many times the same one: that would be gone on with for long
        raise BrokenPageError("its entries lie upon each other")
    is_crowded = taken != end - _HEAD.unpack_from(page)[4] or len(set(places)) != len(places)
    return found, is_crowded


def read_branch(page: bytes, number: int) -> list[tuple[bytes, int]]:
    """Returns the least key and the number of each page below; the key of the first does not count."""
    found = []
    end = len(page)
    for place in _places(page, number, BRANCH):
        low, high, key_bytes = _NODE.unpack_from(page, place)
        at = place + _NODE_BYTES
        if at + key_bytes > end or key_bytes > KEY_BYTES_MAX:
            raise BrokenPageError("an entry does not fit it")
        found.append((page[at : at + key_bytes], high << 32 | low))
    if len(found) < 2:
        raise BrokenPageError("a branch has one page below it, or none")
    return found


def pages_below(entries: list[tuple[bytes, int]], above: PageWalk) -> list[PageWalk]:
    """Returns what is known of the pages below a branch; raises BrokenPageError when its keys are not in order."""
    starts = [above.start, *(key for key, _ in entries[1:])]
    stops = [*starts[1:], above.stop]
    for start, stop in zip(starts, stops, strict=True):
        if stop is not None and start >= stop:
            raise BrokenPageError("its keys are not in order")
    depth = above.depth + 1
    return [PageWalk(page, depth, start, stop) for (_, page), start, stop in zip(entries, starts, stops, strict=True)]


def check_overflow(page: bytes, number: int, value_bytes: int, page_bytes: int) -> tuple[int, int]:
    """Returns how many pages a value takes that begins with this one, and how many it has: more, where it was written
    over a longer one within a transaction. Raises BrokenPageError when the page is another's.
    """
    if len(page) < HEAD_BYTES_OF_PAGE:
        raise BrokenPageError("it is beyond the end of the file")
    own_number, _, flags, pages = _LONG_HEAD.unpack_from(page)
    if own_number != number or flags != OVERFLOW:
        raise BrokenPageError(f"expected the value of an entry on it, found page {own_number} of kind {flags}")
    needed = (HEAD_BYTES_OF_PAGE - 1 + value_bytes) // page_bytes + 1
    if pages < needed:
        raise BrokenPageError(f"the value takes {needed} pages, it says {pages}")
    return needed, pages


def page_of(value: bytes) -> int:
    """Returns the number in the entry of a value that has pages of its own."""
    return int(_U64.unpack(value)[0])


def free_pages_of(value: bytes) -> tuple[int, ...]:
    """Returns the pages that a row of the tree of free ones names."""
    count = int(_U64.unpack_from(value)[0]) if len(value) >= 8 else NO_PAGE
    if len(value) != 8 * (count + 1):
        raise BrokenPageError("a list of free pages does not fit its row")
    return struct.unpack_from(f"<{count}Q", value, 8)
