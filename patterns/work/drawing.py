"""Pipelines as pictures: lines of text, and Mermaid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from patterns.pipeline.pipeline import Piece, Pipeline
from patterns.pipeline.stages import Route, _Step
from patterns.work.plan import SINK, Node, Plan

SHAPES = {
    "stage": ("[", "]"),
    "split": ("[/", "\\]"),
    "join": ("[\\", "/]"),
    "batch": ("[[", "]]"),
    "route": ("{", "}"),
    "fan_out": ("(", ")"),
}
"""The brackets that give a node its shape in Mermaid."""


def draw_text(pipeline: Pipeline[Any, Any]) -> str:
    """Returns a pipeline as lines of text: one line as long as it has no branches."""
    pieces = pipeline.pieces
    if not any(piece.all_branches for piece in pieces):
        return " | ".join(_describe(piece) for piece in pieces)
    return "\n".join(line for piece in pieces for line in _lines(piece))


def _lines(piece: Piece[Any, Any]) -> Iterator[str]:
    branches = piece.all_branches
    labels = [""] * len(branches)
    if isinstance(piece, Route):
        labels = [*(f"{label}: " for label in piece.branches), "otherwise: "]
    yield _describe(piece)
    for at, (label, branch) in enumerate(zip(labels, branches, strict=False)):
        is_last = at == len(branches) - 1
        first, *others = draw_text(branch).split("\n")
        yield f"{'└─' if is_last else '├─'} {label}{first}"
        for line in others:
            yield f"{'  ' if is_last else '│ '} {' ' * len(label)}{line}"


def _describe(piece: Piece[Any, Any]) -> str:
    workers = piece.options.workers if isinstance(piece, _Step) else 1
    return piece.label if workers == 1 else f"{piece.label} x{workers}"


def draw_mermaid(plan: Plan) -> str:
    """Returns a plan as the text of a Mermaid flowchart, from `items` to `results`."""
    lines = ["flowchart LR", "    items([items])"]
    lines += [f"    n{node.number}{_shape(node)}" for node in plan.nodes]
    lines += ["    results([results])", "    items --> n0"]
    for node in plan.nodes:
        if node.branches:
            labels = [str(label) for label in node.labels] if node.kind == "route" else [""] * len(node.branches)
            labels += ["otherwise"] * (len(node.branches) - len(labels))
            for label, branch in zip(labels, node.branches, strict=True):
                arrow = f'-- "{_escape(label)}" -->' if label else "-->"
                lines.append(f"    n{node.number} {arrow} n{branch}")
        else:
            lines.append(f"    n{node.number} --> {'results' if node.follower == SINK else f'n{node.follower}'}")
    return "\n".join(lines) + "\n"


def _shape(node: Node) -> str:
    left, right = SHAPES[node.kind]
    text = node.name if node.kind != "batch" else f"batch of {node.size}"
    if node.options.workers > 1:
        text += f" x{node.options.workers}"
    return f'{left}"{_escape(text)}"{right}'


def _escape(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    )
