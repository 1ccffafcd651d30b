"""Hooks around submitting and around handling, for apps, workers and clients; `zq.handling.hooks` calls them."""

from __future__ import annotations

from typing import Any

from zq.client.receipt import AsyncReceipt, Receipt, Receipts
from zq.handling.hooks import HandlerOutcome, Submission
from zq.task import Task


class Middleware:
    """Hooks that do nothing; override those that you need.

    They are plain functions. Those around handling run where the handler runs: in a thread of the worker, in a child
    process, or, around a coroutine, in its event loop, which they must not hold up. One object serves all threads.
    """

    def before_submit(self, submission: Submission) -> None:
        """Called before a submit; what it raises is raised to the caller, and nothing is sent."""

    def after_submit(
        self,
        submission: Submission,
        receipt: Receipt | AsyncReceipt | Receipts[Any] | None,
        error: BaseException | None,
    ) -> None:
        """Called after a submit, with its receipt or the error; what it raises is logged, since the task is stored."""

    def before_task(self, task: Task) -> None:
        """Called before a handler, with its arguments not converted yet; what it raises is the failure of the task, and
        the handler is not called.
        """

    def after_task(self, task: Task, outcome: HandlerOutcome, error: BaseException | None) -> None:
        """Called when a handler has ended, before that is reported; what it raises is logged, since the effects of the
        handler are there.

        Args:
            task: that was handled.
            outcome: "done", "failed", or "cancelled" for a coroutine whose task was taken away.
            error: that the handler raised; None when it is done.
        """

    def after_receive(self, queue: str, tasks: int, seconds: float) -> None:
        """Called when tasks have come, once a batch or a pull; in a worker on the thread of its connection, which it
        must not hold up.

        Args:
            tasks: how many.
            seconds: for which a pull has waited; 0 in a worker, to which tasks are sent.
        """

    def after_settle(self, queue: str, tasks: int, seconds: float, error: BaseException | None) -> None:
        """Called when it was reported how tasks have ended, once a report; in a worker as `after_receive`.

        Args:
            seconds: that the answer took; 0 in a worker, which waits for none.
            error: of a report that was refused; None when it was taken, or is on its way.
        """
