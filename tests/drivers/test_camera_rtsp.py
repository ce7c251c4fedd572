import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.camera_rtsp import RtspCameraConfig
from drivers.errors import DeviceMisconfigured, DeviceRefused, DeviceUnreachable

SERVER = Path(__file__).parents[1] / "support" / "rtsp_server.py"
SYSTEM_PYTHON = Path("/usr/bin/python3")
TIMEOUT_SECONDS = 4.0

PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def _has_gstreamer() -> bool:
    if not SYSTEM_PYTHON.exists():
        return False
    probe = subprocess.run([SYSTEM_PYTHON, "-W", "ignore", "-c", PROBE], capture_output=True, check=False)
    return probe.returncode == 0


needs_server = pytest.mark.skipif(
    not _has_gstreamer(), reason="no RTSP server on this machine (Debian: gir1.2-gst-rtsp-server-1.0)"
)


class RtspServer:
    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    def config(self, path: str = "/cam", **more: object) -> RtspCameraConfig:
        url = f"rtsp://127.0.0.1:{self.port}{path}"
        given = {"name": "top", "url": url, "timeout_seconds": TIMEOUT_SECONDS, **more}
        return RtspCameraConfig.model_validate(given)


@contextmanager
def rtsp_server(*arguments: str) -> Iterator[RtspServer]:
    command = [str(SYSTEM_PYTHON), str(SERVER), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield RtspServer(process, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with rtsp_server() as running:
        yield running


@needs_server
def test_frames_come_decoded_and_numbered(server: RtspServer) -> None:
    with server.config().open() as camera:
        frames = camera.frames()
        taken = [next(frames) for _ in range(5)]
    assert [frame.number for frame in taken] == [1, 2, 3, 4, 5]
    assert taken[0].image.shape == (240, 320, 3)
    assert taken[0].image.dtype == np.uint8
    assert taken[0].image.flags.c_contiguous
    assert taken[4].arrived_mono_ns > taken[0].arrived_mono_ns


@needs_server
def test_a_camera_that_is_killed_ends_the_frames_with_an_error(server: RtspServer) -> None:
    with server.config().open() as camera:
        frames = camera.frames()
        next(frames)
        server.process.kill()
        began = time.monotonic()
        with pytest.raises(DeviceUnreachable):
            _drain(frames)
    assert time.monotonic() - began < TIMEOUT_SECONDS + 1.5


@needs_server
def test_a_camera_that_hangs_ends_the_frames_with_an_error_in_time(server: RtspServer) -> None:
    with server.config(timeout_seconds=2.0).open() as camera:
        frames = camera.frames()
        next(frames)
        os.kill(server.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(DeviceUnreachable):
            _drain(frames)
        assert time.monotonic() - began < 2.0 + 1.5


@needs_server
def test_opening_a_camera_that_hangs_raises_in_time(server: RtspServer) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(DeviceUnreachable), server.config(timeout_seconds=1.0).open():
        pass
    assert time.monotonic() - began < 1.0 + 1.5


@needs_server
def test_a_stream_that_is_not_there_is_a_matter_of_configuration(server: RtspServer) -> None:
    with pytest.raises(DeviceMisconfigured), server.config("/nothing").open():
        pass


@needs_server
def test_log_in_is_by_the_first_line_of_a_password_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("se/cret\n", encoding="utf-8")
    with rtsp_server("locked") as server:
        config = server.config(username="box", password_file=password)
        with config.open() as camera:
            assert next(iter(camera.frames())).number == 1
        password.write_text("wrong/secret\n", encoding="utf-8")
        with pytest.raises(DeviceRefused) as raised, config.open():
            pass
    assert "secret" not in f"{raised.value} {raised.value.hint} {raised.value.__cause__}"


def test_a_dead_address_raises_within_the_timeout() -> None:
    config = RtspCameraConfig(name="top", url="rtsp://127.0.0.1:9/cam", timeout_seconds=1.0)
    began = time.monotonic()
    with pytest.raises(DeviceUnreachable) as raised, config.open():
        pass
    assert raised.value.hint
    assert time.monotonic() - began < 1.0 + 1.5


@pytest.mark.parametrize("url", ["http://cam/", "rtsp://", "cam", "rtsp://user:password@cam/stream"])
def test_an_address_that_cannot_be_is_refused_without_a_device(url: str) -> None:
    with pytest.raises(ValidationError, match="write it as"):
        RtspCameraConfig(name="top", url=url)


def _drain(frames: Iterator[object]) -> None:
    for _ in frames:
        pass
    raise AssertionError("the frames ended in silence")
