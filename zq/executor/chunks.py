"""Many calls of one function in one payload: how `Executor.map` packs a chunk, and how a worker runs it.

The arguments of a chunk travel by place, all first ones, then all second ones: so they are packed, converted and passed
to the function without a line of Python for each call. What cannot travel so travels as a list of single calls.

A chunk is one task. Its calls run one after the other, whatever those before them raised, and its result has how each
of them ended: all values together, or, when one of them raised something, each by itself up to that one, since nobody
looks at those behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from types import NoneType
from typing import Any, TypeAlias

from zq.app.converters import CHECKS, MSGPACK_INT_MAX, MSGPACK_INT_MIN, Convert
from zq.errors import PayloadTooLargeError
from zq.executor.remote_call import Callee, pack, pack_call, pack_exception, run_call, unpack, unpack_result
from zq.handling.contexts import end_copy
from zq.wire.limits import PAYLOAD_BYTES_MAX

CANCEL_LOOK_SECONDS = 0.001
"""Of work between two looks at whether the chunk was cancelled."""

RESULTS_BYTES_MAX = PAYLOAD_BYTES_MAX - 64
"""Of the outcomes of a chunk, in the result of its task."""

SHARED_BYTES_MAX = 1 << 16
"""Of results, after which a chunk that may give calls back starts no more: so one that is nearly as large as a result
may be still has room.
"""

SMALL_KINDS = frozenset({bool, int, float, NoneType})
"""Of which so many results as a chunk has calls are small."""

UNCHANGED_KINDS: dict[Convert, type] = {
    check: kind for kind, check in CHECKS.items() if kind in (bool, int, float, str, bytes, NoneType)
}
"""Of which values the check changes nothing."""


def convert(column: list[Any], change: Convert | None) -> list[Any]:
    """Returns a column, converted; raises ConversionError when one of it cannot be."""
    if change is None:
        return column
    kind = UNCHANGED_KINDS.get(change)
    if (
        kind is not None
        and set(map(type, column)) == {kind}
        and (kind is not int or (min(column) >= MSGPACK_INT_MIN and max(column) <= MSGPACK_INT_MAX))
    ):
        return column
    return [change(one) for one in column]


# On its way out.


def cut(iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[list[list[Any]]]:
    """Yields the arguments of up to so many calls, by place."""
    if len(iterables) == 1:
        values = iter(iterables[0])
        while column := list(islice(values, size)):
            yield [column]
        return
    rows = zip(*iterables, strict=False)
    while part := list(islice(rows, size)):
        yield [list(column) for column in zip(*part, strict=True)]


def pack_chunk(callee: Callee, columns: list[list[Any]], within: float | None = None) -> dict[str, Any]:
    """Returns the payload of a chunk.

    Args:
        columns: the arguments, by place.
        within: seconds after which calls that have not started are given back; None: all are run.

    Raises:
        TypeError: as `pack_call`, of the first call that cannot be sent.
    """
    known = callee.columns
    payload: dict[str, Any] = {"function": callee.path, "within": within}
    if known is not None and known.fits(len(columns)):
        try:
            changes = known.dumps if known.names else (None,) * len(columns)
            converted = [convert(column, change) for column, change in zip(columns, changes, strict=False)]
            payload["columns"] = pack(converted, "a chunk")
        except Exception:  # it is raised again below, of the call that it is about
            payload.pop("columns", None)
        else:
            return payload
    payload["calls"] = [pack_call(callee, row, {}) for row in zip(*columns, strict=True)]
    return payload


def unpack_results(callee: Callee, plain: Any, count: int | None) -> Iterator[Any]:
    """Yields what the calls of a chunk returned, and raises what one raised at its place.

    Args:
        plain: the result of the task.
        count: how many calls there were; None: as many as it says.

    Raises:
        ValueError: what came is not the result of so many calls.
    """
    match plain:
        case {"results": bytes(data)}:
            values = unpack(data)
            if not isinstance(values, list) or len(values) != (count or len(values)):
                raise ValueError(f"expected the results of {count} calls, got {type(values).__name__}")
            try:
                values = convert(values, None if callee.columns is None else callee.columns.load_result)
            except Exception:  # at its place, and with its name
                assert callee.parameters is not None
                values = map(callee.parameters.load_result, values)
            yield from values
        case {"each": list(outcomes)}:
            for outcome in outcomes:
                yield unpack_result(callee, "", outcome)
        case _:
            unpack_result(callee, "", plain)
            raise ValueError(f"expected the results of {count} calls, got the result of one")


# Where it is run.


def run_chunk(callee: Callee, payload: dict[str, Any], task: Any) -> dict[str, Any]:
    """Runs the calls of a chunk and returns how each ended, as a payload; raises nothing.

    Beside the outcomes that says how many calls are `left`, since they were not started within the time that the chunk
    has, and how many `seconds` the others took.
    """
    try:
        within = payload.get("within")
        seconds_max = inf if within is None else float(within)
        if "columns" in payload:
            columns = unpack(payload["columns"])
            loaded = _load(callee, columns)
            if loaded is not None:
                values, raised, seconds = _run(callee.function, loaded, task, seconds_max, _weigher(callee))
                result = _pack_values(callee, values, raised)
                return result | {"left": len(columns[0]) - len(values), "seconds": seconds}
            calls = [_call_of(callee, row) for row in zip(*columns, strict=True)]
        else:
            calls = payload["calls"]
        outcomes, _, seconds = _run(lambda call: run_call(callee, call, task), [calls], task, seconds_max, _size_of)
        return _each(outcomes) | {"left": len(calls) - len(outcomes), "seconds": seconds}
    except BaseException as error:
        end_copy(error)
        return pack_exception(error)


def _load(callee: Callee, columns: list[list[Any]]) -> list[list[Any]] | None:
    """Returns the arguments as the function takes them; None when they are to be looked at call by call."""
    known = callee.columns
    if known is None or not known.fits(len(columns)):
        return None
    changes = known.loads if known.names else (None,) * len(columns)
    try:
        return [convert(column, change) for column, change in zip(columns, changes, strict=False)]
    except Exception:
        return None


def _call_of(callee: Callee, row: tuple[Any, ...]) -> dict[str, Any]:
    """Returns the payload of one call of a chunk, whose arguments are converted already."""
    names = callee.columns.names if callee.columns is not None else ()
    if callee.parameters is not None and len(row) <= len(names):
        return {"arguments": pack(dict(zip(names, row, strict=False)), "a call")}
    return {"args": pack(row, "a call"), "kwargs": pack({}, "a call")}


Weigh: TypeAlias = Callable[[Any], int]
"""Returns how many bytes a result has, packed."""


def _weigher(callee: Callee) -> Weigh | None:
    """Returns how the results of a function are weighed; None when they are small."""
    change = None if callee.columns is None else callee.columns.dump_result
    if change is None:
        return _size_of
    if UNCHANGED_KINDS.get(change) in SMALL_KINDS:
        return None
    return lambda value: _size_of(value, change)


def _size_of(value: Any, change: Convert | None = None) -> int:
    kind = type(value)
    if kind is bytes:
        return len(value)
    if kind is str:
        return len(value) if value.isascii() else 4 * len(value)
    try:
        return len(pack(value if change is None else change(value), "a result"))
    except Exception:  # it is raised where the results are packed
        return 0


def _run(
    function: Callable[..., Any], columns: list[list[Any]], task: Any, seconds_max: float, weigh: Weigh | None
) -> tuple[list[Any], tuple[int, dict[str, Any]] | None, float]:
    """Returns what the calls returned, None where one raised something, the index and exception of the first of these,
    and the seconds they took.

    Ever more calls are made between two looks at the clock, as long as they are short.
    """
    values: list[Any] = []
    raised: tuple[int, dict[str, Any]] | None = None
    calls = map(function, *columns)
    count, step = len(columns[0]), 1
    room = SHARED_BYTES_MAX if weigh is not None and seconds_max != inf else None
    began_at = looked_at = time.monotonic()
    while len(values) < count and (room is None or room > 0):
        wanted = min(len(values) + step, count)
        error: BaseException | None = None
        try:
            if room is None or weigh is None or raised is not None:
                values.extend(islice(calls, wanted - len(values)))
            else:
                room = _extend(values, islice(calls, wanted - len(values)), room, weigh)
            if len(values) < wanted and (room is None or room > 0):
                error = StopIteration()  # map takes it for its end
        except BaseException as found:
            error = found
        if error is not None:
            end_copy(error)
            raised = raised or (len(values), pack_exception(error))
            values.append(None)
        now = time.monotonic()
        if now - began_at >= seconds_max or task.cancelled:
            break
        step = 2 * step if now - looked_at < CANCEL_LOOK_SECONDS else max(step // 2, 1)
        looked_at = now
    return values, raised, time.monotonic() - began_at


def _extend(values: list[Any], results: Iterator[Any], room: int, weigh: Weigh) -> int:
    """Appends results until they have more bytes than there is room for; returns the room that is left."""
    for value in results:
        values.append(value)
        kind = type(value)
        if kind is int:
            if MSGPACK_INT_MIN <= value <= MSGPACK_INT_MAX:
                continue
        elif kind in SMALL_KINDS:
            continue
        room -= weigh(value)
        if room <= 0:
            break
    return room


def _pack_values(callee: Callee, values: list[Any], raised: tuple[int, dict[str, Any]] | None) -> dict[str, Any]:
    if raised is None:
        try:
            plain = convert(values, None if callee.columns is None else callee.columns.dump_result)
            data = pack(plain, "results")
        except Exception:  # it is found again below, of the call that it is about
            pass
        else:
            return {"results": data} if len(data) <= RESULTS_BYTES_MAX else _too_large(len(values), len(data))
        return _each(_pack_value(callee, one) for one in values)
    index, exception = raised
    return _each([*(_pack_value(callee, one) for one in values[:index]), exception])


def _pack_value(callee: Callee, value: Any) -> dict[str, Any]:
    try:
        plain = value if callee.parameters is None else callee.parameters.dump_result(value)
        return {"result": pack(plain, f"the result of {callee.path}")}
    except BaseException as error:
        return pack_exception(error)


def _each(outcomes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    seen = []
    for outcome in outcomes:
        seen.append(outcome)
        if "raised" in outcome:
            break
    size = len(pack(seen, "results"))
    return {"each": seen} if size <= RESULTS_BYTES_MAX else _too_large(len(seen), size)


def _too_large(count: int, size: int) -> dict[str, Any]:
    text = f"the results of {count} calls in one task have {size} bytes, the limit is {RESULTS_BYTES_MAX}: use a smaller chunksize"
    return {"each": [pack_exception(PayloadTooLargeError(text))]}
