"""Which queues a topic reaches: patterns, header filters, and what changing bindings does."""

from __future__ import annotations

import random
import re

import pytest

from zq.core.bindings import Binding, Bindings
from zq.wire.topics import check_pattern, check_topic


def bound(*patterns: str) -> Bindings:
    """Returns bindings of each pattern to a queue of its name."""
    bindings = Bindings()
    for number, pattern in enumerate(patterns, 1):
        bindings.add(Binding(pattern, pattern, ()), number)
    return bindings


@pytest.mark.parametrize(
    ("pattern", "topic", "is_matched"),
    [
        ("orders", "orders", True),
        ("orders", "order", False),
        ("orders", "orders.eu", False),
        ("orders.eu", "orders.eu", True),
        ("orders.*", "orders.eu", True),
        ("orders.*", "orders", False),
        ("orders.*", "orders.eu.new", False),
        ("*.eu", "orders.eu", True),
        ("orders.#", "orders", True),
        ("orders.#", "orders.eu.new", True),
        ("#", "anything.at.all", True),
        ("#.new", "new", True),
        ("#.new", "orders.eu.new", True),
        ("#.new", "orders.new.eu", False),
        ("orders.#.new", "orders.new", True),
        ("orders.#.new", "orders.eu.west.new", True),
        ("#.#.#", "a", True),
        ("#.*.#", "a", True),
        ("*.#.*", "a", False),
        ("team-a/orders.#", "team-a/orders.eu", True),
        ("team-a/#", "team-b/orders", False),
        ("#", "team-a/orders", False),
        ("team-a/#", "team-a/eu/orders", False),
    ],
)
def test_pattern_matches_as_its_words_say(pattern: str, topic: str, is_matched: bool) -> None:
    assert bound(pattern).match(topic, {}) == ([pattern] if is_matched else [])


def test_matching_is_that_of_an_expression_over_words() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        pattern = ".".join(rng.choice("aab*#") for _ in range(rng.randint(1, 5)))
        topic = ".".join(rng.choice("aab") for _ in range(rng.randint(1, 6)))
        words = "".join({"*": r"\w,", "#": r"(\w,)*"}.get(word, f"{word},") for word in pattern.split("."))
        expected = re.fullmatch(words, topic.replace(".", ",") + ",") is not None
        assert bool(bound(pattern).match(topic, {})) == expected, (pattern, topic)


def test_queue_of_several_matching_patterns_is_named_once() -> None:
    bindings = Bindings()
    for number, pattern in enumerate(("orders.*", "#", "orders.eu"), 1):
        bindings.add(Binding(pattern, "kitchen", ()), number)

    assert bindings.match("orders.eu", {}) == ["kitchen"]


def test_all_headers_of_a_filter_must_match() -> None:
    bindings = Bindings()
    bindings.add(Binding("#", "both", (("city", "rome"), ("size", "large"))), 1)
    bindings.add(Binding("#", "city", (("city", "rome"),)), 2)
    bindings.add(Binding("#", "all", ()), 3)

    assert bindings.match("a", {"city": "rome", "size": "large", "more": "x"}) == ["all", "both", "city"]
    assert bindings.match("a", {"city": "rome", "size": "small"}) == ["all", "city"]
    assert bindings.match("a", {}) == ["all"]


def test_removed_bindings_leave_nothing_behind() -> None:
    rng = random.Random(3)
    bindings = Bindings()
    everything = [
        Binding(f"a.{rng.choice('bc*#')}.{n}", f"q{n % 5}", rng.choice(((), (("x", str(n)),)))) for n in range(300)
    ]
    for number, one in enumerate(everything, 1):
        bindings.add(one, number)
    for one in everything:
        bindings.remove(one)

    assert (len(bindings), bindings._roots, bindings.by_queue) == (0, {}, {})


class CountedNodes(dict):  # type: ignore[type-arg]  # stands in for the children of a node
    """Counts the look-ups in the nodes of a trie."""

    looks = 0

    def get(self, key: object, default: object = None) -> object:
        CountedNodes.looks += 1
        return super().get(key, default)


def test_matching_looks_at_few_of_ten_thousand_bindings() -> None:
    bindings = Bindings()
    for number in range(1, 10_001):
        bindings.add(Binding(f"orders.city-{number}.#", f"q{number}", ()), number)
        bindings.add(Binding("orders.#", f"f{number}", (("customer", str(number)),)), 10_000 + number)
    nodes = list(bindings._roots.values())
    while nodes:
        node = nodes.pop()
        nodes += node.children.values()
        node.children = CountedNodes(node.children)
    CountedNodes.looks = 0

    assert bindings.match("orders.city-77.new", {"customer": "5"}) == ["f5", "q77"]
    assert CountedNodes.looks < 50


@pytest.mark.parametrize("topic", ["", ".", "a.", "a..b", "a.*", "a.#", "a.b*", "team-a/", "team-a/a..b"])
def test_what_cannot_be_a_topic_is_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="expected a topic"):
        check_topic(topic)


@pytest.mark.parametrize("pattern", ["", "a..b", "a*", "#a", "*/a", "a.##"])
def test_what_cannot_be_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_pattern(pattern)
