"""Runs of pipelines: what a caller sees, whatever the grade. An engine does the work: `patterns/direct/engine.py` is
one.

A run is lazy: it starts with the first `next`, and takes from its input only as fast as results come. It ends, and
leaves no process and no socket, when its results are exhausted, when an error leaves it, when it is closed, or when
nobody refers to it any more.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar

from patterns.errors import StageError
from patterns.pipeline.pipeline import Pipeline
from patterns.work.items import Failure
from patterns.work.ledger import Ledger
from zq.processes.references import is_loading

Out = TypeVar("Out")

OnError = Literal["raise", "skip", "collect"]


class RunOptions(TypedDict, total=False):
    """What may be said about a run.

    Keys:
        ordered: results come in the order of the input; by default as they are ready.
        on_error: what an item does that a stage fails for: "raise" (the default) ends the run with a StageError, "skip"
            counts it, "collect" keeps the StageError in `errors`.
        progress: shows a line for each stage on stderr.
        quiet: does not say on stderr which guarantee the run gives.
        threads: stages run in threads of this process; by default in child processes. A stage with a timeout calls its
            function in a child in any case.
        allow_loss: goes on when a process dies and items are lost, and says in `lost` how many; by default that ends
            the run with a LostError.
        endpoints: by stage, the endpoints (tcp://host:port) of workers that `zq pipeline serve` runs, here or on other
            machines.
        data: directory of a coordinator inside this process (embedded grade); it is made if need be, and locked while
            the run is open.
        address: of a running coordinator (shared grade).
        run_id: of a durable run; one that was begun under it goes on, with the same pipeline and the same items. By
            default made, and said with the guarantee.
        workers: False starts no workers for a durable run: others do, `zq worker kitchen:pipeline --stage bake`.
        lease: seconds of silence after which the caller of a durable run is taken for dead, and another may take over.
        host: address of this machine at which those workers reach it; by default the one that leads to the first of
            them.
    """

    ordered: bool
    on_error: OnError
    progress: bool
    quiet: bool
    threads: bool
    allow_loss: bool
    endpoints: Mapping[str, Sequence[str]]
    host: str | None
    data: str | PathLike[str] | None
    address: str | None
    run_id: str | None
    workers: bool
    lease: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run, complete; see `RunOptions`."""

    ordered: bool = False
    on_error: OnError = "raise"
    progress: bool = False
    quiet: bool = False
    threads: bool = False
    allow_loss: bool = False
    endpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    host: str | None = None
    data: str | PathLike[str] | None = None
    address: str | None = None
    run_id: str | None = None
    workers: bool = True
    lease: float = 10.0

    @property
    def is_durable(self) -> bool:
        return self.data is not None or self.address is not None


DIRECT_ONLY = ("allow_loss", "endpoints", "host")
DURABLE_ONLY = ("run_id", "workers", "lease")
"""Options that mean nothing in other grades."""


class Engine(Protocol):
    """What carries the items of one run. It belongs to one thread, except for `close`."""

    @property
    def guarantee(self) -> str:
        """What may be lost, in a sentence."""

    @property
    def ledger(self) -> Ledger:
        """The books, in which outcomes appear."""

    @property
    def lost(self) -> dict[str, int]:
        """Source items that were lost, by the stage that lost them."""

    def start(self) -> None:
        """Starts whatever has to run."""

    def turn(self) -> bool:
        """Does what there is to do; waits for a moment if that is nothing; returns whether the run is over."""

    def close(self) -> None:
        """Ends everything; may be called at any time, and more than once."""


class Run(Generic[Out]):
    """One run of a pipeline: an iterator over its results, and a context manager that ends it.

    It belongs to one thread at a time.

    Attributes:
        guarantee: what may be lost, in a sentence.
        errors: with on_error="collect", the StageErrors so far.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.guarantee = engine.guarantee
        self.errors: list[StageError] = []
        self._engine = engine
        # The generator refers to the engine and not to the run: when nobody holds it any more it is closed at once, and
        # the engine with it.
        self._results = _results(engine, settings, self.errors)

    @property
    def sent(self) -> int:
        """Source items taken from the input: always `completed + failed + lost` + those under way."""
        return self._engine.ledger.sent

    @property
    def completed(self) -> int:
        """Source items of which every result has come back."""
        return self._engine.ledger.completed

    @property
    def failed(self) -> int:
        """Source items that a stage failed for."""
        return self._engine.ledger.failed

    @property
    def lost(self) -> dict[str, int]:
        """Source items lost with processes that died, by stage; only a direct run can lose any."""
        return dict(self._engine.lost)

    def close(self) -> None:
        """Ends the run. Processes are stopped, results that have not been taken are dropped."""
        self._results.close()
        self._engine.close()

    def __iter__(self) -> Iterator[Out]:
        return self._results

    def __next__(self) -> Out:
        result: Out = next(self._results)
        return result

    def __enter__(self) -> Run[Out]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def make_run(pipeline: Pipeline[Any, Any], items: Iterable[Any], options: RunOptions) -> Run[Any]:
    """Returns a run of a pipeline; raises as `Pipeline.run`."""
    plan = pipeline.plan()
    settings = _settle(options)
    try:
        source = iter(items)
    except TypeError:
        raise TypeError(f"expected an iterable of items, got {type(items).__name__}") from None
    if settings.is_durable:
        from patterns.durable.engine import DurableEngine

        return Run(DurableEngine(plan, source, settings), settings)
    from patterns.direct.engine import DirectEngine

    return Run(DirectEngine(plan, source, settings), settings)


def _settle(options: RunOptions) -> Settings:
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"unknown option {min(unknown)!r}; expected one of {', '.join(RunOptions.__annotations__)}")
    settings = Settings(**options)
    if settings.on_error not in ("raise", "skip", "collect"):
        raise ValueError(f"expected on_error as 'raise', 'skip' or 'collect', got {settings.on_error!r}")
    if settings.data is not None and settings.address is not None:
        raise ValueError("data (embedded) and address (shared) exclude each other")
    grade, useless = ("durable", DIRECT_ONLY) if settings.is_durable else ("direct", DURABLE_ONLY)
    for name in useless:
        if name in options:
            raise ValueError(f"{name} means nothing in a {grade} run; it has data or address, or neither")
    if not 0.5 <= settings.lease <= 3600.0:
        raise ValueError(f"expected lease from 0.5 to 3600 seconds, got {settings.lease}")
    return settings


def _results(engine: Engine, settings: Settings, errors: list[StageError]) -> Generator[Any, None, None]:
    """Yields the results of an engine; started by the first `next`, and closed whatever happens."""
    if is_loading():
        raise RuntimeError(
            "a pipeline is run while another process imports this module for its stages: "
            'put the run under `if __name__ == "__main__":`'
        )
    atexit.register(engine.close)  # for a run that a program leaves open at its end
    try:
        if not settings.quiet:
            sys.stderr.write(f"zq pipeline, {engine.guarantee}\n")
        engine.start()
        outcomes = engine.ledger.take()
        is_over = False
        while not is_over:
            is_over = engine.turn()
            while outcomes:
                outcome = outcomes.popleft()
                if isinstance(outcome, Failure):
                    error = StageError(*outcome)
                    if settings.on_error == "raise":
                        raise error
                    if settings.on_error == "collect":
                        errors.append(error)
                else:
                    yield outcome
    finally:
        engine.close()
        atexit.unregister(engine.close)
