"""The rights of one key, as a value: its role, the queues and the namespaces that it may act in, its limits.

A pattern is a queue's name in which `*` stands for any text, also none. With namespaces a queue must be in one of them,
and the patterns are about the rest of its name: what a person in the namespace calls it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from zq.core.peer_limits import PeerLimits
from zq.wire.limits import NAME_BYTES_MAX
from zq.wire.namespaces import check_namespace
from zq.wire.topics import NAMESPACE_SEPARATOR

CLIENT_ROLE: Final = "client"
WORKER_ROLE: Final = "worker"
ADMIN_ROLE: Final = "admin"
KEY_ROLES: Final = (CLIENT_ROLE, WORKER_ROLE, ADMIN_ROLE)

EVERY_QUEUE: Final = ("*",)

PATTERNS_MAX: Final = 100
"""Patterns, and namespaces, of one key: each is tried for a name that is new."""

KNOWN_NAMES_MAX: Final = 10_000
"""Names for which it is remembered what may be done with them."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one key may do; immutable, and equal if it allows the same.

    Attributes:
        name: of the key, for people.
        role: client, worker or admin: which messages, queries and commands (`zq.core.rights.table`).
        submit: patterns of the queues that it may put tasks into, and change.
        work: of those whose tasks it may take.
        look: of those that it may look at, beside the others.
        namespaces: in which everything must be that it names; none: no matter where.
        limits: what is different for it from the limits of every peer, as names and numbers.

    Raises:
        ValueError: one of them cannot be.
    """

    name: str
    role: str
    submit: tuple[str, ...] = EVERY_QUEUE
    work: tuple[str, ...] = EVERY_QUEUE
    look: tuple[str, ...] = EVERY_QUEUE
    namespaces: tuple[str, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.role not in KEY_ROLES:
            raise ValueError(f"expected a role of {', '.join(KEY_ROLES)}, got {self.role!r}")
        for patterns in (self.submit, self.work, self.look):
            _check_patterns(patterns)
        if len(self.namespaces) > PATTERNS_MAX:
            raise ValueError(f"expected at most {PATTERNS_MAX} namespaces, got {len(self.namespaces)}")
        for namespace in self.namespaces:
            check_namespace(namespace)
        self.limits_from(PeerLimits())

    @property
    def is_bounded(self) -> bool:
        """Whether there is anything that another key of its role may do and it may not."""
        return bool(self.namespaces) or not self.has_every_queue

    @property
    def has_every_queue(self) -> bool:
        """Whether it may do everything with every queue of its namespaces."""
        return self.submit == self.work == self.look == EVERY_QUEUE

    def may_submit(self, queue: str) -> bool:
        """Whether it may put tasks into a queue, end and revive those in it and, as an admin, change it."""
        return self._may("submit", self.submit, queue)

    def may_work(self, queue: str) -> bool:
        """Whether it may take tasks of a queue."""
        return self._may("work", self.work, queue)

    def may_see(self, queue: str | None) -> bool:
        """Whether it may look at a queue and its tasks; None is a queue that is not there any more."""
        if queue is None:
            return not self.is_bounded
        return self._may("look", self.look, queue) or self.may_submit(queue) or self.may_work(queue)

    def is_inside(self, name: str) -> bool:
        """Whether a name is in its namespaces."""
        return not self.namespaces or self._rest(name) is not None

    def limits_from(self, limits: PeerLimits) -> PeerLimits:
        """Returns the limits of this key, given those of every peer; raises ValueError for one that cannot be."""
        if not self.limits:
            return limits
        names = [one.name for one in fields(PeerLimits)]
        unknown = [name for name, _ in self.limits if name not in names]
        if unknown:
            raise ValueError(f"expected limits of {', '.join(names)}, got {unknown[0]}")
        return replace(limits, **dict(self.limits))

    def _may(self, deed: str, patterns: tuple[str, ...], queue: str) -> bool:
        known = self._known.get((deed, queue))
        if known is None:
            rest = self._rest(queue)
            known = rest is not None and any(fits(pattern, rest) for pattern in patterns)
            if len(self._known) >= KNOWN_NAMES_MAX:
                self._known.clear()
            self._known[deed, queue] = known
        return known

    def _rest(self, name: str) -> str | None:
        """Returns what a name is called in the namespace that it is in; None when it is outside of all."""
        if not self.namespaces:
            return name
        fronts = (namespace + NAMESPACE_SEPARATOR for namespace in self.namespaces)
        return next((name[len(front) :] for front in fronts if name.startswith(front)), None)


def fits(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern; linear in the name, whatever the pattern."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == first
    *middle, last = parts
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, stop = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, stop)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _check_patterns(patterns: tuple[Any, ...]) -> None:
    if len(patterns) > PATTERNS_MAX:
        raise ValueError(f"expected at most {PATTERNS_MAX} patterns of queues, got {len(patterns)}")
    for one in patterns:
        is_text = isinstance(one, str) and one.isprintable() and " " not in one
        if not is_text or not 1 <= len(one.encode()) <= NAME_BYTES_MAX:
            raise ValueError(f"expected a pattern like orders or orders.*, of 1 to {NAME_BYTES_MAX} bytes, got {one!r}")
