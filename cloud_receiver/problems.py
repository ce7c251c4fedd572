"""How the receiver says no: RFC 9457 problem documents whose `type` a program can react to."""

from pydantic import BaseModel, ConfigDict


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
