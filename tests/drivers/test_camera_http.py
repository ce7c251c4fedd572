import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from drivers.camera_http import HttpCameraConfig
from drivers.errors import (
    DeviceError,
    DeviceMisconfigured,
    DeviceRefused,
    DeviceUnreachable,
    ProtocolViolation,
)
from drivers.frame import Frame
from tests.support.link import Link, LinkState, link
from tests.support.plant_process import PlantProcess

TIMEOUT_SECONDS = 1.0


def config(port: int, path: str = "/stream.mjpg", **more: object) -> HttpCameraConfig:
    url = f"http://127.0.0.1:{port}{path}"
    given = {"name": "top", "url": url, "timeout_seconds": TIMEOUT_SECONDS, **more}
    return HttpCameraConfig.model_validate(given)


async def grab(camera: HttpCameraConfig, count: int) -> tuple[list[Frame], int]:
    """The first frames, and how many parts were undecodable until then."""

    def in_a_thread() -> tuple[list[Frame], int]:
        frames: list[Frame] = []
        with camera.open() as opened:
            for frame in opened.frames():
                frames.append(frame)
                if len(frames) == count:
                    return frames, opened.undecodable
        raise AssertionError("the frames ended in silence")

    async with asyncio.timeout(20):
        return await asyncio.to_thread(in_a_thread)


# --- the simulated plant's camera -------------------------------------------------------------------------


@pytest.fixture
async def cable(plant: PlantProcess) -> AsyncIterator[Link]:
    async with link(plant.camera_port) as cable:
        yield cable


async def test_frames_carry_the_cameras_number_and_time(cable: Link) -> None:
    frames, undecodable = await grab(config(cable.port), 4)
    numbers = [frame.number for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert undecodable == 0
    for frame, after in pairwise(frames):
        assert frame.image.shape == (1024, 1280, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert 0.1e9 < after.captured_wall_ns - frame.captured_wall_ns < 0.25e9  # 170 mm at 1 m/s


async def test_a_dead_address_raises_within_the_timeout(cable: Link) -> None:
    await cable.cut()
    with pytest.raises(DeviceUnreachable):
        await grab(config(cable.port), 1)


async def test_a_camera_that_accepts_and_never_answers_raises() -> None:
    async with link(None) as silent:
        with pytest.raises(DeviceUnreachable, match=r"within 1\.0 s"):
            await grab(config(silent.port), 1)


@pytest.mark.parametrize("trouble", ["cut", "pulled"])
async def test_a_link_that_fails_ends_the_frames_with_an_error(cable: Link, trouble: str) -> None:
    seen = threading.Event()

    def watch() -> None:
        with config(cable.port).open() as camera:
            for _ in camera.frames():
                seen.set()

    async with asyncio.timeout(10):
        watching = asyncio.gather(asyncio.to_thread(watch), return_exceptions=True)
        while not seen.is_set():
            await asyncio.sleep(0.01)
        if trouble == "cut":
            await cable.cut()
        else:
            cable.become(LinkState.PULLED)
        [ended] = await watching
    assert isinstance(ended, DeviceUnreachable)


async def test_noise_raises(cable: Link) -> None:
    cable.become(LinkState.NOISY)
    with pytest.raises(ProtocolViolation):
        await grab(config(cable.port), 1)


async def test_a_hundred_connections_leak_nothing() -> None:
    async def stream(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + _part(JPEG))

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with _camera(stream) as port:
        await grab(config(port), 1)
        before = descriptors()
        for _ in range(100):
            await grab(config(port), 1)
        async with asyncio.timeout(3):
            while descriptors() > before:
                await asyncio.sleep(0.01)


# --- cameras that misbehave -------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
PICTURE = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()

Stream = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def _part(content: bytes, headers: str = "", *, length: bool = True) -> bytes:
    if length:
        headers += f"Content-Length: {len(content)}\r\n"
    return f"--frame\r\nContent-Type: image/jpeg\r\n{headers}\r\n".encode() + content + b"\r\n"


@asynccontextmanager
async def _camera(stream: Stream) -> AsyncIterator[int]:
    """A camera that sends what `stream` writes for a request, and then keeps silent."""
    talking: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking[writer] = asyncio.current_task()
        try:
            await stream(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the driver went away
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in talking:
            writer.transport.abort()
        await asyncio.gather(*(task for task in talking.values() if task))


def _sends(*chunks: bytes, end: bool = False) -> Stream:
    async def stream(_: bytes, writer: asyncio.StreamWriter) -> None:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        if end:
            writer.close()

    return stream


async def test_a_picture_that_is_cut_off_is_counted_and_leaves_a_gap_in_the_numbers() -> None:
    parts = _part(JPEG) + _part(JPEG[: len(JPEG) // 2]) + _part(b"no picture") + _part(JPEG)
    async with _camera(_sends(HEAD + parts)) as port:
        frames, undecodable = await grab(config(port), 2)
    assert [frame.number for frame in frames] == [1, 4]
    assert undecodable == 2


async def test_nothing_but_garbage_is_a_protocol_violation() -> None:
    async with _camera(_sends(HEAD + _part(b"garbage") * 50)) as port:
        with pytest.raises(ProtocolViolation, match="20 pictures in a row"):
            await grab(config(port), 1)


async def test_a_part_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with _camera(_sends(HEAD + b"--frame\r\nContent-Length: 999999999\r\n\r\n")) as port:
        with pytest.raises(ProtocolViolation, match="999999999"):
            await grab(config(port), 1)


async def test_a_part_without_length_that_never_ends_is_refused_at_the_limit() -> None:
    async with _camera(_sends(HEAD + b"--frame\r\n\r\n" + bytes(4096))) as port:
        with pytest.raises(ProtocolViolation, match="longer than the limit"):
            await grab(config(port, max_picture_bytes=2048), 1)


async def test_a_stream_without_content_lengths_is_read() -> None:
    async with _camera(_sends(HEAD + _part(JPEG, length=False) * 3)) as port:
        frames, _ = await grab(config(port), 2)
    assert len(frames) == 2


async def test_pictures_that_only_trickle_raise_within_the_timeout() -> None:
    async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"--frame\r\nContent-Length: 9000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with _camera(trickle) as port, asyncio.timeout(TIMEOUT_SECONDS + 1.5):
        with pytest.raises(DeviceUnreachable, match="no whole picture"):
            await grab(config(port), 1)


async def test_a_stream_that_ends_raises() -> None:
    async with _camera(_sends(HEAD + _part(JPEG), end=True)) as port:
        with pytest.raises(DeviceError):
            await grab(config(port), 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", DeviceRefused),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", DeviceMisconfigured),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", DeviceMisconfigured),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", DeviceUnreachable),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolViolation),
    ],
)
async def test_an_answer_that_is_no_stream_says_what_to_do_next(
    answer: bytes, error: type[DeviceError]
) -> None:
    async with _camera(_sends(answer)) as port:
        with pytest.raises(error) as raised:
            await grab(config(port), 1)
    assert raised.value.hint


async def test_log_in_is_by_the_first_line_of_a_password_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("se:cret\n", encoding="utf-8")
    expected = b"Authorization: Basic " + base64.b64encode(b"box:se:cret")

    async def guarded(request: bytes, writer: asyncio.StreamWriter) -> None:
        known = expected in request
        writer.write(HEAD + _part(JPEG) if known else b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")

    async with _camera(guarded) as port:
        frames, _ = await grab(config(port, username="box", password_file=password), 1)
        assert frames
        with pytest.raises(DeviceRefused):
            await grab(config(port), 1)


def test_a_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    with (
        pytest.raises(DeviceMisconfigured, match="nowhere"),
        config(1, username="box", password_file=missing).open(),
    ):
        pass


@pytest.mark.parametrize("url", ["rtsp://cam/", "http://", "cam", "http://user:password@cam/stream"])
def test_an_address_that_cannot_be_is_refused_without_a_device(url: str) -> None:
    with pytest.raises(ValidationError, match="write it as"):
        HttpCameraConfig(name="top", url=url)


async def test_the_parts_headers_give_number_and_time_to_the_nanosecond() -> None:
    headers = "X-Frame-Id: 812\r\nX-Timestamp: 1795224235.0658071239\r\n"
    async with _camera(_sends(HEAD + _part(JPEG, headers))) as port:
        [frame], _ = await grab(config(port), 1)
    assert (frame.number, frame.captured_wall_ns) == (812, 1_795_224_235_065_807_123)


@pytest.mark.parametrize("number", ["9" * 25, "9" * 5000])
async def test_a_frame_number_that_no_counter_has_is_not_believed(number: str) -> None:
    async with _camera(_sends(HEAD + _part(JPEG, f"X-Frame-Id: {number}\r\n"))) as port:
        frames, _ = await grab(config(port), 1)
    assert [frame.number for frame in frames] == [1]


@pytest.mark.parametrize("timestamp", ["1732000000000", "9" * 30, "9" * 5000])
async def test_a_timestamp_beyond_the_year_9999_is_replaced_by_our_own(timestamp: str) -> None:
    before = time.time_ns()
    async with _camera(_sends(HEAD + _part(JPEG, f"X-Timestamp: {timestamp}\r\n"))) as port:
        frames, _ = await grab(config(port), 1)
    assert before <= frames[0].captured_wall_ns <= time.time_ns()
