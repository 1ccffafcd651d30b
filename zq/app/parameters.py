"""The parameters of a task function: from a call to a payload, and from a payload to a call.

The payload is a map of the arguments by their names, so that other languages and the command line can write it, and a
parameter with a default may be added later. Only the arguments that a call gives are in it. `*args` is a list under its
name, `**kwargs` a map.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import BoundArguments, Parameter, Signature
from types import NoneType
from typing import Any

from zq.app.conversion import converter_of
from zq.app.converters import Converter
from zq.errors import ConversionError
from zq.processes.references import label_of, module_name_of
from zq.task import Task

Choose = Callable[[Any], Converter]


class Parameters:
    """What may be passed to a function, and what it returns; annotations are evaluated when they are first needed.

    Args:
        function: whose parameters they are.
        local_names: for annotations that name what is local to where the function was made.
        choose: returns the converter of an annotation; raises ConversionError when there is none.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        local_names: Mapping[str, Any] | None = None,
        choose: Choose = converter_of,
    ) -> None:
        self._function = function
        self._local_names = dict(local_names or {})
        self._choose = choose

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(_annotated(self._function), localns=self._local_names, include_extras=True)
        except NameError as error:
            raise self._error(f"an annotation cannot be evaluated: {error}") from error

    @cached_property
    def task_name(self) -> str | None:
        """The parameter that gets the task itself, if there is one: the one that is annotated with zq.Task."""
        return next((name for name, hint in self._hints.items() if name != "return" and is_task(hint)), None)

    @cached_property
    def whole(self) -> Signature:
        return inspect.signature(self._function)

    @cached_property
    def given(self) -> Signature:
        """The signature without the task."""
        kept = [one for one in self.whole.parameters.values() if one.name != self.task_name]
        return self.whole.replace(parameters=kept)

    @cached_property
    def converters(self) -> dict[str, Converter]:
        return {name: self._converter(name, self._hints.get(name, Any)) for name in self.given.parameters}

    @cached_property
    def result(self) -> Converter:
        return self._converter("return", self._hints.get("return", Any))

    def check(self) -> None:
        """Raises ConversionError when an annotation is none that a payload can follow."""
        assert self.converters is not None
        assert self.result is not None

    def dump(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Returns the payload of a call.

        Raises:
            TypeError: the arguments do not fit the parameters; ConversionError, which is one, when a value does not fit
                its annotation.
        """
        try:
            bound = self.given.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name_of(self._function)}: {error}") from None
        return {name: self._convert(name, value, "dump") for name, value in bound.arguments.items()}

    def load(self, payload: Any, task: Task) -> BoundArguments:
        """Returns the arguments of a payload.

        Raises:
            ConversionError: it is no map of the arguments, or a value does not fit its annotation.
        """
        if not isinstance(payload, dict):
            raise self._error(
                f"expected a map of the arguments {', '.join(self.converters)}, got {type(payload).__name__}"
            )
        parameters = self.given.parameters
        unknown = [str(name) for name in payload if name not in parameters]
        missing = [
            name
            for name, one in parameters.items()
            if name not in payload and one.default is Parameter.empty and one.kind not in VARIADIC
        ]
        if unknown or missing:
            raise self._error(
                f"expected the arguments {', '.join(parameters) or '(none)'}, got none for {', '.join(missing) or '(all there)'} "
                f"and {', '.join(unknown) or 'none'} that it does not know"
            )
        values = {name: self._convert(name, value, "load") for name, value in payload.items()}
        if self.task_name is not None:
            values[self.task_name] = task
        # In the order of the parameters, on which BoundArguments.args relies.
        return BoundArguments(self.whole, {name: values[name] for name in self.whole.parameters if name in values})

    def dump_result(self, value: Any) -> Any:
        return self._convert_one(self.result.dump, value, "the result")

    def load_result(self, plain: Any) -> Any:
        return self._convert_one(self.result.load, plain, "the result")

    def _converter(self, name: str, hint: Any) -> Converter:
        try:
            return self._choose(hint)
        except ConversionError as error:
            place = "its result" if name == "return" else f"its parameter {name}"
            raise self._error(f"{place}: {error}") from None

    def _convert(self, name: str, value: Any, verb: str) -> Any:
        convert = getattr(self.converters[name], verb)
        kind = self.given.parameters[name].kind
        if kind is Parameter.VAR_POSITIONAL:
            if not isinstance(value, list | tuple):
                raise self._error(f"expected a list, got {type(value).__name__}", f", {name}")
            made = [self._convert_one(convert, one, f"{name}[{n}]") for n, one in enumerate(value)]
            return tuple(made) if verb == "load" else made
        if kind is Parameter.VAR_KEYWORD:
            if not isinstance(value, dict):
                raise self._error(f"expected a map, got {type(value).__name__}", f", {name}")
            return {str(key): self._convert_one(convert, one, f"{name}[{key!r}]") for key, one in value.items()}
        return self._convert_one(convert, value, name)

    def _convert_one(self, convert: Callable[[Any], Any], value: Any, place: str) -> Any:
        try:
            return convert(value)
        except ConversionError as error:
            raise self._error(error.text, f", {place}{error.place}") from error

    def _error(self, text: str, place: str = "") -> ConversionError:
        return ConversionError(text, f"{name_of(self._function)}{place}")


VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def is_task(hint: Any) -> bool:
    """Returns whether an annotation is zq.Task, or that or None."""
    return hint is Task or set(typing.get_args(hint)) == {Task, NoneType}


def _annotated(function: Any) -> Any:
    """Returns what has the annotations of a callable: for a partial, an object that can be called, and what wraps one
    of them, a function.
    """
    inner = inspect.unwrap(function)
    if isinstance(inner, functools.partial):
        return _annotated(inner.func)
    is_plain = isinstance(inner, type) or hasattr(inner, "__qualname__")
    return function if is_plain else type(inner).__call__


def name_of(function: Callable[..., Any]) -> str:
    """Returns `module:qualname` of a function, or what comes near to it for another callable."""
    return f"{module_name_of(function) or '?'}:{label_of(function)}"
