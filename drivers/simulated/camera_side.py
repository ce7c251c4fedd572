"""The simulated plant's camera: MJPEG over HTTP, triggered by the encoder every 170 mm of strip.

`/stream.mjpg` is the stream, `/snapshot.jpg` the newest picture. Each part carries `X-Frame-Id`, the frame
number on the strip, and `X-Timestamp`, when it was taken.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import cv2

from drivers.simulated.faults import FaultKind, FaultPlan
from drivers.simulated.line import Line
from drivers.simulated.strip import Strip

_JPEG_QUALITY = 90
_WAITING_PER_CLIENT = 8
_LATE_SECONDS = 1.0
"""Pictures that are later than this are left out, as a camera leaves out triggers that it cannot follow."""
_REQUEST_SECONDS = 5.0
_BOUNDARY = "frame"


@dataclass(frozen=True, slots=True)
class _Picture:
    number: int
    wall_ns: int
    jpeg: bytes


class CameraSide:
    """The camera. Pictures are drawn in a thread, so that the plant's servers stay quick."""

    def __init__(self, line: Line, strip: Strip, faults: FaultPlan) -> None:
        self._line = line
        self._strip = strip
        self._faults = faults
        self._newest: _Picture | None = None
        self._clients: set[asyncio.Queue[_Picture | None]] = set()
        self._answering: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[int]:
        """Serve on 127.0.0.1; yields the port, which is chosen by the system for 0."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for waiting in self._clients:
                _offer(waiting, None)
            tasks = [task for task in self._answering.values() if task is not None]
            for writer in self._answering:
                writer.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def keep_taking(self) -> None:
        """Take pictures as the strip moves, until cancelled. The line must have been started."""
        number = 0
        while True:
            jpeg = await asyncio.to_thread(self._drawn, number)
            wait_seconds = self._line.seconds_until(number)
            await asyncio.sleep(max(0.0, wait_seconds))
            if wait_seconds > -_LATE_SECONDS:
                self._show(_Picture(number, time.time_ns(), jpeg))
            else:
                number = self._line.frame_number()
            number += 1

    def _drawn(self, number: int) -> bytes:
        done, jpeg = cv2.imencode(
            ".jpg", self._strip.picture(number), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        if not done:
            raise RuntimeError(f"frame {number} could not be encoded as JPEG; check the OpenCV installation")
        return jpeg.tobytes()

    def _show(self, picture: _Picture) -> None:
        seconds = self._line.seconds()
        if self._faults.active(FaultKind.CAMERA_FROZEN, seconds):
            return
        if self._faults.active(FaultKind.GARBAGE, seconds):
            picture = _Picture(picture.number, picture.wall_ns, bytes(range(256)) * 64)
        self._newest = picture
        for waiting in self._clients:
            _offer(waiting, picture)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering[writer] = asyncio.current_task()
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ", 2)[1] if request.count(b" ") >= 2 else b""
            if path == b"/stream.mjpg":
                await self._stream(writer)
            elif path == b"/snapshot.jpg" and self._newest is not None:
                _respond(writer, "200 OK", "image/jpeg", self._newest.jpeg)
            else:
                _respond(writer, "404 Not Found", "text/plain", b"/stream.mjpg or /snapshot.jpg\n")
            await writer.drain()
            writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or is none: nothing to answer
        finally:
            del self._answering[writer]
            if not writer.is_closing():
                writer.transport.abort()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nConnection: close\r\n"
            b"Content-Type: multipart/x-mixed-replace; boundary=" + _BOUNDARY.encode() + b"\r\n\r\n"
        )
        waiting: asyncio.Queue[_Picture | None] = asyncio.Queue(_WAITING_PER_CLIENT)
        self._clients.add(waiting)
        try:
            while (picture := await waiting.get()) is not None:
                writer.write(_part(picture))
                await writer.drain()
        finally:
            self._clients.discard(waiting)


def _offer(waiting: asyncio.Queue[_Picture | None], picture: _Picture | None) -> None:
    """A client that does not keep up gets the newest pictures."""
    if waiting.full():
        waiting.get_nowait()
    waiting.put_nowait(picture)


def _part(picture: _Picture) -> bytes:
    seconds, nanoseconds = divmod(picture.wall_ns, 1_000_000_000)
    headers = (
        f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n"
        f"X-Frame-Id: {picture.number}\r\nX-Timestamp: {seconds}.{nanoseconds:09d}\r\n\r\n"
    )
    return headers.encode() + picture.jpeg + b"\r\n"


def _respond(writer: asyncio.StreamWriter, status: str, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
