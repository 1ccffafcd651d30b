"""What a caller may say about tasks and groups: the options of a submit, names and ids, checked before anything is
sent. What they may be, the readers of the wire say; here it is brought into the form in which it travels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack

from zq.wire.messages import DEFAULT_OPTIONS, Group, Options
from zq.wire.options import header_list, read_asked_options, read_headers
from zq.wire.requests import check_group
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique
from zq.wire.values import Malformed, TooLarge, WrongType, read_id, read_name, read_queue, read_seconds

T = TypeVar("T")

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
    if _HAVE_OTHER_FORMS.isdisjoint(options):
        try:  # as it is first: nearly always what a program says is what travels
            return read_asked_options(options)
        except (Malformed, TooLarge):
            pass
    try:
        return read_asked_options(_travelling(**options))
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None


def _callers_error(error: Malformed | TooLarge) -> TypeError | ValueError:
    """Returns what a reader of the wire says as an error of the program that said it."""
    return TypeError(str(error)) if isinstance(error, WrongType) else ValueError(str(error))


# What a program may say, as msgpack would bring it: that is what the readers of the wire judge.


def _travelling(**options: Any) -> dict[str, Any]:
    return {
        name: _OTHER_FORMS.get(name, _plain)(value)
        for name, value in options.items()
        if value is not None or name not in _NONE_IS_DEFAULT
    }


def _plain(value: Any) -> Any:
    """Returns numbers and texts of a plain type, mappings as a dict, and lists as tuples; anything else as it is."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # of an enum's member its text, where str(value) may be its name
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Mapping):
        return {_plain(name): _plain(one) for name, one in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def _time(value: Any) -> Any:
    if not isinstance(value, datetime):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"expected at as a datetime with a time zone or as seconds since 1970, got {value!r}")
        return _plain(value)
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"expected at with a time zone, got {value!r}: datetime.now(UTC), or .astimezone()")
    return value.timestamp()


def _unique(value: Any) -> Any:
    return (value, *_UNIQUE_DEFAULTS) if isinstance(value, str) else Unique.read(value)


_PLAIN: Final = frozenset({bool, int, float, str})

_UNIQUE_DEFAULTS: Final = Unique("")[1:]

_OTHER_FORMS: Final[dict[str, Callable[[Any], Any]]] = {"at": _time, "retry": RetryPolicy.read, "unique": _unique}
"""The options that programs say in another form than they travel in."""

_HAVE_OTHER_FORMS: Final = frozenset(_OTHER_FORMS)

_NONE_IS_DEFAULT: Final = frozenset(name for name, value in DEFAULT_OPTIONS._asdict().items() if value is None)


def make_header_list(headers: Mapping[str, str] | None) -> list[str]:
    """Returns checked headers as queries and commands have them, which may ask for those that the coordinator sets;
    raises as `make_options`.
    """
    try:
        return header_list({} if headers is None else read_headers(_plain(headers)))
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None


def check_name(name: str, value: Any) -> str:
    """Returns the name of a queue, worker or client if it can be one.

    Raises:
        ValueError: it is empty, too long, or has spaces or control characters.
        TypeError: it is not text.
    """
    try:
        return read_name(value, name)
    except (Malformed, TooLarge) as error:
        if isinstance(value, str) and type(value) is not str:
            return check_name(name, _plain(value))
        raise _callers_error(error) from None


def check_queue(value: Any) -> str:
    """Returns the name of a queue that tasks may go to: no part of it is empty. Raises as `check_name`."""
    try:
        return read_queue(value if type(value) is str else _plain(value), "queue")
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None


def check_count(name: str, value: Any, least: int, most: int) -> int:
    """Returns a whole number within its range; raises as `check_name`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected {name} as a whole number from {least} to {most}, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"expected {name} from {least} to {most}, got {value}")
    return value


def check_items(name: str, value: Iterable[T]) -> Iterable[T]:
    """Returns what can be iterated; raises TypeError for all else."""
    if not hasattr(type(value), "__iter__") and not hasattr(type(value), "__getitem__"):
        raise TypeError(f"expected {name} as a list, or something else with items, got {value!r:.100}")
    return value


def check_patience(name: str, value: Any) -> float:
    """Returns how long somebody waits: seconds, which may be endless. Raises TypeError and ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected {name} as seconds, got {value!r}")
    if value != value:  # noqa: PLR0124 - only NaN is unlike itself
        raise ValueError(f"expected {name} as seconds, got {value}")
    return value


def check_id(value: Any) -> str:
    """Returns an id that a caller chose, if it can be one; raises as `check_name`."""
    try:
        return read_id(value if type(value) is str else _plain(value), "an id")
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None


def check_seconds(name: str, value: Any) -> float:
    """Returns seconds from 0 to a year; raises as `check_name`."""
    try:
        return read_seconds(_plain(value), name)
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None


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
    check_items("members", members)
    if queue is not None:
        check_queue(queue)
        made = _make_member(options)
        yield from ((queue, made, payload) for payload in members)
        return
    for member in members:
        if not isinstance(member, tuple) or len(member) not in (2, 3):
            raise TypeError(f"expected a member as (queue, payload) or (queue, payload, options), got {member!r}")
        own: Any = {**options, **(member[2] if len(member) == 3 else {})}
        yield check_queue(member[0]), _make_member(own), member[1]


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
        size: how many members it has.
        callback: queue, or queue and options; None: there is none.
        policy: "all", "any" or "settled".
        skips_none: whether None is no result.
        inherited: the membership of the callback when its options say nothing about it.

    Raises:
        ValueError, TypeError: something is out of its range.
    """
    queue, options = (callback, SubmitOptions()) if callback is None or isinstance(callback, str) else callback
    made = make_options(**options)
    if inherited is not None and callback is not None and "group" not in options:
        made = made._replace(group=inherited)
    try:
        return check_group(Group(_plain(id), size, policy, skips_none, _plain(queue), made))
    except (Malformed, TooLarge) as error:
        raise _callers_error(error) from None
