"""An RTSP camera, read by FFmpeg through PyAV.

Measured: FFmpeg holds one frame back, because its parser waits for the next one; frames pile up in it when
they are not taken as fast as they come, so whoever reads must drain it and keep the newest. A dead server
ends PyAV's iterator without an exception, a hung one blocks for ever unless a time-out is set.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import numpy as np
from pydantic import AfterValidator, model_validator

from drivers.errors import DeviceError, DeviceMisconfigured, DeviceRefused, DeviceUnreachable
from drivers.frame import Frame
from drivers.settings import Name, Settings, TimeoutSeconds, read_password


def _rtsp_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in {"rtsp", "rtsps"} or not rest or "@" in rest.split("/", 1)[0]:
        raise ValueError(
            "write it as rtsp://HOST:PORT/PATH; user and password_file are settings of their own"
        )
    return url


class RtspCameraConfig(Settings):
    """An RTSP camera. Its own factory: `with config.open() as camera`.

    `timeout_seconds` holds for the connection and for every picture. The stream is carried over TCP unless
    `transport` says udp.
    """

    driver: Literal["rtsp"] = "rtsp"
    name: Name
    url: Annotated[str, AfterValidator(_rtsp_url)]
    timeout_seconds: TimeoutSeconds = 5.0
    transport: Literal["tcp", "udp"] = "tcp"
    username: str | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: give both or neither")
        return self

    @contextmanager
    def open(self) -> Iterator["RtspCamera"]:
        """Connect.

        Raises:
            DeviceUnreachable: if nobody answers in time.
            DeviceRefused: if the camera refuses the log-in.
            DeviceMisconfigured: if it has no such stream, or no video in it.
        """
        import av

        options = {"rtsp_transport": self.transport, "fflags": "nobuffer", "flags": "low_delay"}
        try:
            container = av.open(
                self._url_with_user(),
                options=options,
                # a hung server costs twice the read time-out: FFmpeg waits once more on closing
                timeout=(self.timeout_seconds, self.timeout_seconds / 2),
            )
        except (av.FFmpegError, OSError) as error:
            raise _device_error(self, error) from None  # its text names the password
        with closing(container):
            if not container.streams.video:
                raise DeviceMisconfigured(
                    f"{self.url} has no video", hint="Look the stream's path up in the camera's manual."
                )
            yield RtspCamera(self, container)

    def _url_with_user(self) -> str:
        if self.username is None or self.password_file is None:
            return self.url
        user, password = quote(self.username, safe=""), quote(read_password(self.password_file), safe="")
        return self.url.replace("://", f"://{user}:{password}@", 1)


class RtspCamera:
    """An open RTSP stream. `undecodable` counts the packets that could not be decoded and were skipped."""

    def __init__(self, config: RtspCameraConfig, container: Any) -> None:
        self.undecodable = 0
        self._config = config
        self._container = container

    def frames(self) -> Iterator[Frame]:
        """Yield pictures as they come, numbered from 1. See Camera."""
        import av

        number = 0
        try:
            for packet in self._container.demux(video=0):
                try:
                    decoded = packet.decode()
                except av.InvalidDataError:
                    self.undecodable += 1
                    number += 1
                    continue
                for picture in decoded:
                    number += 1
                    image = np.ascontiguousarray(picture.to_ndarray(format="bgr24"))
                    yield Frame(self._config.name, number, image, time.time_ns(), time.monotonic_ns())
        except (av.FFmpegError, OSError) as error:
            raise _device_error(self._config, error) from None
        raise DeviceUnreachable(
            f"{self._config.url} ended the stream", hint="See whether the camera restarted, and its network."
        )


def _device_error(config: RtspCameraConfig, error: Exception) -> DeviceError:
    import av

    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError | PermissionError):
        return DeviceRefused(
            f"{config.url} refuses the log-in ({reason})", hint="Check username and password_file."
        )
    if isinstance(error, av.HTTPNotFoundError | av.HTTPBadRequestError | av.HTTPOtherClientError):
        return DeviceMisconfigured(
            f"{config.url}: {reason}", hint="Look the stream's path up in the camera's manual."
        )
    return DeviceUnreachable(
        f"no picture from {config.url} within {config.timeout_seconds} s ({reason})",
        hint="Check that the camera is on, its address and port, and the network between.",
    )
