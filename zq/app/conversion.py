"""Values to payloads and back, by annotations.

A *converter* belongs to an annotation. Its `dump` makes of a value what msgpack holds, and checks on the way that the
value is of that type; its `load` makes the value again, and trusts nothing: it is given what came over the wire.
Without an annotation (or with `Any`) values pass as they are, and only what msgpack holds by itself may pass: nobody
would make a dataclass of its map again.

| annotation | in the payload |
| --- | --- |
| None, bool, int, float, str, bytes | the same; an int will do for a float |
| list, tuple, set, frozenset, Sequence, Iterable ... of anything here | a list |
| dict, Mapping ... | a map |
| a dataclass, a NamedTuple, a TypedDict | a map of its fields |
| a msgspec Struct, a pydantic model | what the library makes of it |
| an Enum, a Literal | its value |
| datetime, date, time; timedelta; Decimal, UUID, Path | text in ISO 8601; seconds; text |
| unions | the first alternative that fits, in the order in which they are written |

msgspec and pydantic are used when a class of theirs is met, which means that they are loaded already; they are never
imported for their own sake.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any

from zq.app.converters import (
    TEXTS,
    BytesConverter,
    Converter,
    DictConverter,
    EnumConverter,
    ExactConverter,
    FloatConverter,
    IntConverter,
    ListConverter,
    LiteralConverter,
    ModelConverter,
    NativeConverter,
    RecordConverter,
    StructConverter,
    TextConverter,
    TupleConverter,
    UnionConverter,
)
from zq.errors import ConversionError


def converter_of(annotation: Any) -> Converter:
    """Returns the converter of an annotation, which has been evaluated (`typing.get_type_hints`).

    Raises:
        ConversionError: there is none, since nothing in a payload could stand for such values.
    """
    if not isinstance(annotation, type):
        return _make(annotation)
    if annotation not in _cache:
        _cache[annotation] = _make(annotation)
    return _cache[annotation]


_cache: dict[type, Converter] = {}
"""Of classes only: `int | str` and `str | int` are equal, and `list[int | str]` and `list[str | int]` are."""


def _make(annotation: Any) -> Converter:
    if annotation is Any or annotation is object:
        return NativeConverter()
    if annotation is None or annotation is types.NoneType:
        return ExactConverter(types.NoneType)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is not None:
        return _make_generic(annotation, origin, arguments)
    if isinstance(annotation, typing.TypeVar):
        return converter_of(annotation.__bound__ or Any)
    if isinstance(annotation, typing.NewType):
        return converter_of(annotation.__supertype__)
    if hasattr(annotation, "__value__"):  # `type X = ...`
        return converter_of(annotation.__value__)
    if not isinstance(annotation, type):
        raise ConversionError(f"expected an annotation that a payload can follow, got {annotation!r}")
    return _make_class(annotation)


def _make_generic(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Converter:
    if origin is typing.Annotated:
        return converter_of(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        return UnionConverter([converter_of(one) for one in arguments], annotation)
    if origin is typing.Literal:
        return LiteralConverter(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return TupleConverter([converter_of(one) for one in arguments])
    if origin in _SEQUENCES:
        return ListConverter(converter_of(arguments[0]), *_SEQUENCES[origin])
    if origin in _MAPPINGS:
        return DictConverter(converter_of(arguments[0]), converter_of(arguments[1]))
    if origin in (typing.Required, typing.NotRequired, typing.Final):
        return converter_of(arguments[0])
    if isinstance(origin, type) and (_is_struct(origin) or _is_model(origin)):
        return _make_class(annotation, origin)
    raise ConversionError(f"expected an annotation that a payload can follow, got {annotation!r}")


def _make_class(annotation: Any, origin: type | None = None) -> Converter:
    kind = origin or annotation
    if kind in (bool, int, float, str, bytes):
        return {
            bool: ExactConverter,
            int: IntConverter,
            float: FloatConverter,
            str: ExactConverter,
            bytes: BytesConverter,
        }[kind](kind)
    if kind in _SEQUENCES:
        return ListConverter(NativeConverter(), *_SEQUENCES[kind])
    if kind in _MAPPINGS:
        return DictConverter(NativeConverter(), NativeConverter())
    if kind in TEXTS:
        return TextConverter(kind, *TEXTS[kind])
    if issubclass(kind, enum.Enum):
        return EnumConverter(kind)
    if _is_struct(kind):
        return StructConverter(annotation, kind)
    if _is_model(kind):
        return ModelConverter(kind)
    if dataclasses.is_dataclass(kind):
        return RecordConverter(
            kind, lambda: {field.name for field in dataclasses.fields(kind) if field.init}, getattr, converter_of
        )
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return RecordConverter(kind, lambda: set(kind._fields), getattr, converter_of)
    if typing.is_typeddict(kind):
        return RecordConverter(kind, lambda: set(kind.__annotations__), lambda value, name: value[name], converter_of)
    raise ConversionError(
        f"expected an annotation that a payload can follow, got the class {kind.__qualname__}: make it a dataclass, a NamedTuple, a TypedDict, "
        "a msgspec Struct or a pydantic model"
    )


def _is_struct(kind: type) -> bool:
    return hasattr(kind, "__struct_fields__")


def _is_model(kind: type) -> bool:
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate")


_LISTS = (list, tuple)
_SETS = (set, frozenset)
_SEQUENCES: dict[Any, tuple[tuple[type, ...], Callable[[list[Any]], Any]]] = {
    list: ((list,), list),
    tuple: ((tuple,), tuple),
    set: (_SETS, set),
    frozenset: (_SETS, frozenset),
    abc.Set: (_SETS, frozenset),
    abc.MutableSet: (_SETS, set),
    abc.Sequence: (_LISTS, list),
    abc.MutableSequence: (_LISTS, list),
    abc.Collection: ((*_LISTS, *_SETS), list),
    abc.Iterable: ((*_LISTS, *_SETS), list),
}

_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
