"""What the vision process tells the appliance, over a Unix socket: small typed messages, length first.

The vision process never waits for the appliance: previews are left out when the socket is full, and when the
appliance is gone the vision process ends with it.
"""

import asyncio
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from inference.detection import Detection
from sync.record import ModelRef, Verdict

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_SEND_BUFFER_BYTES = 4 * 1024 * 1024


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded and warm; frames are judged from here on."""

    model: ModelRef
    engine: str
    model_label: str


class Counts(msgspec.Struct, frozen=True):
    """A camera's counters since the vision process started: seen = inspected + the sum of dropped."""

    seen: int
    dropped: Mapping[str, int]
    missed_frames: tuple[tuple[int, int], ...] = ()
    """Camera frame numbers, first and last of each run, that were dropped since the last message."""


class Judged(msgspec.Struct, frozen=True, tag=True):
    """One frame was judged. Sent before anything else is done with it: the PLC is waiting."""

    camera: str
    frame: int
    verdict: Verdict
    detections: tuple[Detection, ...]
    captured_wall_ns: int
    arrived_mono_ns: int
    judged_mono_ns: int
    width_px: int
    height_px: int
    stage_ms: Mapping[str, float]
    counts: Counts


class EvidenceKept(msgspec.Struct, frozen=True, tag=True):
    """The picture of an NG or CHECK frame is durable on disk, or could not be kept (None, and why)."""

    camera: str
    frame: int
    sha256: str | None
    reason: str = ""


class Preview(msgspec.Struct, frozen=True, tag=True):
    """A small JPEG of the newest judged frame, for the console."""

    camera: str
    frame: int
    jpeg: bytes


class CameraLost(msgspec.Struct, frozen=True, tag=True):
    """A camera stopped giving frames."""

    camera: str
    cause: str


class CameraBack(msgspec.Struct, frozen=True, tag=True):
    """A camera gives frames (again)."""

    camera: str


class Closed(msgspec.Struct, frozen=True, tag=True):
    """A camera was closed in good order, with its last counters."""

    camera: str
    counts: Counts


class Alive(msgspec.Struct, frozen=True, tag=True):
    """No frame came, and the process still runs."""


Message = Ready | Alive | Judged | EvidenceKept | Preview | CameraLost | CameraBack | Closed


class LinkBroken(Exception):
    """What comes from the vision process is not its language; the connection is of no more use."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class LinkSender:
    """The vision process's end. Any thread may send."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._socket.connect(str(path))
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            OSError: when the appliance is gone.
        """
        packed = _encoder.encode(message)
        with self._lock:
            self._socket.sendall(struct.pack(">I", len(packed)) + packed)

    def send_if_idle(self, message: Preview) -> bool:
        """Send a preview unless the appliance is behind; whether it was sent."""
        _, writable, _ = select.select([], [self._socket], [], 0)
        if writable:
            self.send(message)
        return bool(writable)

    def wait_until_gone(self) -> None:
        """Block until the appliance closes its end or dies."""
        try:
            self._socket.recv(1)
        except OSError:
            return

    def close(self) -> None:
        """Say no more."""
        self._socket.close()


async def receive(reader: asyncio.StreamReader) -> AsyncIterator[Message]:
    """The appliance's end: messages until the vision process is gone.

    Raises:
        LinkBroken: if a message is longer than MAX_MESSAGE_BYTES or not one of ours.
    """
    while True:
        try:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            if size > MAX_MESSAGE_BYTES:
                raise LinkBroken(f"a message of {size} bytes from the vision process")
            packed = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        try:
            message = _decoder.decode(packed)
        except msgspec.DecodeError as error:
            raise LinkBroken(f"not a message of the vision process: {error}") from error
        yield message
