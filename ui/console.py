"""The console process: `python -m ui.console --control SOCKET --storage DIR --listen HOST:PORT`.

It reads the box's log, sends commands over its control socket, and can be killed at any time.
"""

import argparse
import asyncio
import contextlib
import ctypes
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from ui.backend import ConsoleBackend
from ui.box_backend import open_box
from ui.pages.operator import LOOK, add_operator_page
from ui.pictures import picture_routes
from ui.watch import Watch

RECONNECT_SECONDS = 30.0
"""A tab that lost its connection for a shorter time goes on where it was; a longer one loads again."""

HISTORY_MESSAGES = 100
"""Ten seconds of changes are kept for a tab that comes back; beyond that, loading again is quicker."""

CANNOT_START = 78
"""Exit status (EX_CONFIG of sysexits.h): started again, it would fail the same way."""

_PR_SET_PDEATHSIG = 1

# Everything comes from this console and goes to it: the browser itself refuses any other address.
# NiceGUI compiles its templates in the browser, hence 'unsafe-eval'.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval'; img-src 'self' data: blob:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" rx="18" '
    'fill="#12181d"/><circle cx="50" cy="50" r="29" fill="none" stroke="#37c296" stroke-width="11"/></svg>'
)

log = structlog.get_logger()

# The values of variables stay out of the log: among them are tokens and keys.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _OwnOriginOnly:
    """Adds the policy to every answer (ASGI middleware)."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def console_app(backend: ConsoleBackend, watch: Watch, host: str) -> FastAPI:
    """The pages over a backend. NiceGUI keeps its pages per process: call it once."""
    app = FastAPI(title="AlumiGuard Edge, console", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(picture_routes(backend, watch))
    app.mount("/look", StaticFiles(directory=LOOK), name="look")
    add_operator_page(backend, watch)
    ui.run_with(
        app,
        title="AlumiGuard",
        favicon=_ICON,
        dark=True,
        language="en-GB",
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_SECONDS,
        message_history_length=HISTORY_MESSAGES,
        show_welcome_message=False,
    )
    app.add_middleware(_OwnOriginOnly)
    # A page on the internet may point a name of its own at this address; it does not get in by it.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost", "127.0.0.1", "[::1]"])
    return app


class _Server(uvicorn.Server):
    """A server that stops in good order and leaves the exit status to this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(control: Path, storage: Path, listener: socket.socket) -> None:
    """Run the console until it is told to stop."""
    host, port = listener.getsockname()[:2]
    async with open_box(control, storage) as backend, asyncio.TaskGroup() as tasks:
        watch = Watch(backend)
        app = console_app(backend, watch, host)
        server = _Server(
            uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        )
        watching = tasks.create_task(watch.run())
        log.info("console.listening", url=f"http://{host}:{port}/")
        await server.serve(sockets=[listener])
        watching.cancel()


def listen(address: str) -> socket.socket:
    """A listening socket for HOST:PORT; port 0 takes a free one.

    Raises:
        ValueError: if it is no such address, or one that other machines can reach.
        OSError: if the port is taken.
    """
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"--listen {address}: write it as HOST:PORT, such as 127.0.0.1:8440")
    try:
        ip = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise ValueError(f"--listen {address}: {host!r} is no IP address; use 127.0.0.1") from error
    if not ip.is_loopback:
        raise ValueError(
            f"--listen {address}: the console has no login yet and serves this machine only; use 127.0.0.1"
        )
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    return socket.create_server((str(ip), int(port)), family=family)


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it dies, however it dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("The process that started the console is gone already")


def _set_up_log() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _TRACEBACKS,
            structlog.processors.JSONRenderer(),
        ]
    )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ui.console", description="The box's local web console.")
    parser.add_argument("--control", type=Path, required=True, help="the box's control socket")
    parser.add_argument("--storage", type=Path, required=True, help="the box's storage folder")
    parser.add_argument(
        "--listen", default="127.0.0.1:8440", metavar="HOST:PORT", help="port 0 takes a free one"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process dies")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the console process."""
    arguments = _arguments(argv)
    if arguments.exit_with_parent:
        die_with_parent()
    _set_up_log()
    try:
        listener = listen(arguments.listen)
    except (ValueError, OSError) as error:
        log.error("console.cannot_start", reason=str(error))  # noqa: TRY400 - the sentence is the whole story
        sys.exit(CANNOT_START)
    with listener:
        asyncio.run(serve(arguments.control, arguments.storage, listener))


if __name__ == "__main__":
    main()
