"""Converters, one class for each kind of value; `zq.app.conversion` chooses them."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import pathlib
import sys
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from zq.errors import ConversionError

INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1
"""What msgpack holds."""

DEPTH_MAX = 100
"""Levels of a value without annotation; msgpack itself reads 512, and a value that holds itself has no end."""

NATIVE = "None, bool, int, float, str, bytes, list and dict"


class Converter(Protocol):
    """Converts the values of one annotation; any thread may use it."""

    def dump(self, value: Any) -> Any:
        """Returns what msgpack holds; raises ConversionError when the value is not of the type."""

    def load(self, plain: Any) -> Any:
        """Returns the value; raises ConversionError when the payload is not one of the type."""


class NativeConverter:
    """Whatever msgpack holds by itself."""

    def dump(self, value: Any) -> Any:
        self._check(value, 0)
        return value

    def load(self, plain: Any) -> Any:
        return plain

    def _check(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind in (str, bytes, bool, float, types.NoneType):
            return
        if depth > DEPTH_MAX:
            raise ConversionError(f"expected a value of at most {DEPTH_MAX} levels")
        if isinstance(value, int):
            if not INT_MIN <= value <= INT_MAX:
                raise _unfit("an int of 64 bits", value)
        elif kind in (list, tuple):
            for index, one in enumerate(value):
                self._check_part(one, depth, f"[{index}]")
        elif kind is dict:
            for key, one in value.items():
                if not isinstance(key, str | bytes | int):
                    raise _unfit("a key of str, bytes or int", key)
                self._check_part(one, depth, f"[{key!r}]")
        elif not isinstance(value, str | bytes | float):
            raise _unfit(f"{NATIVE}, since there is no annotation that says otherwise", value)

    def _check_part(self, value: Any, depth: int, place: str) -> None:
        try:
            self._check(value, depth + 1)
        except ConversionError as error:
            raise at(error, place) from None


class ExactConverter:
    """Values that are what they are; also bool, which is no int here."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise _unfit("None" if self._kind is types.NoneType else self._kind.__name__, value)
        return value

    load = dump


class IntConverter(ExactConverter):
    def dump(self, value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _unfit("int", value)
        if not INT_MIN <= value <= INT_MAX:
            raise _unfit("an int of 64 bits", value)
        return int(value)

    load = dump


class FloatConverter(ExactConverter):
    def dump(self, value: Any) -> Any:
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise _unfit("float", value)
        return float(value)

    load = dump


class BytesConverter(ExactConverter):
    def dump(self, value: Any) -> Any:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise _unfit("bytes", value)
        return bytes(value)

    load = dump


class ListConverter:
    """A list, or what is made of one."""

    def __init__(self, item: Converter, accepted: tuple[type, ...], make: Callable[[list[Any]], Any]) -> None:
        self._item = item
        self._accepted = accepted
        self._make = make

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._accepted) or isinstance(value, str | bytes | dict):
            raise _unfit(" or ".join(kind.__name__ for kind in self._accepted), value)
        items = typing.cast(Iterable[Any], value)
        return [_part(self._item.dump, one, index) for index, one in enumerate(items)]

    def load(self, plain: Any) -> Any:
        if not isinstance(plain, list | tuple):
            raise _unfit("a list", plain)
        try:
            return self._make([_part(self._item.load, one, index) for index, one in enumerate(plain)])
        except TypeError as error:  # a set of what has no hash
            if isinstance(error, ConversionError):
                raise
            raise ConversionError(str(error)) from error


def _part(convert: Callable[[Any], Any], value: Any, place: Any) -> Any:
    try:
        return convert(value)
    except ConversionError as error:
        raise at(error, f"[{place!r}]") from None


class TupleConverter:
    """A tuple with a converter for each place."""

    def __init__(self, items: list[Converter]) -> None:
        self._items = items

    def dump(self, value: Any) -> Any:
        return self._convert(value, "dump", tuple)

    def load(self, plain: Any) -> Any:
        return tuple(self._convert(plain, "load", list | tuple))

    def _convert(self, value: Any, verb: str, kind: Any) -> list[Any]:
        if not isinstance(value, kind) or len(value) != len(self._items):
            raise _unfit(f"a tuple of {len(self._items)}", value)
        return [
            _part(getattr(item, verb), one, n) for n, (item, one) in enumerate(zip(self._items, value, strict=True))
        ]


class DictConverter:
    """A map."""

    def __init__(self, key: Converter, value: Converter) -> None:
        self._key = key
        self._value = value

    def dump(self, value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise _unfit("a mapping", value)
        return {_part(self._key.dump, key, key): _part(self._value.dump, one, key) for key, one in value.items()}

    def load(self, plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _unfit("a map", plain)
        return {_part(self._key.load, key, key): _part(self._value.load, one, key) for key, one in plain.items()}


class UnionConverter:
    """One of several."""

    def __init__(self, alternatives: list[Converter], annotation: Any) -> None:
        self._alternatives = alternatives
        self._annotation = annotation

    def dump(self, value: Any) -> Any:
        return self._convert(value, "dump")

    def load(self, plain: Any) -> Any:
        return self._convert(plain, "load")

    def _convert(self, value: Any, verb: str) -> Any:
        problems = []
        for alternative in self._alternatives:
            try:
                return getattr(alternative, verb)(value)
            except ConversionError as error:
                problems.append(str(error))
        raise ConversionError(f"expected {self._annotation}: {'; '.join(problems)}")


class LiteralConverter:
    """One of some values."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._values = values

    def dump(self, value: Any) -> Any:
        plain = value.value if isinstance(value, enum.Enum) else value
        self.load(plain)
        return plain

    def load(self, plain: Any) -> Any:
        for value in self._values:
            known = value.value if isinstance(value, enum.Enum) else value
            if type(known) is type(plain) and known == plain:
                return value
        raise _unfit(f"one of {', '.join(map(repr, self._values))}", plain)


class EnumConverter:
    """A member, by its value."""

    def __init__(self, kind: type[enum.Enum]) -> None:
        self._kind = kind

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise _unfit(f"a member of {self._kind.__name__}", value)
        return NativeConverter().dump(value.value)

    def load(self, plain: Any) -> Any:
        try:
            return self._kind(tuple(plain) if isinstance(plain, list) else plain)
        except (ValueError, TypeError):
            raise _unfit(f"a value of {self._kind.__name__}", plain) from None


class TextConverter:
    """What is written as text, or as a number."""

    def __init__(self, kind: type, write: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
        self._kind = kind
        self._write = write
        self._read = read

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise _unfit(self._kind.__name__, value)
        return self._write(value)

    def load(self, plain: Any) -> Any:
        try:
            return self._read(plain)
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise _unfit(
                f"{self._kind.__name__} as {type(self._write(_SAMPLES[self._kind])).__name__}", plain
            ) from None


class RecordConverter:
    """A map of fields; their converters are made when the first value is met, so that a class may hold itself."""

    def __init__(
        self,
        kind: type,
        names: Callable[[], set[str]],
        take: Callable[[Any, str], Any],
        converter_of: Callable[[Any], Converter],
    ) -> None:
        self._kind = kind
        self._converter_of = converter_of
        self._names = names
        self._take = take

    @functools.cached_property
    def fields(self) -> dict[str, Converter]:
        names = self._names()
        return {name: self._converter_of(hint) for name, hint in self._hints.items() if name in names}

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self._kind, include_extras=True)

    def dump(self, value: Any) -> Any:
        if typing.is_typeddict(self._kind):
            return self._dump_map(value)
        if type(value) is not self._kind:
            raise _unfit(self._kind.__name__, value)
        return {name: self._field(one.dump, self._take(value, name), name) for name, one in self.fields.items()}

    def _dump_map(self, value: Any) -> Any:
        if not isinstance(value, dict) or value.keys() - self.fields.keys() or self._required - value.keys():
            raise _unfit(f"{self._kind.__name__} with the keys {', '.join(self.fields)}", value)
        return {name: self._field(self.fields[name].dump, one, name) for name, one in value.items()}

    @functools.cached_property
    def _required(self) -> set[str]:
        """The keys that a TypedDict must have. Where annotations are text, the class itself does not see
        NotRequired.
        """
        known = getattr(self._kind, "__required_keys__", ())
        origins = {name: typing.get_origin(hint) for name, hint in self._hints.items()}
        return {
            name
            for name, origin in origins.items()
            if origin is typing.Required or (name in known and origin is not typing.NotRequired)
        }

    def load(self, plain: Any) -> Any:
        name = self._kind.__name__
        if not isinstance(plain, dict):
            raise _unfit(f"a map of the fields of {name}", plain)
        unknown = plain.keys() - self.fields.keys()
        if unknown:
            raise ConversionError(f"expected the fields of {name}, got also {', '.join(map(str, unknown))}")
        values = {key: self._field(self.fields[key].load, one, key) for key, one in plain.items()}
        if self._required - values.keys():
            raise ConversionError(
                f"expected all fields of {name}, got none for {', '.join(sorted(self._required - values.keys()))}"
            )
        try:
            return self._kind(**values)
        except Exception as error:  # its __init__ and __post_init__ are the user's
            raise ConversionError(f"cannot make {name}: {type(error).__name__}: {error}") from error

    def _field(self, convert: Callable[[Any], Any], value: Any, name: str) -> Any:
        try:
            return convert(value)
        except ConversionError as error:
            raise at(error, f".{name}") from None


class StructConverter:
    """A msgspec Struct."""

    def __init__(self, annotation: Any, kind: type) -> None:
        self._msgspec: Any = sys.modules["msgspec"]  # it made the class, so it is there
        self._annotation = annotation
        self._kind = kind

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise _unfit(self._kind.__name__, value)
        try:
            return self._msgspec.to_builtins(value, builtin_types=(bytes, bytearray))
        except (TypeError, ValueError) as error:
            raise ConversionError(f"cannot dump {self._kind.__name__}: {error}") from error

    def load(self, plain: Any) -> Any:
        try:
            return self._msgspec.convert(plain, self._annotation, builtin_types=(bytes, bytearray))
        except (self._msgspec.ValidationError, TypeError, ValueError) as error:
            raise ConversionError(f"cannot make {self._kind.__name__}: {error}") from error


class ModelConverter:
    """A pydantic model."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def dump(self, value: Any) -> Any:
        if not isinstance(value, self._kind):
            raise _unfit(self._kind.__name__, value)
        try:
            return _plain(value.model_dump(by_alias=True, round_trip=True))
        except ConversionError as error:
            raise ConversionError(f"cannot dump {self._kind.__name__}: {error}") from error

    def load(self, plain: Any) -> Any:
        try:
            return self._kind.model_validate(plain)
        except ValueError as error:  # pydantic's ValidationError is one
            raise ConversionError(f"cannot make {self._kind.__name__}: {error}") from error


def _plain(value: Any) -> Any:
    """Returns what a model has dumped, with what msgpack does not hold in its written form."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    for kind, (write, _) in TEXTS.items():
        if isinstance(value, kind):
            return write(value)
    return NativeConverter().dump(value)


def _unfit(expected: str, value: Any) -> ConversionError:
    try:
        text = repr(value)
    except Exception:
        text = "?"
    return ConversionError(
        f"expected {expected}, got {type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
    )


def at(error: ConversionError, place: str) -> ConversionError:
    """Returns an error that says where in a value it was."""
    return ConversionError(error.text, place + error.place)


TEXTS: dict[Any, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    # datetime before date, of which it is one.
    datetime.datetime: (datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: (datetime.time.isoformat, datetime.time.fromisoformat),
    datetime.timedelta: (datetime.timedelta.total_seconds, lambda plain: datetime.timedelta(seconds=plain)),
    decimal.Decimal: (str, lambda plain: decimal.Decimal(str(plain))),
    uuid.UUID: (str, uuid.UUID),
    pathlib.Path: (str, pathlib.Path),
    pathlib.PurePath: (str, pathlib.PurePath),
}

_SAMPLES: dict[Any, Any] = {
    datetime.datetime: datetime.datetime(2000, 1, 1),
    datetime.date: datetime.date(2000, 1, 1),
    datetime.time: datetime.time(),
    datetime.timedelta: datetime.timedelta(),
    decimal.Decimal: decimal.Decimal(0),
    uuid.UUID: uuid.UUID(int=0),
    pathlib.Path: pathlib.Path(),
    pathlib.PurePath: pathlib.PurePath(),
}
