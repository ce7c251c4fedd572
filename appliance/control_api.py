"""The control socket: HTTP on a Unix socket, for the console and for `alumiguard status`.

Who may open the socket file may command the box; it is readable and writable by its owner only.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from sync.audit_log import LogError
from ui.backend import AcknowledgeCommand, BoxView, CommandDone, CommandRefused, JudgeCommand

MAX_BODY_BYTES = 64 * 1024


def control_app(
    status: Callable[[], BoxView],
    preview: Callable[[str], tuple[int, bytes] | None],
    acknowledge: Callable[[AcknowledgeCommand], Awaitable[int]],
    judge: Callable[[JudgeCommand], Awaitable[int]],
) -> FastAPI:
    """The API over the box's own functions."""
    app = FastAPI(
        title="AlumiGuard Edge, one box", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None
    )

    @app.get("/v1/status")
    async def get_status() -> BoxView:
        return status()

    @app.get("/v1/cameras/{name}/preview.jpg", response_class=Response)
    async def get_preview(name: str) -> Response:
        found = preview(name)
        if found is None:
            return _problem(HTTPStatus.NOT_FOUND, f"camera {name!r} shows no picture now")
        number, jpeg = found
        return Response(jpeg, media_type="image/jpeg", headers={"X-Preview": str(number)})

    @app.post("/v1/alarms/acknowledge")
    async def post_acknowledge(command: AcknowledgeCommand) -> CommandDone:
        return CommandDone(seq=await acknowledge(command))

    @app.post("/v1/feedback")
    async def post_feedback(command: JudgeCommand) -> CommandDone:
        return CommandDone(seq=await judge(command))

    _refuse_in_sentences(app)
    return app


def _refuse_in_sentences(app: FastAPI) -> None:
    """What is not a command, or cannot be done, is answered with problem+json (RFC 9457)."""

    @app.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0" if request.method == "GET" else "")
        if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY_BYTES):
            detail = f"a command is at most {MAX_BODY_BYTES} bytes, and says its length"
            return _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        return await call_next(request)

    @app.exception_handler(CommandRefused)
    async def refused(_request: Request, error: CommandRefused) -> JSONResponse:
        return _problem(HTTPStatus.CONFLICT, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        # what was sent is not given back: it may be large, or nothing that JSON can hold
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}")

    @app.exception_handler(LogError)
    async def not_recorded(_request: Request, error: LogError) -> JSONResponse:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not recorded, so not done: {error}")


def _problem(status: HTTPStatus, detail: str) -> JSONResponse:
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


class _Server(uvicorn.Server):
    """A server that leaves signals to the appliance."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def bound(path: Path) -> Iterator[socket.socket]:
    """A Unix socket at `path` that only its owner may open; an old file is put out of the way."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def serve(app: FastAPI, path: Path) -> None:
    """Serve on the socket until cancelled."""
    with bound(path) as listener:
        server = _Server(
            uvicorn.Config(
                app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
            )
        )
        await server.serve(sockets=[listener])
