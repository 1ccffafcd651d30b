"""The calls of a client that has middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from zq.client.calls import Calls, Pulled
from zq.client.driving import Call, Submitted
from zq.client.flow import Entry
from zq.client.publications import Publication
from zq.errors import BusyError, InvalidTaskError
from zq.handling.hooks import Hooks, StoredTasks, Submission, Submitting, note_received, note_settled
from zq.sessions.outcomes import BatchOutcome
from zq.submit_options import SubmitOptions
from zq.task import task_id
from zq.wire.messages import Accepted, Done, Failed
from zq.wire.proofs import Proof

T = TypeVar("T")


class HookedCalls(Calls):
    """Calls with hooks around those that submit, pull and settle. They are called by whoever carries a call out: in
    the thread, or the coroutine, of the caller.
    """

    def __init__(self, middleware: Sequence[Hooks], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.middleware = middleware

    def hooked(
        self, queue: str, payload: Any, options: SubmitOptions, call: Callable[[str, SubmitOptions], Call[T]]
    ) -> Call[T]:
        with Submitting(self.middleware, Submission("", queue, dict(options), payload)) as hooks:
            made = cast("SubmitOptions", hooks.submission.options)
            result = yield from call(hooks.submission.queue, made)
            hooks.receipt = _stored(result)
        return result

    def submit(
        self,
        queue: str,
        payload: Any,
        id: str | None,
        options: SubmitOptions,
        until: float | None = None,  # noqa: ARG002 - hooks are told of the receipt when it is there
    ) -> Call[Submitted]:
        plain = super().submit
        return self.hooked(queue, payload, options, lambda name, made: plain(name, payload, id, made))

    def submit_many(
        self, queue: str, payloads: Iterable[Any], batch_size: int, options: SubmitOptions
    ) -> Call[tuple[list[Entry], BusyError | InvalidTaskError | None]]:
        plain = super().submit_many
        return self.hooked(queue, None, options, lambda name, made: plain(name, payloads, batch_size, made))

    def pull(self, queue: str, max_tasks: int, wait: float, lease: float) -> Call[list[Pulled]]:
        started_at = self.clock()
        found = yield from super().pull(queue, max_tasks, wait, lease)
        if found:
            note_received(self.middleware, queue, len(found), self.clock() - started_at)
        return found

    def settle(self, entry: Done | Failed, proof: Proof) -> Call[None]:
        started_at = self.clock()
        note = partial(note_settled, self.middleware, "", 1)
        try:
            yield from super().settle(entry, proof)
        except Exception as error:
            note(self.clock() - started_at, error)
            raise
        note(self.clock() - started_at)


def _stored(result: Any) -> StoredTasks:
    """Returns in short what a submit returned."""
    match result:
        case (BatchOutcome() as outcome, int(index), Accepted()):
            return StoredTasks(task_id(outcome.id, outcome.size, index), 1)
        case (list(found), _):  # of many, and the refusal of others
            return StoredTasks(
                None, sum(one.size if isinstance(one, Publication) else one.outcome.size for one in found)
            )
        case Publication():
            return StoredTasks(result.id, result.size * len(result.entries))
        case _:
            return StoredTasks(str(result), 1)
