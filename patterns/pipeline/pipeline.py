"""The pipeline as a value: pieces in sequence, made with `|`, immutable, and checked when it is made.

A piece (patterns/pipeline/stages.py) is itself a pipeline of one. What a pipeline *does* is in its plan
(patterns/work/plan.py); how it is run, in patterns/run/running.py. What is above this room is loaded by the
methods that need it, so that pipelines are made without any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast

if TYPE_CHECKING:
    import zq
    from patterns.run.running import Run
    from patterns.run.settings import RunOptions
    from patterns.work.plan import Plan

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
Next = TypeVar("Next")

NAME_CHARACTERS_MAX = 64
"""Names of stages and pipelines become parts of queue names, which end at 128 bytes, and of what people read."""


class Pipeline(Generic[In_contra, Out_co]):
    """Pieces through which items flow, one after the other.

    Attributes:
        pieces: in the order in which items meet them.
        name: given by `named`, or None.
    """

    pieces: tuple[Piece[Any, Any], ...]
    name: str | None = None

    def __or__(self, other: Pipeline[Out_co, Next]) -> Pipeline[In_contra, Next]:
        """Returns the pipeline that gives to `other` what comes out of this one.

        Raises:
            TypeError: `other` is not a pipeline or stage.
            ValueError: the two do not fit together, or a function cannot be imported by another process.
        """
        if not isinstance(other, Pipeline):
            what = getattr(other, "__qualname__", type(other).__name__)
            raise TypeError(
                f"after {self.pieces[-1].label}: expected a stage or pipeline, got {what}; is @stage missing?"
            )
        return _sequence(self.pieces + other.pieces, self.name or other.name)

    def named(self, name: str) -> Pipeline[In_contra, Out_co]:
        """Returns the same pipeline with a name, under which durable grades keep its queues.

        Raises:
            ValueError: it cannot be a name.
        """
        return _sequence(self.pieces, check_name(name))

    def plan(self) -> Plan:
        """Returns what has to be done, node by node.

        Raises:
            ValueError: it has a scatter without a gather, or a function that no other process can import.
        """
        from patterns.work.plan import make_plan

        return make_plan(self)

    def run(self, items: Iterable[In_contra], **options: Unpack[RunOptions]) -> Run[Out_co]:
        """Returns a run: an iterator over the results, which starts with the first `next`.

        Args:
            items: any iterable, also an endless one: it is asked for more only as fast as the stages work.
            options: see `patterns.RunOptions`.

        Raises:
            ValueError: the pipeline is not complete, or an option is out of range.
            TypeError: an option is unknown.
        """
        from patterns.start import make_run

        return cast("Run[Out_co]", make_run(self, items, options))

    def __zq_worker__(self, part: str | None) -> zq.Worker:
        """Returns a worker for a stage of durable runs of this pipeline, or for all; `zq worker kitchen:pipeline
        --stage bake` asks for it.

        Raises:
            ValueError: there is no such stage, or it is a batch.
        """
        from patterns.durable.stage_worker import make_worker, serving_nodes

        plan = self.plan()
        nodes = serving_nodes(plan, part)
        return make_worker(plan, nodes, None, concurrency=sum(node.options.workers for node in nodes))

    def diagram(self) -> str:
        """Returns the pipeline as the text of a Mermaid flowchart."""
        from patterns.work.drawing import draw_mermaid

        return draw_mermaid(self.plan())

    def __str__(self) -> str:
        from patterns.work.drawing import draw_text

        return draw_text(self)

    def __repr__(self) -> str:
        return f"<Pipeline {' | '.join(piece.label for piece in self.pieces)}>"


class Piece(Pipeline[In_contra, Out_co]):
    """One step, or several branches, of a pipeline; a pipeline of one.

    Attributes:
        label: how it is called in errors and drawings.
        opens: scatters that it leaves open (1 for a scatter), or closes (-1 for a gather).
        is_batch: whether it, or a branch of it, makes batches.
    """

    label: str
    opens: int = 0
    is_batch: bool = False

    # A constant of its own class: a field would be a cycle.
    @property
    def pieces(self) -> tuple[Piece[Any, Any], ...]:  # type: ignore[override]
        return (self,)

    def check(self) -> None:
        """Raises ValueError when no process can run it, as far as can be known now."""


def _sequence(pieces: tuple[Piece[Any, Any], ...], name: str | None) -> Pipeline[Any, Any]:
    """Makes a pipeline of pieces that fit together; a scatter at the end may still be open."""
    opened: list[str] = []
    for piece in pieces:
        piece.check()
        if piece.is_batch and opened:
            raise ValueError(
                f"{piece.label} between {opened[-1]} and its gather would mix the parts of several items: put it before the scatter or after the gather"
            )
        if piece.opens > 0:
            opened.append(piece.label)
        elif piece.opens < 0:
            if not opened:
                raise ValueError(f"{piece.label} has no scatter of its own before it: each gather closes one scatter")
            opened.pop()
    pipeline: Pipeline[Any, Any] = Pipeline()
    pipeline.pieces = pieces
    pipeline.name = name
    return pipeline


def check_closed(pipeline: Pipeline[Any, Any], where: str) -> None:
    """Raises ValueError when a scatter of a pipeline has no gather.

    Args:
        pipeline: to be looked at.
        where: what it is about to be used in, for the error.
    """
    opened: list[str] = []
    for piece in pipeline.pieces:
        piece.check()
        if piece.opens > 0:
            opened.append(piece.label)
        elif piece.opens < 0:
            if not opened:
                raise ValueError(f"{where}: {piece.label} has no scatter before it")
            opened.pop()
    if opened:
        raise ValueError(f"{where}: {opened[-1]} has no gather after it: end it with | gather(join)")


def check_name(name: str) -> str:
    """Returns a name if it can be one of a stage or pipeline.

    Raises:
        ValueError: it is empty, too long, or has other characters than letters, digits, `-`, `_` and `.`.
    """
    is_plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum() and name.isascii()
    if not is_plain or len(name) > NAME_CHARACTERS_MAX:
        raise ValueError(
            f"expected a name of 1 to {NAME_CHARACTERS_MAX} ASCII letters, digits, '-', '_' and '.', got {name!r}"
        )
    return name
