"""Every way in which a request ends without what it asked for: an answer, a log line, a security event."""

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from obstore.exceptions import BaseError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cloud_receiver.landing import LandingError
from cloud_receiver.problems import MarkView, Problem, ProblemView
from cloud_receiver.security_events import note_refusal
from cloud_receiver.serving import Serving, serving

PROBLEM_MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:alumiguard:problem:"
_RETRY_AFTER_SECONDS = 10

log = structlog.get_logger()


def add_refusals(app: FastAPI) -> None:
    """Let the app answer every error with a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    for failure in (SQLAlchemyError, BaseError, OSError, LandingError):
        app.add_exception_handler(failure, _answer_storage)
    app.add_exception_handler(Exception, _answer_failure)


def problem_response(
    status: int, code: str, detail: str, mark: MarkView | None = None, headers: dict[str, str] | None = None
) -> Response:
    """The answer that carries the problem."""
    view = ProblemView(
        type=_TYPE_PREFIX + code, title=code.replace("-", " "), status=status, detail=detail, mark=mark
    )
    wanted = dict(headers or {})
    if status == 401:
        wanted["WWW-Authenticate"] = "Bearer"
    return Response(view.model_dump_json(exclude_none=True), status, wanted, PROBLEM_MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its OpenAPI entry."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    return {status: {"description": "refused", "content": content} for status in statuses}


async def _answer_problem(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, Problem):
        raise problem
    here = serving(request)
    here.metrics.refused.labels(problem.code).inc()
    log.warning("refused", path=request.url.path, code=problem.code, who=_who(request), detail=problem.detail)
    try:
        await run_in_threadpool(_keep_refusal, here, request, problem)
    except SQLAlchemyError:
        # the caller is owed its answer all the same; the log above has the event
        log.exception("a security event could not be kept; check the database's disk")
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if problem.status == 503 else None
    return problem_response(problem.status, problem.code, problem.detail, problem.mark, headers)


def _keep_refusal(here: Serving, request: Request, problem: Problem) -> None:
    peer = request.client.host if request.client else "unknown"
    detail = f"{request.method} {request.url.path}: {problem.detail}"
    with here.receiver.database.write() as connection:
        note_refusal(connection, here.receiver.now(), problem.code, _who(request), detail, peer)


def _who(request: Request) -> str:
    return str(getattr(request.state, "who", "unknown"))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    detail = f"{first_error(error)}; see /openapi.json for what it may be"
    return await _answer_problem(request, Problem(400, "malformed", detail))


def first_error(error: Exception) -> str:
    """What is wrong with a request that does not fit its model, and where."""
    if not isinstance(error, RequestValidationError | ValidationError):
        raise error
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


async def _answer_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
    headers = dict(error.headers or {})
    return problem_response(
        error.status_code, code, f"{error.detail}; see the README for the routes", None, headers
    )


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # the caller hung up in the middle of its body: nobody reads this


async def _answer_storage(request: Request, error: Exception) -> Response:
    log.error("storage", path=request.url.path, error=repr(error))
    detail = (
        "the receiver cannot reach or trust its storage now; send it again later, and see the receiver's log"
    )
    return problem_response(503, "storage", detail, None, {"Retry-After": str(_RETRY_AFTER_SECONDS)})


async def _answer_failure(_request: Request, _error: Exception) -> Response:
    # the server logs the traceback: starlette raises the error again after this answer
    return problem_response(500, "internal", "the receiver failed; see its log for the error")
