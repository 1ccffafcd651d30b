"""What goes wrong, as a caller of the interface is told: a status, a code for programs and a sentence for people."""

from __future__ import annotations

import logging
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

import zq
from zq.dashboard.values import encode

log = logging.getLogger(__name__)

JSON: Final = "application/json"


class ProblemError(Exception):
    """A request that cannot be answered."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def invalid(message: str) -> ProblemError:
    return ProblemError(400, "invalid", message)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, {"cache-control": "no-store", **(headers or {})}, JSON)


def answer(problem: ProblemError) -> Response:
    """Returns the response that tells of a problem."""
    headers = {} if problem.retry_after is None else {"retry-after": str(max(1, round(problem.retry_after)))}
    return json_response({"error": {"code": problem.code, "message": problem.message}}, problem.status, headers)


UNKNOWN_QUESTION: Final = ("expected a query of ", "expected a command of ")
"""How a coordinator begins that does not know a query or command: it is older than this dashboard."""

NOT_THERE: Final = ("there is no ", "the coordinator has no such ")


def problem_of(error: Exception) -> ProblemError:
    """Returns what to say of an error; what nobody foresaw is logged here and not shown."""
    match error:
        case ProblemError():
            return error
        case zq.UnreachableError() | zq.ClosedError():
            return ProblemError(503, "unreachable", str(error), 2.0)
        case zq.TaskUnknownError():
            return ProblemError(404, "unknown", str(error))
        case zq.AccessDeniedError():
            return ProblemError(403, "denied", str(error))
        case zq.BusyError():
            return ProblemError(409, "busy", str(error), error.retry_after)
        case zq.TimedOutError() | TimeoutError():
            return ProblemError(503, "timed-out", str(error) or "the coordinator did not answer in time", 2.0)
        case zq.RemoteProtocolError():
            return _refused(error)
        case zq.ZqError():
            return ProblemError(409, "refused", str(error))
    log.error("a request failed: this is a fault of the dashboard", exc_info=error)
    return ProblemError(500, "internal", "the dashboard failed to answer this; its log has the reason")


def _refused(error: zq.RemoteProtocolError) -> ProblemError:
    if is_unknown_question(error):
        what = error.text.rpartition("got ")[2]
        return ProblemError(501, "missing", f"the coordinator does not know {what}: it is older than this dashboard")
    if error.text.startswith(NOT_THERE):
        return ProblemError(404, "unknown", error.text)
    return ProblemError(400, error.code, error.text)


def is_unknown_question(error: zq.RemoteProtocolError) -> bool:
    return error.text.startswith(UNKNOWN_QUESTION)


async def on_error(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the signature of handlers
    return answer(problem_of(error))
