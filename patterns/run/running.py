"""Runs of pipelines: what a caller sees, whatever the grade. An engine does the work; `patterns/start.py` chooses it.

A run is lazy: it starts with the first `next`, and takes from its input only as fast as results come. It ends, and
leaves no process and no socket, when its results are exhausted, when an error leaves it, when it is closed, or when
nobody refers to it any more.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Generator, Iterator
from itertools import chain
from types import TracebackType
from typing import Any, Generic, TypeVar

from patterns.errors import StageError
from patterns.run.settings import Engine, Settings
from patterns.work.items import Failure
from patterns.work.ledger import Ledger
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
        self._portions = _portions(engine, settings, self.errors)
        self._results: Iterator[Out] = chain.from_iterable(self._portions)

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
        self._portions.close()
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


def _portions(engine: Engine, settings: Settings, errors: list[StageError]) -> Generator[Iterator[Any], None, None]:
    """Yields the results of an engine, as many at a time as there are: then none of them costs a step of Python here.
    It is started by the first `next`, and closed whatever happens.
    """
    refuse_while_loading("a pipeline is run")
    atexit.register(engine.close)  # for a run that a program leaves open at its end
    portion: Iterator[Any] = iter(())
    try:
        if not settings.quiet:
            say(f"zq pipeline, {engine.guarantee}")
        engine.start()
        is_over = False
        while not is_over:
            is_over = engine.turn()
            for portion in _values(engine.ledger, settings, errors):
                yield portion
    finally:
        engine.close()
        deque(portion, 0)  # what has not been read, the engine knows now: nobody gets it any more
        atexit.unregister(engine.close)


def _values(ledger: Ledger, settings: Settings, errors: list[StageError]) -> Iterator[Iterator[Any]]:
    """Yields the values among the outcomes that there are, and does with the failures between them what the caller
    wants.
    """
    outcomes = ledger.take()
    if not ledger.has_failures:  # nearly always
        if outcomes:
            yield ledger.portion(len(outcomes))
        return
    kinds = list(map(type, outcomes))
    count = 0
    for kind in kinds:
        if kind is not Failure:
            count += 1
            continue
        if count:
            yield ledger.portion(count)
            count = 0
        error = StageError(*outcomes.popleft())
        if settings.on_error == "raise":
            raise error
        if settings.on_error == "collect":
            errors.append(error)
    if count:
        yield ledger.portion(count)
