"""What a caller may say about tasks and groups: the options of a submit, names and ids, checked before anything is
sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from zq.wire.limits import (
    ATTEMPTS_MAX,
    DELAY_MAX,
    GROUP_MEMBERS_MAX,
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    NAME_BYTES_MAX,
    PATH_MAX,
    PATH_NUMBER_MAX,
    TASK_SEPARATOR,
    TIME_MAX,
)
from zq.wire.messages import DEFAULT_OPTIONS, Group, Options
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique

if TYPE_CHECKING:
    from collections.abc import Callable

OnLost = Literal["reassign", "cancel", "dead"]
Policy = Literal["all", "any", "settled"]


class SubmitOptions(TypedDict, total=False):
    """What may be said about tasks when they are submitted or forwarded.

    Keys:
        priority: 0 (last) to 9 (first); 4 by default. Strict: a lower one waits while a higher one waits.
        delay: seconds before the task may start; 0 by default.
        at: when the task may start, instead of `delay`: a datetime with a time zone, or seconds since 1970; a time that
            is over means at once.
        ttl: seconds after its acceptance within which the task must be started, else it expires; no limit by default.
        key: text that tasks share which belong together: for `ordered`, and for what a queue does by key.
        on_lost: what happens to a started task whose worker died: "reassign" (the default), "cancel" or "dead".
        max_attempts: starts that may fail or be lost before the task is a dead letter; the queue's by default.
        retry: a RetryPolicy or its text, such as "exponential:1:2:60" or "none": when it is tried again after a
            failure; the queue's by default.
        timeout: seconds that a started task may run; no limit by default.
        headers: text by text, passed on untouched.
        on_dead: queue that gets a notice (the same payload, and headers that say what happened) when the task ends as
            dead or expired.
        group: id of a group and the path in it of the first task; the last number of the path counts up from task to
            task.
        ordered: True: of the tasks with this key in the queue one runs at a time, in the order of submission; False by
            default.
        unique: a key, or a zq.Unique: of the tasks of the queue one has it at a time; another submit gets that one's
            receipt, or replaces it.
    """

    priority: int
    delay: float
    at: datetime | float | None
    ttl: float | None
    key: str | None
    on_lost: OnLost
    max_attempts: int | None
    retry: RetryPolicy | str | None
    timeout: float | None
    headers: Mapping[str, str] | None
    on_dead: str | None
    group: tuple[str, tuple[int, ...]] | None
    ordered: bool
    unique: Unique | str | None


def make_options(**options: Unpack[SubmitOptions]) -> Options:
    """Returns checked options as they travel.

    Raises:
        ValueError: one is out of its range.
        TypeError: one is unknown, or of another type.
    """
    if not options:
        return DEFAULT_OPTIONS
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(f"unknown option {name!r}; expected one of {', '.join(_CHECKS)}")
        check(name, value)
    values: dict[str, Any] = dict(options)
    if values.get("headers") is not None:
        values["headers"] = dict(values["headers"])
    if values.get("group") is not None:
        values["group"] = (values["group"][0], tuple(values["group"][1]))
    if values.get("retry") is not None:
        values["retry"] = RetryPolicy.read(values["retry"])
    if values.get("ordered") and values.get("key") is None:
        raise ValueError("expected a key with ordered: it says which tasks are in order")
    if values.get("at") is not None:
        if values.get("delay"):
            raise ValueError("expected delay or at, got both")
        values["at"] = _seconds_since_1970(values["at"])
    if values.get("unique") is not None:
        if values.get("group") is not None:
            raise ValueError("expected unique or group, got both: a duplicate would be missing in its group")
        values["unique"] = Unique.read(values["unique"])
    return Options(**values)


def _check_int(least: int, most: int) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"expected {name} as an int, got {value!r}")
        if not least <= value <= most:
            raise ValueError(f"expected {name} from {least} to {most}, got {value}")

    return check


def check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected {name} in seconds, got {value!r}")
    if not 0 <= value <= DELAY_MAX:
        raise ValueError(f"expected {name} from 0 to {DELAY_MAX:.0f} seconds, got {value}")


def _check_time(name: str, value: Any) -> None:
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise ValueError(f"expected {name} with a time zone, got {value!r}: datetime.now(UTC), or .astimezone()")
    elif not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected {name} as a datetime with a time zone or as seconds since 1970, got {value!r}")
    if not 0 <= _seconds_since_1970(value) <= TIME_MAX:
        raise ValueError(f"expected {name} from the year 1970 to 9999, got {value!r}")


def _seconds_since_1970(value: datetime | float) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _check_timeout(name: str, value: Any) -> None:
    check_seconds(name, value)
    if value < 0.001:
        raise ValueError(f"expected {name} of at least 0.001 seconds, got {value}")


def _check_text(name: str, value: Any, bytes_max: int = NAME_BYTES_MAX) -> None:
    if not isinstance(value, str):
        raise TypeError(f"expected {name} as text, got {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError(f"expected {name} as text that UTF-8 can hold, got {value!r}") from None
    if size > bytes_max:
        raise ValueError(f"expected {name} of at most {bytes_max} bytes, got {size}")


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"expected {name} as True or False, got {value!r}")


def _check_on_lost(name: str, value: Any) -> None:
    if value not in ("reassign", "cancel", "dead"):
        raise ValueError(f"expected {name} as reassign, cancel or dead, got {value!r}")


def _check_retry(name: str, value: Any) -> None:  # noqa: ARG001 - alike in shape
    RetryPolicy.read(value)


def _check_unique(name: str, value: Any) -> None:  # noqa: ARG001 - alike in shape
    Unique.read(value)


def _check_headers(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise TypeError(f"expected {name} as a mapping of text to text, got {value!r}")
    if len(value) > HEADERS_MAX:
        raise ValueError(f"expected at most {HEADERS_MAX} {name}, got {len(value)}")
    for header, text in value.items():
        _check_text("the name of a header", header)
        _check_text(f"header {header}", text, HEADER_BYTES_MAX)


def _check_group(name: str, value: Any) -> None:
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[1], tuple | list):
        raise TypeError(f"expected {name} as (id, path), got {value!r}")
    check_id(value[0])
    if not 1 <= len(value[1]) <= PATH_MAX:
        raise ValueError(f"expected a path of 1 to {PATH_MAX} numbers, got {value[1]!r}")
    for number in value[1]:
        _check_int(0, PATH_NUMBER_MAX)("a number of the path", number)


def _check_queue(name: str, value: Any) -> None:
    check_name(name, value)


def _or_none(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    return lambda name, value: None if value is None else check(name, value)


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "priority": _check_int(0, 9),
    "delay": check_seconds,
    "at": _or_none(_check_time),
    "ttl": _or_none(_check_timeout),
    "key": _or_none(_check_text),
    "on_lost": _check_on_lost,
    "max_attempts": _or_none(_check_int(1, ATTEMPTS_MAX)),
    "retry": _or_none(_check_retry),
    "timeout": _or_none(_check_timeout),
    "headers": _or_none(_check_headers),
    "on_dead": _or_none(_check_queue),
    "group": _or_none(_check_group),
    "ordered": _check_bool,
    "unique": _or_none(_check_unique),
}


def check_name(name: str, value: Any) -> str:
    """Returns the name of a queue, worker or client if it can be one.

    Raises:
        ValueError: it is empty, too long, or has spaces or control characters.
        TypeError: it is not text.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected {name} as text, got {value!r}")
    if not value or " " in value or not value.isprintable() or len(value.encode()) > NAME_BYTES_MAX:
        raise ValueError(
            f"expected {name} of 1 to {NAME_BYTES_MAX} bytes without spaces and control characters, got {value!r}"
        )
    return value


def check_id(value: Any) -> str:
    """Returns an id that a caller chose, if it can be one; raises as `check_name`."""
    id = check_name("id", value)
    if TASK_SEPARATOR in id:
        raise ValueError(f"expected an id without {TASK_SEPARATOR!r}, got {id!r}")
    return id


def read_members(
    members: Iterable[Any], queue: str | None, options: SubmitOptions
) -> Iterator[tuple[str, Options, Any]]:
    """Yields queue, options and payload of each member of a group.

    Args:
        members: payloads when there is a queue for all, else (queue, payload) or (queue, payload, options).
        queue: of all members, or None.
        options: of all members; those of a single member are added.

    Raises:
        ValueError, TypeError: a member cannot be one.
    """
    if queue is not None:
        check_name("queue", queue)
        made = _make_member(options)
        yield from ((queue, made, payload) for payload in members)
        return
    for member in members:
        if not isinstance(member, tuple) or len(member) not in (2, 3):
            raise TypeError(f"expected a member as (queue, payload) or (queue, payload, options), got {member!r}")
        own: Any = {**options, **(member[2] if len(member) == 3 else {})}
        yield check_name("queue", member[0]), _make_member(own), member[1]


def _make_member(options: SubmitOptions) -> Options:
    made = make_options(**options)
    if made.unique is not None:
        raise ValueError("a member of a group cannot have a unique key: a duplicate would be missing in its group")
    return made


def make_group(
    id: str,
    size: int,
    callback: str | tuple[str, SubmitOptions] | None,
    policy: str,
    *,
    skips_none: bool,
    inherited: tuple[str, tuple[int, ...]] | None = None,
) -> Group:
    """Returns a checked group.

    Args:
        id: of the group.
        size: how many members it has.
        callback: queue, or queue and options; None: there is none.
        policy: "all", "any" or "settled".
        skips_none: whether None is no result.
        inherited: the membership of the callback when its options say nothing about it.

    Raises:
        ValueError, TypeError: something is out of its range.
    """
    if policy not in ("all", "any", "settled"):
        raise ValueError(f"expected policy as all, any or settled, got {policy!r}")
    if size > GROUP_MEMBERS_MAX:
        raise ValueError(f"expected at most {GROUP_MEMBERS_MAX} members in a group, got {size}")
    if callback is None:
        return Group(check_id(id), size, policy, skips_none, None, DEFAULT_OPTIONS)
    queue, options = (callback, SubmitOptions()) if isinstance(callback, str) else callback
    made = make_options(**options)
    if made.unique is not None:
        raise ValueError("a callback cannot have a unique key: it is stored once, whatever else has the key")
    if "group" not in options and inherited is not None:
        made = made._replace(group=inherited)
    return Group(check_id(id), size, policy, skips_none, check_name("callback", queue), made)
