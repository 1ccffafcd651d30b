"""Converters, one function for each kind of value; `zq.app.conversion` chooses them."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import repeat
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import UUID

from zq.errors import ConversionError

Convert = Callable[[Any], Any]

MSGPACK_INT_MIN, MSGPACK_INT_MAX = -(1 << 63), (1 << 64) - 1
"""What msgpack holds."""

VALUE_DEPTH_MAX = 100
"""Levels of a value without annotation; msgpack itself reads 512, and a value that holds itself has no end."""


class Converter(NamedTuple):
    """Converts the values of one annotation, both ways; any thread may use it."""

    dump: Convert  # returns what msgpack holds; raises ConversionError when the value is not of the type
    load: Convert  # returns the value; raises ConversionError when the payload is not one of the type


# What msgpack holds by itself: one check for both ways.


def check_native(value: Any, depth: int = 0) -> Any:
    """Returns a value without annotation if msgpack holds it."""
    kind = type(value)
    if kind in (str, bytes, bool, float, types.NoneType):
        return value
    if depth > VALUE_DEPTH_MAX:
        raise ConversionError(f"expected a value of at most {VALUE_DEPTH_MAX} levels")
    parts: Iterable[tuple[Any, Any]] = ()
    if kind is dict:
        for key in value:
            if not isinstance(key, str | bytes | int):
                raise _unfit("a key of str, bytes or int", key)
        parts = value.items()
    elif kind in (list, tuple):
        parts = enumerate(value)
    elif isinstance(value, int):
        check_int(value)
    elif not isinstance(value, str | bytes | float):
        raise _unfit(
            "None, bool, int, float, str, bytes, list and dict, since there is no annotation that says otherwise", value
        )
    for place, one in parts:
        try:
            check_native(one, depth + 1)
        except ConversionError as error:
            raise _at(error, f"[{place!r}]") from None
    return value


def check_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unfit("int", value)
    if not MSGPACK_INT_MIN <= value <= MSGPACK_INT_MAX:
        raise _unfit("an int of 64 bits", value)
    return int(value)


def check_float(value: Any) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _unfit("float", value)
    return float(value)


def check_bytes(value: Any) -> bytes:
    return bytes(_expect((bytes, bytearray, memoryview), value, "bytes"))


CHECKS: dict[type, Convert] = {
    types.NoneType: lambda value: _expect(types.NoneType, value, "None"),
    bool: lambda value: _expect(bool, value, "bool"),
    int: check_int,
    float: check_float,
    str: lambda value: _expect(str, value, "str"),
    bytes: check_bytes,
}

NATIVE = Converter(check_native, lambda plain: plain)


# What holds others.


def sequence(item: Converter, accepted: tuple[type, ...], make: Callable[[list[Any]], Any]) -> Converter:
    """A list, or what is made of one."""
    expected = " or ".join(kind.__name__ for kind in accepted)

    def dump(value: Any) -> Any:
        return _each(repeat(item.dump), _expect(accepted, value, expected))

    def load(plain: Any) -> Any:
        items = _each(repeat(item.load), _expect((list, tuple), plain, "a list"))
        try:
            return make(items)
        except TypeError as error:  # a set of what has no hash
            raise ConversionError(str(error)) from error

    return Converter(dump, load)


def fixed_tuple(items: list[Converter]) -> Converter:
    """A tuple with a converter for each place."""

    def expect(kinds: Any, value: Any) -> Any:
        if not isinstance(value, kinds) or len(value) != len(items):
            raise _unfit(f"a tuple of {len(items)}", value)
        return value

    dumps, loads = zip(*items, strict=True) if items else ((), ())
    return Converter(
        lambda value: _each(dumps, expect(tuple, value)),
        lambda plain: tuple(_each(loads, expect((list, tuple), plain))),
    )


def mapping(of_keys: Converter, of_values: Converter) -> Converter:
    """A map."""

    def convert(keys: Convert, values: Convert, pairs: Mapping[Any, Any]) -> dict[Any, Any]:
        made = {}
        name = None
        try:
            for name, one in pairs.items():
                key = keys(name)
                made[_as_key(key) if isinstance(key, list | dict) else key] = values(one)
        except ConversionError as error:
            raise _at(error, f"[{name!r}]") from None
        return made

    return Converter(
        lambda value: convert(of_keys.dump, of_values.dump, _expect(Mapping, value, "a mapping")),
        lambda plain: convert(of_keys.load, of_values.load, _expect(dict, plain, "a map")),
    )


def _as_key(plain: Any) -> Any:
    """Returns what a converter made of a key as something that can be one: tuples and sets travel as tuples."""
    if isinstance(plain, dict):
        raise ConversionError("expected a key that is one value or a tuple of values; a record cannot be a key")
    return tuple(map(_as_key, plain)) if isinstance(plain, list) else plain


def union(alternatives: list[Converter], annotation: Any) -> Converter:
    """One of several, the first that fits."""

    def convert(converts: Iterable[Convert], value: Any) -> Any:
        problems = []
        for one in converts:
            try:
                return one(value)
            except ConversionError as error:
                problems.append(str(error))
        raise ConversionError(f"expected {annotation}: {'; '.join(problems)}")

    dumps, loads = zip(*alternatives, strict=True)
    return Converter(lambda value: convert(dumps, value), lambda plain: convert(loads, plain))


def _each(converts: Iterable[Convert], values: Iterable[Any]) -> list[Any]:
    made: list[Any] = []
    try:
        for convert, one in zip(converts, values, strict=False):  # those of a list have no end
            made.append(convert(one))
    except ConversionError as error:
        raise _at(error, f"[{len(made)}]") from None
    return made


class RecordConverter:
    """A map of the fields of a class; they are found when the first value is met, so that a class may hold itself.

    Args:
        kind: a dataclass, a NamedTuple or a TypedDict.
        converter_of: chooses the converters of the fields.
    """

    def __init__(self, kind: Any, converter_of: Callable[[Any], Converter]) -> None:
        self._kind = kind
        self._converter_of = converter_of
        self.converter = Converter(self._dump_map if typing.is_typeddict(kind) else self._dump, self._load)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self._kind, include_extras=True)

    @cached_property
    def _fields(self) -> dict[str, Converter]:
        if dataclasses.is_dataclass(self._kind):
            names = {field.name for field in dataclasses.fields(self._kind) if field.init}
        else:
            names = set(getattr(self._kind, "_fields", self._hints))
        return {name: self._converter_of(hint) for name, hint in self._hints.items() if name in names}

    @cached_property
    def _required(self) -> set[str]:
        """The keys that a TypedDict must have; where annotations are text, the class does not see NotRequired."""
        marks = {name: typing.get_origin(hint) for name, hint in self._hints.items()}
        required = {name for name, mark in marks.items() if mark is typing.Required}
        return required | {
            name for name in getattr(self._kind, "__required_keys__", ()) if marks[name] is not typing.NotRequired
        }

    def _dump(self, value: Any) -> Any:
        if type(value) is not self._kind:
            raise _unfit(self._kind.__name__, value)
        return self._convert(0, ((name, getattr(value, name)) for name in self._fields))

    def _dump_map(self, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() - self._fields.keys() or self._required - value.keys():
            raise _unfit(f"{self._kind.__name__} with the keys {', '.join(self._fields)}", value)
        return self._convert(0, value.items())

    def _load(self, plain: Any) -> Any:
        name = self._kind.__name__
        _expect(dict, plain, f"a map of the fields of {name}")
        if unknown := plain.keys() - self._fields.keys():
            raise ConversionError(f"expected the fields of {name}, got also {', '.join(map(str, unknown))}")
        values = self._convert(1, plain.items())
        if missing := self._required - values.keys():
            raise ConversionError(f"expected all fields of {name}, got none for {', '.join(sorted(missing))}")
        try:
            return self._kind(**values)
        except Exception as error:  # its __init__ and __post_init__ are the user's
            raise ConversionError(f"cannot make {name}: {type(error).__name__}: {error}") from error

    def _convert(self, way: int, values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Returns the fields, dumped (0) or loaded (1)."""
        made = {}
        name = ""
        try:
            for name, one in values:
                made[name] = self._fields[name][way](one)
        except ConversionError as error:
            raise _at(error, f".{name}") from None
        return made


# What stands for a value.


def literal(values: tuple[Any, ...]) -> Converter:
    """One of some values."""
    plains = [value.value if isinstance(value, enum.Enum) else value for value in values]

    def load(plain: Any) -> Any:
        for known, value in zip(plains, values, strict=True):
            if type(known) is type(plain) and known == plain:
                return value
        raise _unfit(f"one of {', '.join(map(repr, values))}", plain)

    def dump(value: Any) -> Any:
        plain = value.value if isinstance(value, enum.Enum) else value
        load(plain)
        return plain

    return Converter(dump, load)


def member(kind: type[enum.Enum]) -> Converter:
    """A member of an Enum, by its value."""
    name = kind.__name__
    return _written(
        kind,
        lambda value: check_native(value.value),
        lambda plain: kind(tuple(plain) if isinstance(plain, list) else plain),
        (f"a member of {name}", f"a value of {name}"),
    )


class Text(NamedTuple):
    """How a value is written; `form` is the type of what is written, for messages."""

    write: Convert
    read: Convert
    form: str = "str"


def _write_date(value: date) -> str:
    if isinstance(value, datetime):  # is a date, whose time would be lost
        raise _unfit("date", value)
    return value.isoformat()


TEXTS: dict[type, Text] = {
    datetime: Text(datetime.isoformat, datetime.fromisoformat),  # before date, of which it is one
    date: Text(_write_date, date.fromisoformat),
    time: Text(time.isoformat, time.fromisoformat),
    timedelta: Text(timedelta.total_seconds, lambda plain: timedelta(seconds=plain), "float"),
    Decimal: Text(str, lambda plain: Decimal(str(plain))),
    UUID: Text(str, UUID),
    Path: Text(str, Path),
    PurePath: Text(str, PurePath),
}


def text(kind: type) -> Converter:
    """What is written as text, or as a number."""
    write, read, form = TEXTS[kind]
    return _written(kind, write, read, (kind.__name__, f"{kind.__name__} as {form}"))


def _written(kind: type, write: Convert, read: Convert, expected: tuple[str, str]) -> Converter:
    def load(plain: Any) -> Any:
        try:
            return read(plain)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise _unfit(expected[1], plain) from None

    return Converter(lambda value: write(_expect(kind, value, expected[0])), load)


# What other libraries convert.


def struct(annotation: Any, kind: type) -> Converter:
    """A msgspec Struct."""
    msgspec: Any = sys.modules["msgspec"]  # it made the class, so it is there
    kept = (bytes, bytearray)
    return _converted(
        kind,
        lambda value: msgspec.to_builtins(value, builtin_types=kept),
        lambda plain: msgspec.convert(plain, annotation, builtin_types=kept),
        msgspec.ValidationError,
    )


def model(kind: Any) -> Converter:
    """A pydantic model."""
    return _converted(
        kind,
        lambda value: _plain(value.model_dump(by_alias=True, round_trip=True)),
        kind.model_validate,
        ValueError,  # pydantic's ValidationError is one
    )


def _converted(kind: type, write: Convert, read: Convert, invalid: type[Exception]) -> Converter:
    name = kind.__name__

    def dump(value: Any) -> Any:
        _expect(kind, value, name)
        try:
            return write(value)
        except (TypeError, ValueError) as error:
            raise ConversionError(f"cannot dump {name}: {error}") from error

    def load(plain: Any) -> Any:
        try:
            return read(plain)
        except (TypeError, ValueError, invalid) as error:
            raise ConversionError(f"cannot make {name}: {error}") from error

    return Converter(dump, load)


def _plain(value: Any) -> Any:
    """Returns what a model has dumped, with what msgpack does not hold in its written form."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    for kind, form in TEXTS.items():
        if isinstance(value, kind):
            return form.write(value)
    return check_native(value)


# Errors.


def _expect(kinds: Any, value: Any, expected: str) -> Any:
    """Returns a value that is of one of the kinds."""
    if not isinstance(value, kinds):
        raise _unfit(expected, value)
    return value


def _unfit(expected: str, value: Any) -> ConversionError:
    try:
        text = repr(value)
    except Exception:
        text = "?"
    return ConversionError(
        f"expected {expected}, got {type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
    )


def _at(error: ConversionError, place: str) -> ConversionError:
    """Returns an error that says where in a value it was."""
    return ConversionError(error.text, place + error.place)
