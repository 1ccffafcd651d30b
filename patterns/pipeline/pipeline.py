"""The pipeline as a value: pieces in sequence, made with `|`, immutable, and checked when it is made.

A piece (patterns/pipeline/stages.py) is itself a pipeline of one. What a pipeline *does* is in its plan
(patterns/work/plan.py); how it is run, in patterns/run/running.py. What is above this room is loaded by the
methods that need it, so that pipelines are made without any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast

from zq.processes.references import load_reference

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
        """Returns a worker for stages of durable runs of this pipeline, with commas between them, or for all;
        `zq worker kitchen:pipeline --stage bake --stage box` asks for it.

        Raises:
            ValueError: there is no such stage, or it is a batch.
        """
        from patterns.durable.stage_worker import make_worker, serving_nodes

        plan = self.plan()
        nodes = serving_nodes(plan, None if part is None else part.split(","))
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
        all_branches: pipelines to which it gives items.
    """

    label: str
    opens: int = 0
    all_branches: tuple[Pipeline[Any, Any], ...] = ()

    # A constant of its own class: a field would be a cycle.
    @property
    def pieces(self) -> tuple[Piece[Any, Any], ...]:  # type: ignore[override]
        """Itself alone."""
        return (self,)

    @property
    def is_batch(self) -> bool:
        """Whether it, or a branch of it, makes batches."""
        return any(piece.is_batch for branch in self.all_branches for piece in branch.pieces)

    def check(self) -> None:
        """Raises ValueError when no process can run it, as far as can be known now."""
        for branch in self.all_branches:
            check_closed(branch, f"branch of {self.label}")


def _sequence(pieces: tuple[Piece[Any, Any], ...], name: str | None) -> Pipeline[Any, Any]:
    """Makes a pipeline of pieces that fit together; a scatter at the end may still be open."""
    _open_scatters(pieces)
    pipeline: Pipeline[Any, Any] = Pipeline()
    pipeline.pieces = pieces
    pipeline.name = name
    return pipeline


def _open_scatters(pieces: tuple[Piece[Any, Any], ...], where: str = "") -> list[str]:
    """Returns the labels of the scatters that have no gather; raises ValueError when pieces do not fit together."""
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
                raise ValueError(
                    f"{where}{piece.label} has no scatter of its own before it: each gather closes one scatter"
                )
            opened.pop()
    return opened


def load_pipeline(spec: str) -> Pipeline[Any, Any]:
    """Returns a pipeline that can be imported.

    Args:
        spec: `module:attribute` or `file.py:attribute`.

    Raises:
        ValueError: there is none.
    """
    found = load_reference(spec)
    if not isinstance(found, Pipeline):
        raise ValueError(f"expected a pipeline at {spec}, got {type(found).__name__}")
    return found


def check_closed(pipeline: Pipeline[Any, Any], where: str) -> None:
    """Raises ValueError when a scatter of a pipeline has no gather.

    Args:
        pipeline: to be looked at.
        where: what it is about to be used in, for the error.
    """
    opened = _open_scatters(pipeline.pieces, f"{where}: ")
    if opened:
        raise ValueError(f"{where}: {opened[-1]} has no gather after it: end it with | gather(join)")


def check_name(name: str, what: str = "name", characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Returns a name if it can be one of a stage or pipeline, or of something else.

    Args:
        name: to be looked at.
        what: it is, for the error.
        characters_max: that it may have.

    Raises:
        ValueError: it is empty, too long, or has other characters than letters, digits, `-`, `_` and `.`.
    """
    is_plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum() and name.isascii()
    if not is_plain or len(name) > characters_max:
        raise ValueError(
            f"expected a {what} of 1 to {characters_max} ASCII letters, digits, '-', '_' and '.', got {name!r}"
        )
    return name
