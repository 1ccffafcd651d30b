"""The policies of a queue: what may be set for one queue while the coordinator runs, and how each value is read.

One frozen value, which `Queue` holds and the queue's record keeps as a map of what differs from the defaults, so that a
policy can be added without a new schema. A new one is a field here with its default, a reader in `_READERS`, a key in
`QueueSettings`, a row in docs/semantics.md, and an option of `zq queues set`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypedDict

from zq.errors import short
from zq.wire.limits import ATTEMPTS_MAX
from zq.wire.retry import RetryPolicy

TASKS_MAX: Final = 1 << 40
"""Largest number that a limit on tasks may name: more than any store holds, and safe in a record."""


BYTES_MAX: Final = 1 << 60
"""Largest number that a limit on bytes may name."""

AGEING_MIN: Final = 0.001
AGEING_MAX: Final = 31_536_000.0
"""Seconds: a year is as good as never."""

RATE_MIN: Final = 1e-6
RATE_MAX: Final = 1e9
"""Tasks a second: from one in twelve days, so that times stay finite, to more than anyone can mean."""


class QueuePolicies(NamedTuple):
    """How one queue behaves; None leaves it to the coordinator's options."""

    max_tasks: int | None = None  # unfinished tasks above which submits are refused
    max_bytes: int | None = None  # of payloads in the queue, above which submits are refused
    overflow: str | None = None  # "refuse" (None) or "dead-oldest": what happens at max_tasks and max_bytes
    assign: str | None = None  # "least-loaded" or "hash"
    ageing: float | None = None  # seconds of waiting that count as one step of priority
    max_attempts: int | None = None  # starts that may fail or be lost
    retry: str | None = None  # text of a RetryPolicy
    fair: bool = False  # keys take turns
    on_expired: str | None = None  # "drop" (None) or "dead"
    paused: bool = False  # nothing is assigned
    draining: bool = False  # nothing new is accepted
    concurrency: int | None = None  # tasks leased at once
    key_concurrency: int | None = None  # of one key
    rate: float | None = None  # tasks leased a second
    burst: int | None = None  # tokens that are saved; None: a second's worth
    key_rate: float | None = None  # of one key
    key_burst: int | None = None
    alert_waiting: int | None = None  # tasks that wait at which an alert begins
    alert_age: float | None = None  # seconds that a task waits
    alert_dead: int | None = None  # dead letters

    @property
    def has_alerts(self) -> bool:
        """Whether it is to be looked for any."""
        return not (self.alert_waiting is self.alert_age is self.alert_dead is None)


DEFAULT_POLICIES: Final = QueuePolicies()


class QueueSettings(TypedDict, total=False):
    """What `Client.queues.set` may set; None puts a policy back to its default.

    Keys:
        max_tasks: unfinished tasks above which submits are refused as busy; the coordinator's by default.
        max_bytes: bytes of the payloads that the queue holds, above which submits are refused as busy; no limit by
            default.
        overflow: "refuse" (the default) or "dead-oldest": whether a submit above max_tasks or max_bytes is refused, or
            the oldest waiting tasks become dead letters.
        assign: "least-loaded" or "hash": how workers are chosen; the coordinator's by default.
        max_attempts: starts that may fail or be lost before a task is a dead letter, unless its submit says otherwise;
            the coordinator's by default.
        retry: a RetryPolicy or its text: when a task that failed is tried again, unless its submit says otherwise; the
            coordinator's by default.
        ageing: seconds of waiting that count as one step of priority, so that low priorities come to be served; never
            by default.
        fair: True: keys take turns inside of a priority, so that none starves the others; False by default.
        on_expired: "drop" (the default) or "dead": whether a task that was not started within its ttl just ends, or
            becomes a dead letter.
        paused: True: nothing is assigned; submits are accepted, and what runs goes on. False by default.
        draining: True: submits are refused as busy, and what is there is worked off. False by default.
        concurrency: tasks of the queue that may be leased at once, over all workers and pulls; no limit by default.
        key_concurrency: tasks of one key that may be leased at once; no limit by default.
        rate: tasks of the queue that are leased a second, in the long run; no limit by default.
        burst: tasks that may be leased at once after a quiet time; a second's worth by default.
        key_rate: as `rate`, for each key.
        key_burst: as `burst`, for each key.
        alert_waiting: tasks that wait at which an alert goes on, which events, queues and metrics tell; never by
            default, as the next two.
        alert_age: seconds that a task has waited since it was due.
        alert_dead: dead letters.
    """

    max_tasks: int | None
    max_bytes: int | None
    overflow: str | None
    assign: str | None
    ageing: float | None
    max_attempts: int | None
    retry: RetryPolicy | str | None
    fair: bool | None
    on_expired: str | None
    paused: bool | None
    draining: bool | None
    concurrency: int | None
    key_concurrency: int | None
    rate: float | None
    burst: int | None
    key_rate: float | None
    key_burst: int | None
    alert_waiting: int | None
    alert_age: float | None
    alert_dead: int | None


def read_policies(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of some policies, checked; None stands for the default of a policy.

    Raises:
        ValueError: there is no such policy, or it cannot have this value; the text says what was expected.
    """
    unknown = set(values) - set(_READERS)
    if unknown:
        raise ValueError(
            f"expected policies of {', '.join(_READERS)}, got {', '.join(map(short, sorted(map(str, unknown))[:3]))}"
        )
    return {
        name: getattr(DEFAULT_POLICIES, name) if value is None else _READERS[name](name, value)
        for name, value in values.items()
    }


def policies_record(policies: QueuePolicies) -> dict[str, Any]:
    """Returns what differs from the defaults."""
    if policies is DEFAULT_POLICIES:  # as of most queues, whose records are written in each turn
        return {}
    defaults = DEFAULT_POLICIES._asdict()
    return {name: value for name, value in policies._asdict().items() if value != defaults[name]}


def policies_of(record: Mapping[str, Any]) -> QueuePolicies:
    """Returns the policies of a record."""
    return DEFAULT_POLICIES._replace(**record) if record else DEFAULT_POLICIES


def _read_int(least: int, most: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected {name} from {least} to {most}, got {short(value)}")
        return value

    return read


def _read_number(least: float, most: float, unit: str) -> Callable[[str, Any], float]:
    def read(name: str, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"expected {name} from {least:g} to {most:g} {unit}, got {short(value)}")
        return float(value)

    return read


def _read_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected {name} as true or false, got {short(value)}")
    return value


def _read_one_of(*allowed: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"expected {name} as one of {', '.join(allowed)}, got {short(value)}")
        return str(value)

    return read


def _read_retry(name: str, value: Any) -> str:  # noqa: ARG001 - alike in shape
    try:
        return RetryPolicy.read(value).text()
    except TypeError as error:
        raise ValueError(str(error)) from None


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "max_tasks": _read_int(1, TASKS_MAX),
    "max_bytes": _read_int(1, BYTES_MAX),
    "overflow": _read_one_of("refuse", "dead-oldest"),
    "assign": _read_one_of("least-loaded", "hash"),
    "ageing": _read_number(AGEING_MIN, AGEING_MAX, "seconds"),
    "max_attempts": _read_int(1, ATTEMPTS_MAX),
    "retry": _read_retry,
    "fair": _read_bool,
    "on_expired": _read_one_of("drop", "dead"),
    "paused": _read_bool,
    "draining": _read_bool,
    "concurrency": _read_int(1, TASKS_MAX),
    "key_concurrency": _read_int(1, TASKS_MAX),
    "rate": _read_number(RATE_MIN, RATE_MAX, "a second"),
    "burst": _read_int(1, TASKS_MAX),
    "key_rate": _read_number(RATE_MIN, RATE_MAX, "a second"),
    "key_burst": _read_int(1, TASKS_MAX),
    "alert_waiting": _read_int(1, TASKS_MAX),
    "alert_age": _read_number(AGEING_MIN, AGEING_MAX, "seconds"),
    "alert_dead": _read_int(1, TASKS_MAX),
}
