"""Topics and patterns: what each may be, as text.

A topic is dot-separated words, `orders.eu.created`. A pattern has the wildcards `*`, which stands for one word, and
`#`, which stands for none or more, each as a whole word. What stands before the last `/` of either is its namespace,
and has no wildcards: a pattern matches topics of its own namespace only.
"""

from typing import Final

from zq.errors import short

SEPARATOR: Final = "."
ONE, MANY = "*", "#"
"""The wildcards: exactly one word; none or more."""

NAMESPACE_SEPARATOR: Final = "/"


def split(text: str) -> tuple[str, list[str]]:
    """Returns namespace (empty: none) and words of a topic or pattern."""
    namespace, _, rest = text.rpartition(NAMESPACE_SEPARATOR)
    return namespace, rest.split(SEPARATOR)


def check_topic(text: str) -> str:
    """Returns the topic, if it is one.

    Raises:
        ValueError: a word is empty, or a wildcard is in it.
    """
    if ONE in text or MANY in text:
        raise ValueError(f"expected a topic without wildcards ({ONE} and {MANY} are for patterns), got {short(text)}")
    if not all(split(text)[1]):
        raise ValueError(f"expected a topic as dot-separated words, none of them empty, got {short(text)}")
    return text


def check_pattern(text: str) -> str:
    """Returns the pattern, if it is one.

    Raises:
        ValueError: a word is empty, or a wildcard is only a part of a word, or stands in the namespace.
    """
    namespace, words = split(text)
    if not all(words):
        raise ValueError(f"expected a pattern as dot-separated words, none of them empty, got {short(text)}")
    if ONE in namespace or MANY in namespace:
        raise ValueError(f"expected no wildcard before the last {NAMESPACE_SEPARATOR} of a pattern, got {short(text)}")
    if any(len(word) > 1 and (ONE in word or MANY in word) for word in words):
        raise ValueError(f"expected each {ONE} and {MANY} of a pattern to be a word of its own, got {short(text)}")
    return text
