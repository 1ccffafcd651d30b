"""Runs of pipelines: what a caller sees, whatever the grade. An engine does the work; `patterns/start.py` chooses it.

A run is lazy: it starts with the first `next`, and takes from its input only as fast as results come. It ends, and
leaves no process and no socket, when its results are exhausted, when an error leaves it, when it is closed, or when
nobody refers to it any more.
"""

from __future__ import annotations

import atexit
from collections.abc import Generator, Iterator
from itertools import repeat, starmap
from types import TracebackType
from typing import Any, Generic, TypeVar

from patterns.errors import StageError
from patterns.run.settings import Engine, Settings
from patterns.work.items import Failure
from zq.processes.references import refuse_while_loading
from zq.processes.shown import say

Out = TypeVar("Out")


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


def _results(engine: Engine, settings: Settings, errors: list[StageError]) -> Generator[Any, None, None]:
    """Yields the results of an engine; started by the first `next`, and closed whatever happens."""
    refuse_while_loading("a pipeline is run")
    atexit.register(engine.close)  # for a run that a program leaves open at its end
    try:
        if not settings.quiet:
            say(f"zq pipeline, {engine.guarantee}")
        engine.start()
        outcomes = engine.ledger.take()
        is_over = False
        while not is_over:
            is_over = engine.turn()
            while outcomes:
                count = len(outcomes)
                if Failure not in set(map(type, outcomes)):  # nearly always: no Python for each
                    yield from starmap(outcomes.popleft, repeat((), count))
                    continue
                for outcome in starmap(outcomes.popleft, repeat((), count)):
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
