"""The pieces of pipelines: `stage`, `fan_out`, `route`, `scatter` and `gather`, `batch`.

They are values and do nothing by themselves. Mistakes are raised here, when a pipeline is made, with the name of the
stage.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import (
    Any,
    Generic,
    Literal,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from patterns.pipeline.pipeline import In_contra, Out_co, Piece, Pipeline, check_closed, check_name
from zq.processes.references import label_of, named_by, reference_to

In = TypeVar("In")
Out = TypeVar("Out")
Part = TypeVar("Part")

WORKERS_MAX = 256
"""Workers of one stage: each has a socket in every worker of the stage before it."""

RETRIES_MAX = 999
"""Together with the first call no more than a coordinator's max_attempts allows."""

BATCH_MAX = 100_000
"""Items in a batch: so many must be in flight at least, and are one message."""

SECONDS_MAX = 31_536_000.0
"""One year, as for tasks."""

DEFAULT_BACKOFF = (0.1, 2.0, 5.0)
"""Seconds before the first retry, growth from retry to retry, largest seconds."""


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How a stage is run.

    Attributes:
        workers: processes (or threads) that run it, 1 to 256.
        retries: calls after the first one that failed, 0 to 999.
        backoff: seconds before the first retry, growth from retry to retry, largest seconds.
        timeout: seconds that one call may take, or None; the process of one that takes longer is killed and replaced,
            and the item fails.
        flat: whether the function returns an iterable of results, many or none, instead of one result.
        threads: whether its workers are threads of the caller's process.
        key: function of an item; items with equal keys go to the same worker. None: to any.
    """

    workers: int = 1
    retries: int = 0
    backoff: tuple[float, float, float] = DEFAULT_BACKOFF
    timeout: float | None = None
    flat: bool = False
    threads: bool = False
    key: Callable[[Any], str | int] | None = None


class StageArguments(TypedDict, total=False):
    """What may be said about a stage; see `StageOptions`. `name` is how it is called, by default as its function."""

    name: str
    workers: int
    retries: int
    backoff: tuple[float, float, float]
    timeout: float | None
    threads: bool
    key: Callable[[Any], str | int] | None


STAGE_ARGUMENTS = tuple(StageArguments.__annotations__)


class _Step(Piece[In_contra, Out_co]):
    """A piece with one function of the user's."""

    def __init__(self, kind: str, function: Callable[..., Any], label: str, options: StageOptions) -> None:
        self.kind = kind
        self.function = function
        self.step_name = label
        self.label = label if kind == "stage" else f"{kind}({label})"
        self.options = options

    def references(self) -> tuple[str | None, str | None]:
        """Returns the names by which another process can import the function and the key, both None for threads.

        The key has none when it is found with the function: who imports that finds this stage, and with it its key,
        which may be a lambda then.

        Raises:
            ValueError: no other process can import one of them.
        """
        if self.options.threads:
            return None, None
        reference = reference_of(self.function, self.step_name)
        if self.options.key is None or named_by(self.function) is self:
            return reference, None
        return reference, reference_of(self.options.key, f"{self.step_name} (its key)")

    def check(self) -> None:
        self.references()


class Stage(_Step[In_contra, Out_co]):
    """A function as a stage: one result for each item. Still callable as the function."""

    def __call__(self, item: In_contra) -> Out_co:
        result: Out_co = self.function(item)
        return result


class FlatStage(_Step[In_contra, Out_co]):
    """A function as a stage that gives many results for an item, or none. Still callable as the function."""

    def __call__(self, item: In_contra) -> Iterable[Out_co]:
        results: Iterable[Out_co] = self.function(item)
        return results


@overload
def stage(function: Callable[[In], Out], /) -> Stage[In, Out]: ...


@overload
def stage(
    *, flat: Literal[True], **arguments: Unpack[StageArguments]
) -> Callable[[Callable[[In], Iterable[Out]]], FlatStage[In, Out]]: ...


@overload
def stage(
    *, flat: Literal[False] = False, **arguments: Unpack[StageArguments]
) -> Callable[[Callable[[In], Out]], Stage[In, Out]]: ...


def stage(
    function: Callable[..., Any] | None = None, /, *, flat: bool = False, **arguments: Unpack[StageArguments]
) -> Any:
    """Makes a function of one item a stage; used as `@stage` or as `@stage(workers=2, ...)`.

    Args:
        function: called with one item; what it gets and returns is what msgpack can hold (a tuple arrives as a list).
        flat: the function returns an iterable of results, many or none.
        arguments: see `StageOptions`.

    Raises:
        ValueError: an argument is out of range.
        TypeError: it is not a function, or an argument is unknown.
    """

    def make(function: Callable[..., Any]) -> Any:
        if inspect.isgeneratorfunction(function) and not flat:
            name = getattr(function, "__name__", label_of(function))
            raise ValueError(f"stage {name}: it yields its results one by one: say @stage(flat=True)")
        return _make_stage(function, flat, arguments)

    return make if function is None else make(function)


def _make_stage(
    function: Callable[..., Any], flat: bool, arguments: StageArguments
) -> Stage[Any, Any] | FlatStage[Any, Any]:
    if not callable(function) or isinstance(function, Pipeline):
        raise TypeError(f"stage: expected a function, got {function!r}")
    given: dict[str, Any] = dict(arguments)
    name = given.pop("name", None) or getattr(function, "__name__", type(function).__name__)
    name = check_name(name.strip("<>"))
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        raise TypeError(f"stage {name}: expected a plain function, got an async one; use asyncio.run inside of it")
    unknown = [one for one in given if one not in STAGE_ARGUMENTS]
    if unknown:
        raise TypeError(f"stage {name}: expected arguments of {', '.join(STAGE_ARGUMENTS)}, got {unknown[0]}")
    options = _check_options(name, StageOptions(flat=flat, **given))
    made: Stage[Any, Any] | FlatStage[Any, Any] = (FlatStage if flat else Stage)("stage", function, name, options)
    functools.update_wrapper(cast("Callable[..., Any]", made), function, updated=())
    return made


def _check_options(name: str, options: StageOptions) -> StageOptions:
    _check_range(name, "workers", options.workers, 1, WORKERS_MAX)
    _check_range(name, "retries", options.retries, 0, RETRIES_MAX)
    if len(options.backoff) != 3 or not all(0 <= part <= SECONDS_MAX for part in options.backoff):
        raise ValueError(f"stage {name}: expected backoff as (first, factor, largest), got {options.backoff!r}")
    if options.timeout is not None:
        if not 0.001 <= options.timeout <= SECONDS_MAX:
            raise ValueError(f"stage {name}: expected timeout from 0.001 to {SECONDS_MAX:.0f} s, got {options.timeout}")
        if options.threads:
            raise ValueError(f"stage {name}: a thread cannot be stopped: timeout and threads=True exclude each other")
    if options.key is not None and not callable(options.key):
        raise TypeError(f"stage {name}: expected key as a function of an item, got {options.key!r}")
    return options


def _check_range(name: str, what: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name}: expected {what} as a whole number from {least} to {most}, got {value!r}")


def reference_of(function: Callable[..., Any], stage: str) -> str:
    """Returns the name by which another process can import a function; what has that name may also be a stage of it.

    Args:
        function: to be named.
        stage: name of the stage, for the error.

    Raises:
        ValueError: no other process can import it.
    """
    try:
        return reference_to(function, held_as="function")
    except ValueError as why:
        raise ValueError(
            f"stage {stage}: no other process can import its function: {why}; "
            "define it at the top level of a module or script, or give the stage threads=True"
        ) from None


class FanOut(Piece[In_contra, Out_co]):
    """Gives each item to all of its branches."""

    label = "fan_out"

    def __init__(self, branches: tuple[Pipeline[Any, Any], ...]) -> None:
        self.branches = self.all_branches = branches


def fan_out(*branches: Pipeline[In, Out]) -> FanOut[In, Out]:
    """Gives each item to all branches; each result of each branch goes on.

    Raises:
        ValueError: there is no branch, or one has an open scatter.
        TypeError: one is not a pipeline.
    """
    if not branches:
        raise ValueError("fan_out: expected at least one branch, got none")
    for branch in branches:
        _check_branch("fan_out", branch)
    return FanOut(branches)


class Route(Piece[In_contra, Out_co]):
    """Gives each item to the one branch that a function chooses."""

    def __init__(
        self,
        choose: Callable[..., Any],
        branches: Mapping[Any, Pipeline[Any, Any]],
        otherwise: Pipeline[Any, Any] | None,
        threads: bool,
    ) -> None:
        self.function = choose
        self.step_name = check_name(getattr(choose, "__name__", type(choose).__name__).strip("<>"))
        self.label = f"route({self.step_name})"
        self.branches = dict(branches)
        self.otherwise = otherwise
        self.threads = threads
        self.all_branches = (*self.branches.values(), *(() if otherwise is None else (otherwise,)))

    def reference(self) -> str | None:
        """Returns the name by which another process can import the function, or None; raises as `reference_of`."""
        return None if self.threads else reference_of(self.function, self.step_name)

    def check(self) -> None:
        self.reference()
        super().check()


def route(
    choose: Callable[[In], Any],
    branches: Mapping[Any, Pipeline[In, Out]],
    *,
    otherwise: Pipeline[In, Out] | None = None,
    threads: bool = False,
) -> Route[In, Out]:
    """Gives each item to one branch.

    Args:
        choose: returns the label of the branch for an item. If its return type is a Literal or an Enum of text, each of
            its values needs a branch.
        branches: by label: text, whole numbers, booleans or None.
        otherwise: takes the items whose label has no branch; None: such an item fails.
        threads: whether all stages that give items to it run in threads, so that `choose` need not be importable.

    Raises:
        ValueError: there is no branch, a branch is missing, or one has an open scatter.
        TypeError: a branch is not a pipeline, or a label is of another type.
    """
    made: Route[In, Out] = Route(choose, branches, otherwise, threads)
    if not made.branches:
        raise ValueError(f"{made.label}: expected at least one branch, got none")
    for label, branch in made.branches.items():
        if not isinstance(label, str | int | None):
            raise TypeError(f"{made.label}: expected labels as text, whole numbers or None, got {label!r}")
        _check_branch(made.label, branch)
    if otherwise is not None:
        _check_branch(made.label, otherwise)
    else:
        missing = [label for label in _labels_of(choose) if label not in made.branches]
        if missing:
            raise ValueError(
                f"{made.label}: unknown route {missing[0]!r}: it may be chosen, and there is a branch only for "
                f"{', '.join(map(repr, made.branches))}"
            )
    return made


def _labels_of(choose: Callable[..., Any]) -> tuple[Any, ...]:
    """Returns all that a function says that it may return, if its return type is a list of values."""
    try:
        returned = get_type_hints(choose).get("return")
    except Exception:  # annotations may be anything at all, and this check is a courtesy
        return ()
    if get_origin(returned) is Literal:
        return get_args(returned)
    if isinstance(returned, type) and issubclass(returned, Enum) and issubclass(returned, str):
        return tuple(one.value for one in returned)
    return ()


def _check_branch(where: str, branch: Any) -> None:
    if not isinstance(branch, Pipeline):
        raise TypeError(f"{where}: expected stages or pipelines as branches, got {branch!r}; is @stage missing?")
    check_closed(branch, f"branch of {where}")


class Scatter(_Step[In_contra, Out_co]):
    """Cuts each item into parts, which its gather puts together."""

    opens = 1


def scatter(split: Callable[[In], Iterable[Part]]) -> Scatter[In, Part]:
    """Cuts each item into parts; what follows works on parts, until `gather`.

    Args:
        split: returns the parts of an item, perhaps none; a stage made with `@stage(...)` brings its options along.
    """
    return Scatter("scatter", *_function_of("scatter", split))


class Gather(_Step[In_contra, Out_co]):
    """Puts the parts of each item together."""

    opens = -1


def gather(join: Callable[[list[Part]], Out]) -> Gather[Part, Out]:
    """Ends a scatter: the join gets all that became of the parts of one item, once, in the order of the parts.

    Args:
        join: called with the list of parts; a stage made with `@stage(...)` brings its options along.
    """
    function, name, options = _function_of("gather", join)
    if inspect.isgeneratorfunction(function):
        raise ValueError(f"gather({name}): it yields its results one by one: return one, a list if need be")
    if options.key is not None:
        raise ValueError(f"gather({name}): the parts of an item meet at one worker anyway; it can have no key")
    return Gather("gather", function, name, options)


def _function_of(kind: str, function: Any) -> tuple[Callable[..., Any], str, StageOptions]:
    made = function if isinstance(function, _Step) else _make_stage(function, False, {})
    if made.options.flat:
        raise ValueError(f"{kind}({made.step_name}): flat=True has no meaning here")
    return made.function, made.step_name, replace(made.options)


Member = TypeVar("Member")


class BatchPiece(Piece[Member, list[Member]], Generic[Member]):
    """Puts items together into lists."""

    is_batch = True

    def __init__(self, size: int, within: float | None) -> None:
        self.size = size
        self.within = within
        self.label = f"batch({size})" if within is None else f"batch({size}, within={within:g})"


def batch(size: int, within: float | None = None) -> BatchPiece[Any]:
    """Puts items together into lists of `size`; the last one, and those that would take too long to fill, are shorter.

    Args:
        size: items in a list, 1 to 100,000.
        within: seconds after its first item came when a list goes on, full or not; None: when it is full, or when all
            input has ended.

    Raises:
        ValueError: an argument is out of range.
    """
    _check_range("batch", "size", size, 1, BATCH_MAX)
    if within is not None and not 0 < within <= SECONDS_MAX:
        raise ValueError(f"batch: expected within from above 0 to {SECONDS_MAX:.0f} s, got {within}")
    return BatchPiece(size, within)
