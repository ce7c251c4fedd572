"""How the receiver says no: RFC 9457 problem documents whose `type` a program can react to."""

from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

PROBLEM_MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:alumiguard:problem:"


class MarkView(BaseModel):
    """How far the receiver holds an epoch: the last seq, and the chain head after it in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: str
    seq: int
    head: str


class ProblemView(BaseModel):
    """Why a request was refused. `type` is for programs, `detail` ends with what to do next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    mark: MarkView | None = None


class Problem(Exception):
    """A refusal. It is answered as a problem document and kept as a security event.

    `code` is the last part of the document's type; `mark` goes with the three conflicts of a log.
    """

    def __init__(self, status: int, code: str, detail: str, mark: MarkView | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        # quoted foreign text may hold lone surrogates, which no UTF-8 answer can
        self.detail = detail.encode(errors="backslashreplace").decode()
        self.mark = mark


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
    content = {PROBLEM_MEDIA_TYPE: {"schema": ProblemView.model_json_schema()}}
    return {status: {"description": "refused", "content": content} for status in statuses}
