"""Errors of pipelines.

zq.ZqError
└── PipelineError
    ├── StageError     a stage's function failed for an item, after its retries
    ├── LostError      a process of a direct pipeline died with items in hand
    ├── TakenOverError another caller has taken over a durable run
    └── StartError     a worker of a pipeline could not be started, or does not fit

Mistakes in the making of a pipeline are ValueError and TypeError, with the name of the stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zq import ZqError


class PipelineError(ZqError):
    """Root of what can go wrong while a pipeline runs."""


class StageError(PipelineError):
    """A stage failed for one item, after all its retries.

    Attributes:
        stage: name of the stage.
        item: what its function was called with; for a gather the list of parts, or the part that failed before it.
        error: type and text of the exception, as `ValueError: no such pizza`.
        remote_traceback: the traceback in the process where it happened; empty when there was none.
        attempts: how often the function was called.
    """

    def __init__(self, stage: str, item: Any, error: str, remote_traceback: str, attempts: int) -> None:
        text = f"stage {stage} failed: {error}"
        super().__init__(f"{text}\n\n{remote_traceback.rstrip()}" if remote_traceback else text)
        self.stage = stage
        self.item = item
        self.error = error
        self.remote_traceback = remote_traceback
        self.attempts = attempts


class LostError(PipelineError):
    """Items were lost with processes that died; everything else has been delivered.

    Attributes:
        lost: how many source items were lost, by the stage whose process died.
    """

    def __init__(self, lost: Mapping[str, int]) -> None:
        self.lost = dict(lost)
        total = sum(self.lost.values())
        where = ", ".join(f"{count} with stage {stage}" for stage, count in self.lost.items())
        super().__init__(
            f"{total} of the items were lost with processes that died: {where}; run these items again, "
            "pass allow_loss=True to go on, or use an embedded or shared pipeline, which lose nothing"
        )


class StartError(PipelineError):
    """A worker of a pipeline could not be started, or runs another pipeline than ours."""


class TakenOverError(PipelineError):
    """Another caller has taken over this durable run, or has it; nothing is lost, and that one goes on."""
