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
imported for their own sake. msgspec converts its Structs, in an eighth of the time that a dataclass takes. It would
make the same of most other values, too (39 of the 47 in our tests), and yet these are converted here:

- Its `to_builtins` follows the value and knows no annotation. What does not fit would be found by a worker, later, and
  the fields that a subclass adds would be sent and ignored. Whatever dumps and checks would be ours all the same.
- Tasks lie on disk: it writes a NamedTuple as a list, a timedelta as a duration in text and UTC as Z, and reads no map
  as a NamedTuple and no number as a timedelta.
- It ignores the unknown fields of dataclasses and TypedDicts, which may be misspelt ones. It refuses a union of two
  dataclasses or of two kinds of text, the values of Enums and Literals that are not int or str, and Iterable.
- Its messages tell neither the value nor the key of a map: "Expected `int`, got `str` - at `$[...]`".
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
    CHECKS,
    NATIVE,
    TEXTS,
    Converter,
    RecordConverter,
    fixed_tuple,
    literal,
    mapping,
    member,
    model,
    sequence,
    struct,
    text,
    union,
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
        _cache[annotation] = _make_class(annotation, annotation)
    return _cache[annotation]


_cache: dict[type, Converter] = {}
"""Of classes only: `int | str` and `str | int` are equal, and `list[int | str]` and `list[str | int]` are."""


def _make(annotation: Any) -> Converter:
    origin = typing.get_origin(annotation)
    if origin is not None:
        return _make_generic(annotation, origin, typing.get_args(annotation))
    if annotation is None:
        return converter_of(types.NoneType)
    if isinstance(annotation, typing.TypeVar):
        return converter_of(annotation.__bound__ or Any)
    if isinstance(annotation, typing.NewType):
        return converter_of(annotation.__supertype__)
    if hasattr(annotation, "__value__"):  # `type X = ...`
        return converter_of(annotation.__value__)
    raise ConversionError(f"expected an annotation that a payload can follow, got {annotation!r}")


def _make_generic(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Converter:
    if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.Final):
        return converter_of(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        return union([converter_of(one) for one in arguments], annotation)
    if origin is typing.Literal:
        return literal(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return fixed_tuple([converter_of(one) for one in arguments])
    if origin in SEQUENCES:
        return sequence(converter_of(arguments[0]), *SEQUENCES[origin])
    if origin in MAPPINGS:
        return mapping(converter_of(arguments[0]), converter_of(arguments[1]))
    if _is_struct(origin) or _is_model(origin):
        return _make_class(annotation, origin)
    raise ConversionError(f"expected an annotation that a payload can follow, got {annotation!r}")


def _make_class(annotation: Any, kind: type) -> Converter:
    if kind in (object, Any):
        return NATIVE
    if kind in CHECKS:
        return Converter(CHECKS[kind], CHECKS[kind])
    if kind in SEQUENCES:
        return sequence(NATIVE, *SEQUENCES[kind])
    if kind in MAPPINGS:
        return mapping(NATIVE, NATIVE)
    if kind in TEXTS:
        return text(kind)
    if issubclass(kind, enum.Enum):
        return member(kind)
    if _is_struct(kind):
        return struct(annotation, kind)
    if _is_model(kind):
        return model(kind)
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    if is_named_tuple or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return RecordConverter(kind, converter_of).converter
    raise ConversionError(
        f"expected an annotation that a payload can follow, got the class {kind.__qualname__}: make it a dataclass, "
        "a NamedTuple, a TypedDict, a msgspec Struct (pip install 'zqkit[types]') or a pydantic model"
    )


def _is_struct(kind: Any) -> bool:
    return hasattr(kind, "__struct_fields__")


def _is_model(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate")


_LISTS = (list, tuple)
_SETS = (set, frozenset)
SEQUENCES: dict[Any, tuple[tuple[type, ...], Callable[[list[Any]], Any]]] = {
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
"""What may be given where one of them is annotated, and what is made of the list in the payload."""

MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
