"""A call of an importable function as bytes: what `zq.Executor` submits, and what its workers run.

A function travels as its name, never as code: `module:qualname`, or `file.py:qualname` for a script that is run itself.
Its arguments and its result are converted by its annotations where those say something that a payload can follow;
everything else must be what msgpack holds, or one of tuple, set, frozenset, complex and large int, which are kept as
they are here, since both ends are Python. What a function raises is part of its result: an exception of a known class
is made again on the other side.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable
from inspect import Parameter
from typing import Any, NamedTuple

import msgpack

from zq.app.conversion import converter_of
from zq.app.converters import MSGPACK_INT_MAX, MSGPACK_INT_MIN, Convert, Converter
from zq.app.parameters import Parameters
from zq.errors import ConversionError, TaskFailedError
from zq.executor.belonging import ALLOW_ALL, find_exception, find_own
from zq.handling.contexts import end_copy
from zq.handling.raised import text_of, trace_of
from zq.processes.references import MAIN, ModuleFailedError, is_script, load_reference, reference_to
from zq.wire.limits import TEXT_CHARS_MAX

NESTED_MAX = 100
"""Tuples and sets within each other: each is packed by itself, and takes some of the stack of whoever unpacks it."""

TUPLE, SET, FROZENSET, COMPLEX, LARGE_INT = range(1, 6)
"""Extension types of msgpack in arguments and results."""

COLLECTIONS: dict[type[Any], int] = {tuple: TUPLE, frozenset: FROZENSET, set: SET}
"""Of which the items are sent, as a list; also those of subclasses."""

COLLECTIONS_BY_TYPE = {code: kind for kind, code in COLLECTIONS.items()}

BASES: tuple[type[Any], ...] = (str, bytes, float, list, dict)
"""Of whose subclasses the value is sent."""

BY_PLACE = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}

AS_IT_IS = Converter(lambda value: value, lambda plain: plain)
"""Converts nothing: what cannot be packed is found when it is packed."""

ARGUMENTS_BYTES_MAX = 1 << 18
"""Of the arguments of an exception, packed: what is larger travels as its text, cut, and the class is kept."""

NOTES_SENT_MAX, NOTE_CHARS_MAX = 20, 1000
"""Of an exception; all else stands in its traceback."""

LARGE_INT_BYTES_MAX = 1 << 16
"""Of an int: half a million bits."""


class RemoteTraceback(Exception):
    """The traceback of where a function raised, as text; the cause of the exception that is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Columns(NamedTuple):
    """The parameters of a function that may be given by their places, and its result.

    Of a function whose parameters are not known there are no names, and every argument is sent as it is.
    """

    names: tuple[str, ...]
    required: int
    dumps: tuple[Convert | None, ...]  # None: as it is
    loads: tuple[Convert | None, ...]
    dump_result: Convert | None
    load_result: Convert | None

    def fits(self, count: int) -> bool:
        """Whether so many arguments are taken."""
        return not self.names or self.required <= count <= len(self.names)


class Callee(NamedTuple):
    """A function that can be called elsewhere."""

    path: str
    function: Callable[..., Any]
    parameters: Parameters | None  # None when it does not tell: some builtins
    columns: Columns | None = None  # how many calls are converted at once; None: each by itself


def describe(function: Any) -> Callee:
    """Returns how another process finds a function.

    Raises:
        TypeError: it cannot, since it has no name of its own in a module.
    """
    if not callable(function):
        raise TypeError(f"expected a function, got {type(function).__name__}")
    if isinstance(function, Hashable):
        return _describe(function)
    raise TypeError(f"expected a function that can be imported, got {function!r}")


@functools.lru_cache(maxsize=1000)
def _describe(function: Any) -> Callee:
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"expected a plain function, got the coroutine function {function!r}; `async def` is for zq.App and zq.Worker"
        )
    try:
        path = reference_to(function)
    except ValueError as why:
        raise TypeError(f"expected a function that can be imported, got {function!r}: {why}") from why
    return _callee(path, function)


def _callee(path: str, function: Callable[..., Any]) -> Callee:
    parameters = _parameters(function)
    return Callee(path, function, parameters, _columns(parameters))


def _columns(parameters: Parameters | None) -> Columns | None:
    """Returns how many calls are converted at once; None when they cannot be, or take no arguments."""
    if parameters is None:
        return Columns((), 0, (), (), None, None)
    given = parameters.given.parameters
    kinds = {one.kind for one in given.values()}
    if parameters.task_name is not None or not given or not kinds <= BY_PLACE:
        return None
    converters = [parameters.converters[name] for name in given]
    return Columns(
        tuple(given),
        sum(one.default is Parameter.empty for one in given.values()),
        tuple(None if one is AS_IT_IS else one.dump for one in converters),
        tuple(None if one is AS_IT_IS else one.load for one in converters),
        None if parameters.result is AS_IT_IS else parameters.result.dump,
        None if parameters.result is AS_IT_IS else parameters.result.load,
    )


def _parameters(function: Callable[..., Any]) -> Parameters | None:
    try:
        inspect.signature(function)
        made = Parameters(function, choose=_choose)
        made.check()
    except (ValueError, TypeError):  # no signature, or annotations that cannot be evaluated
        return None
    return made


def _choose(annotation: Any) -> Converter:
    if annotation is Any or annotation is object:
        return AS_IT_IS
    try:
        return converter_of(annotation)
    except ConversionError:
        return AS_IT_IS


# Values.


def pack(value: Any, what: str) -> bytes:
    """Returns a value as bytes.

    Raises:
        TypeError: it holds something that cannot travel.
    """
    try:
        return msgpack.packb(value, default=_PACK_MORE, strict_types=True)
    except Exception as error:  # also what a value raises that is looked at
        raise TypeError(f"{what}: {error}") from None


def _pack_more(value: Any, *, depth: int) -> Any:
    for kind, code in COLLECTIONS.items():
        if isinstance(value, kind):
            if depth == NESTED_MAX:
                raise TypeError(f"tuples and sets are nested more than {NESTED_MAX} deep")
            pack_more = functools.partial(_pack_more, depth=depth + 1)
            return msgpack.ExtType(code, msgpack.packb(list(value), default=pack_more, strict_types=True))
    if isinstance(value, complex):
        return msgpack.ExtType(COMPLEX, msgpack.packb([value.real, value.imag]))
    if isinstance(value, int) and not isinstance(value, bool):
        if MSGPACK_INT_MIN <= value <= MSGPACK_INT_MAX:
            return int(value)  # of a subclass, such as an IntEnum
        size = value.bit_length() // 8 + 1
        if size > LARGE_INT_BYTES_MAX:
            raise TypeError(f"an int of {size} bytes is too large")
        return msgpack.ExtType(LARGE_INT, value.to_bytes(size, "little", signed=True))
    for kind in BASES:
        if isinstance(value, kind) and type(value) is not kind:
            return kind(value)
    raise TypeError(
        f"{type(value).__module__}.{type(value).__qualname__} cannot be sent; expected None, bool, int, float, complex, str, bytes, tuple, list, "
        "set, frozenset and dict, or a class that the function's annotation names: a dataclass, NamedTuple, TypedDict, msgspec Struct or pydantic model"
    )


_PACK_MORE = functools.partial(_pack_more, depth=0)


def make_packer() -> Callable[[Any], bytes]:
    """Returns what packs values for one thread until it raises anything: then it may hold half a value."""
    made: Callable[[Any], bytes] = msgpack.Packer(default=_PACK_MORE, strict_types=True).pack
    return made


def unpack(data: bytes) -> Any:
    """Returns the value of some bytes; raises ValueError when they are not one."""
    return _unpack(data, 0)


def _unpack(data: bytes, depth: int) -> Any:
    if depth > NESTED_MAX:
        raise ValueError(f"tuples and sets are nested more than {NESTED_MAX} deep")
    try:
        unpack_more = functools.partial(_unpack_more, depth=depth)
        return msgpack.unpackb(data, ext_hook=unpack_more, strict_map_key=False, use_list=True)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ValueError(
            f"expected arguments or a result of a call, got {len(data)} bytes that are not: {error}"
        ) from None


def _unpack_more(code: int, data: bytes, *, depth: int) -> Any:
    if code in COLLECTIONS_BY_TYPE:
        return COLLECTIONS_BY_TYPE[code](_unpack(data, depth + 1))
    if code == COMPLEX:
        return complex(*_unpack(data, depth + 1))
    if code == LARGE_INT:
        return int.from_bytes(data, "little", signed=True)
    return msgpack.ExtType(code, data)


# A call, on its way out.


def pack_call(callee: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the payload of a call.

    Raises:
        TypeError: the arguments do not fit the function, or cannot be sent.
    """
    what = f"an argument of {callee.path}"
    if callee.parameters is None:
        return {"function": callee.path, "args": pack(args, what), "kwargs": pack(kwargs, what)}
    try:
        arguments = callee.parameters.dump(args, kwargs)
    except ConversionError:
        raise
    except TypeError:  # the function itself shall raise it, where it is called
        return {"function": callee.path, "args": pack(args, what), "kwargs": pack(kwargs, what)}
    return {"function": callee.path, "arguments": pack(arguments, what)}


def unpack_result(callee: Callee, id: str, plain: Any) -> Any:
    """Returns what a call returned, or raises what it raised.

    Raises:
        TaskFailedError: it raised something that cannot be made again here.
        ValueError, ConversionError: what came is not the result of a call.
    """
    match plain:
        case {"result": bytes(data)}:
            value = unpack(data)
            return value if callee.parameters is None else callee.parameters.load_result(value)
        case {"raised": str(path), "args": args, "text": str(text)}:
            made = _make_exception(id, path, args, text)
            notes = plain.get("notes")
            for note in notes if isinstance(notes, list) else ():
                made.add_note(str(note))
            raise made from RemoteTraceback(text)
    raise ValueError(f"expected the result of a call, got {type(plain).__name__}")


def _make_exception(id: str, path: str, args: Any, text: str) -> BaseException:
    """Makes an exception again, if its class is loaded here: nothing is imported because a worker says so."""
    module, _, name = path.partition(":")
    try:
        kind = find_exception(module, name)
        if kind is not None and isinstance(args, bytes):
            made = kind(*unpack(args))
            if issubclass(type(made), BaseException):
                return made
    except BaseException:  # the constructor is anybody's code, and sys.exit in it ends nothing
        pass
    return TaskFailedError(id, text)


# A call, where it is run.


def find(path: str, allow: Iterable[str]) -> Callee:
    """Returns the function of a path: with `*` in what is allowed whatever is there, and otherwise what belongs to the
    module of the path.

    Raises:
        ValueError: there is none.
    """
    try:
        function = load_reference(path) if ALLOW_ALL in allow else find_own(path, allow)
    except ModuleFailedError:
        raise
    except (ImportError, AttributeError, KeyError, OSError, ValueError) as error:
        raise ValueError(f"there is no function {path} here: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise ValueError(f"expected a function at {path}, got {type(function).__name__}")
    return _callee(path, function)


def run_call(callee: Callee, payload: dict[str, Any], task: Any) -> dict[str, Any]:
    """Calls a function and returns its result, or what it raised, as a payload; raises nothing."""
    try:
        if "arguments" in payload and callee.parameters is not None:
            value = _call_by_name(callee, unpack(payload["arguments"]), task)
        else:
            value = callee.function(*unpack(payload["args"]), **unpack(payload["kwargs"]))
        plain = value if callee.parameters is None else callee.parameters.dump_result(value)
        return {"result": pack(plain, f"the result of {callee.path}")}
    except BaseException as error:
        end_copy(error)
        return pack_exception(error)


def _call_by_name(callee: Callee, plain: Any, task: Any) -> Any:
    columns = callee.columns
    if (  # as nearly every call is
        columns is not None
        and not any(columns.loads)
        and type(plain) is dict
        and columns.required <= len(plain)
        and tuple(plain) == columns.names[: len(plain)]
    ):
        return callee.function(*plain.values())
    assert callee.parameters is not None
    bound = callee.parameters.load(plain, task)
    return callee.function(*bound.args, **bound.kwargs)


def pack_exception(error: BaseException) -> dict[str, Any]:
    """Returns what was raised as a payload."""
    kind = type(error)
    try:
        args: bytes | None = pack(error.args, "the arguments of an exception")
        if args is not None and len(args) > ARGUMENTS_BYTES_MAX:
            args = pack((text_of(error, TEXT_CHARS_MAX),), "the text of an exception")
    except BaseException:  # they are anybody's objects
        args = None
    module = text_of(kind.__module__, TEXT_CHARS_MAX)
    path = f"{MAIN if is_script(module) else module}:{text_of(kind.__qualname__, TEXT_CHARS_MAX)}"
    packed: dict[str, Any] = {"raised": path, "args": args, "text": trace_of(error, TEXT_CHARS_MAX)}
    notes = _notes_of(error)
    if notes:
        packed["notes"] = notes
    return packed


def _notes_of(error: BaseException) -> list[str]:
    """Returns the notes of an exception; raises nothing, whatever it says of itself."""
    try:
        notes = error.__notes__
    except BaseException:  # mostly there are none, and it may be anybody's property
        return []
    return [one[:NOTE_CHARS_MAX] for one in notes[:NOTES_SENT_MAX] if type(one) is str] if type(notes) is list else []
