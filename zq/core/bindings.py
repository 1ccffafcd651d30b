"""Bindings in memory: which queues want what is published to a topic.

Theory of operation. The patterns of each namespace are a trie of words, whose branches `*` and `#` are the wildcards. A
topic is matched word by word with the set of nodes that are reached so far, as a nondeterministic automaton is run: a
node is in the set once, so no pattern makes matching take more than nodes times words, and a topic costs a few look-ups
per word, however many bindings there are. Of the bindings at a node those with header filters stand under one of their
headers, so that many filters on one pattern are not tried one after the other.

Invariant: `Bindings.numbers` and the nodes hold the same bindings, and the table `bindings` holds them by number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from zq.core.accounts import BusyRequestError
from zq.wire.topics import MANY, ONE, split

MATCH_NODES_MAX = 20_000
"""Places in the patterns that one topic may lead to, over all of its words, and filters that are tried there: a few
milliseconds. A topic leads to one a word for itself, and one for each way in which wildcards stand for its words.
"""

Filter = tuple[tuple[str, str], ...]
"""Headers that a publication must have, sorted; all of them."""


class Binding(NamedTuple):
    """A queue gets what is published to topics that match a pattern, if the headers match, too."""

    pattern: str
    queue: str
    headers: Filter


class TrieNode:
    """A place in the trie: the patterns that end here, and how they go on."""

    __slots__ = ("by_header", "children", "plain")

    def __init__(self) -> None:
        self.children: dict[str, TrieNode] = {}
        self.plain: dict[str, None] = {}  # queues whose binding has no filter
        self.by_header: dict[tuple[str, str], dict[tuple[str, Filter], None]] = {}  # the others, by their first header

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.plain or self.by_header)

    def add(self, binding: Binding) -> None:
        if binding.headers:
            self.by_header.setdefault(binding.headers[0], {})[binding.queue, binding.headers] = None
        else:
            self.plain[binding.queue] = None

    def remove(self, binding: Binding) -> None:
        if not binding.headers:
            del self.plain[binding.queue]
            return
        bound = self.by_header[binding.headers[0]]
        del bound[binding.queue, binding.headers]
        if not bound:
            del self.by_header[binding.headers[0]]

    def collect(self, headers: Mapping[str, str], found: dict[str, None], left: int) -> int:
        """Adds the queues whose bindings end here and let the headers through.

        Returns:
            how many more filters than these may be tried; below zero when they were too many for `left`.
        """
        found.update(self.plain)
        if self.by_header:
            for header in headers.items():
                bound = self.by_header.get(header)
                if bound is None:
                    continue
                left -= len(bound)
                if left < 0:
                    break
                for queue, wanted in bound:
                    if all(headers.get(name) == text for name, text in wanted):
                        found[queue] = None
        return left


class Bindings:
    """All bindings of a coordinator."""

    def __init__(self) -> None:
        self.numbers: dict[Binding, int] = {}  # each with the number under which it is stored
        self.by_queue: dict[str, dict[str, dict[Binding, None]]] = {}  # and by pattern
        self.last_number = 0
        self.alike: Counter[tuple[str, Filter]] = Counter()  # how many have a pattern and filter: so many queues
        self._roots: dict[str, TrieNode] = {}  # by namespace

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Binding]:
        return iter(self.numbers)

    def add(self, binding: Binding, number: int) -> None:
        """Adds a binding that is not there."""
        self.numbers[binding] = number
        self.alike[binding.pattern, binding.headers] += 1
        self.last_number = max(self.last_number, number)
        self.by_queue.setdefault(binding.queue, {}).setdefault(binding.pattern, {})[binding] = None
        namespace, words = split(binding.pattern)
        node = self._roots.setdefault(namespace, TrieNode())
        for word in words:
            node = node.children.setdefault(word, TrieNode())
        node.add(binding)

    def remove(self, binding: Binding) -> int:
        """Removes a binding; returns its number."""
        number = self.numbers.pop(binding)
        self.alike[binding.pattern, binding.headers] -= 1
        if not self.alike[binding.pattern, binding.headers]:
            del self.alike[binding.pattern, binding.headers]
        patterns = self.by_queue[binding.queue]
        del patterns[binding.pattern][binding]
        if not patterns[binding.pattern]:
            del patterns[binding.pattern]
        if not patterns:
            del self.by_queue[binding.queue]
        namespace, words = split(binding.pattern)
        path = [self._roots[namespace]]
        for word in words:
            path.append(path[-1].children[word])
        path[-1].remove(binding)
        while path[-1].is_empty:
            path.pop()
            if not path:
                del self._roots[namespace]
                break
            del path[-1].children[words[len(path) - 1]]
        return number

    def has(self, queue: str) -> bool:
        """Whether a queue is bound to anything."""
        return queue in self.by_queue

    def of(self, queue: str, pattern: str | None = None) -> Iterator[Binding]:
        """Yields the bindings of a queue, or those of them with a pattern; none may be removed meanwhile."""
        patterns = self.by_queue.get(queue, {})
        for bound in patterns.values() if pattern is None else (patterns.get(pattern, {}),):
            yield from bound

    def match(self, topic: str, headers: Mapping[str, str]) -> list[str]:
        """Returns the queues that get what is published to a topic, each once, sorted by name.

        Raises:
            BusyRequestError: so many patterns have wildcards where the topic has words, or so many filters begin with a
                header of it, that it would take too long.
        """
        namespace, words = split(topic)
        root = self._roots.get(namespace)
        found: dict[str, None] = {}
        if root is not None:
            left = MATCH_NODES_MAX
            nodes: dict[TrieNode, bool] = {}  # reached, and whether by `#`, which takes more words
            _reach(nodes, root, is_many=False)
            for word in words:
                after: dict[TrieNode, bool] = {}
                for node, is_many in nodes.items():
                    if is_many:
                        _reach(after, node, is_many=True)
                    for step in (word, ONE):
                        child = node.children.get(step)
                        if child is not None:
                            _reach(after, child, is_many=False)
                nodes = after
                left -= len(nodes)
                if left < 0:
                    raise _too_many(topic, "unbind some that have many wildcards")
            for node in nodes:
                left = node.collect(headers, found, left)
                if left < 0:
                    raise _too_many(topic, "unbind some whose headers begin alike")
        return sorted(found)


def _too_many(topic: str, advice: str) -> BusyRequestError:
    text = f"topic {topic} leads to more than {MATCH_NODES_MAX} places and filters in the patterns of its namespace"
    return BusyRequestError(f"{text}: {advice}")


def _reach(nodes: dict[TrieNode, bool], node: TrieNode, *, is_many: bool) -> None:
    """Adds a node, and what follows it by a `#` that stands for no word."""
    nodes[node] = nodes.get(node, False) or is_many
    following = node.children.get(MANY)
    while following is not None:
        nodes[following] = True
        following = following.children.get(MANY)
