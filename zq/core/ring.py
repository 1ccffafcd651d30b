"""Consistent hashing of keys over workers: when a worker comes or goes, only its own keys move.

A classic ring with virtual nodes (Karger et al., 1997). The order in which the ring lists the workers behind a key is
the order in which they are asked when the first has no room; the bound on their load is the caller's
(`zq.core.tasks.assignment`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b

VIRTUAL_NODES = 64
"""Points of a worker on the ring: the largest share is then about 1.3 times the mean for ten workers."""


def point(*parts: str) -> int:
    """Returns where a text stands on the ring; parts are length-prefixed, so that ("ab", "c") is not ("a", "bc")."""
    digest = blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return int.from_bytes(digest.digest(), "big")


class Ring:
    """The points of some workers, by name; a value, made anew when they change."""

    __slots__ = ("count", "names", "points")

    def __init__(self, names: Iterable[str]) -> None:
        unique = sorted(set(names))
        placed = sorted((point(name, str(i)), name) for name in unique for i in range(VIRTUAL_NODES))
        self.points = [at for at, _ in placed]
        self.names = [name for _, name in placed]
        self.count = len(unique)

    def owners(self, key: str) -> Iterator[str]:
        """Yields every worker once: the one that owns the key, then those that would own it without the ones before."""
        seen: set[str] = set()
        start = bisect_right(self.points, point("key", key))
        size = len(self.names)
        for step in range(size):
            name = self.names[(start + step) % size]
            if name not in seen:
                seen.add(name)
                yield name
                if len(seen) == self.count:
                    return
