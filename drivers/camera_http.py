"""A network camera's MJPEG stream over HTTP (multipart/x-mixed-replace).

Two headers of a part are understood where the camera sends them: `X-Frame-Id`, its own frame number, and
`X-Timestamp`, seconds since 1970 with a fraction.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drivers.errors import DeviceMisconfigured, DeviceRefused, DeviceUnreachable, ProtocolViolation
from drivers.frame import Frame
from drivers.multipart import MalformedStream, Part, PartReader, boundary_of
from drivers.picture import NotAPicture, decode_picture
from drivers.settings import Name, Settings, TimeoutSeconds, read_password

if TYPE_CHECKING:  # importing it takes 0.4 s, which the appliance process saves until a camera is opened
    import httpx

_GARBAGE_IN_A_ROW = 20
_MAX_NUMBER_DIGITS = 18
"""A longer frame number does not fit into 64 bits; the driver counts by itself then."""

_LAST_SECOND = 253_402_300_799
"""The end of the year 9999. Cameras that send milliseconds are far beyond it."""

_MEBIBYTE = 1024 * 1024


def _http_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", "https"} or not rest or "@" in rest.split("/", 1)[0]:
        raise ValueError(
            "write it as http://HOST:PORT/PATH; user and password_file are settings of their own"
        )
    return url


class HttpCameraConfig(Settings):
    """An MJPEG camera. Its own factory: `with config.open() as camera`.

    `timeout_seconds` holds for the connection and for every picture. Log-in, where `username` is given, is
    HTTP basic with the first line of `password_file`. A picture of more than `max_picture_bytes` is refused.
    """

    driver: Literal["http"] = "http"
    name: Name
    url: Annotated[str, AfterValidator(_http_url)]
    timeout_seconds: TimeoutSeconds = 2.0
    username: str | None = None
    password_file: Path | None = None
    max_picture_bytes: Annotated[int, Field(ge=1024, le=256 * _MEBIBYTE)] = 32 * _MEBIBYTE

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: give both or neither")
        return self

    @contextmanager
    def open(self) -> Iterator["HttpCamera"]:
        """Connect and read the answer's headers.

        Raises:
            DeviceUnreachable: if nobody answers in time.
            DeviceRefused: if the camera refuses the log-in.
            DeviceMisconfigured: if there is no such page, or it is not an MJPEG stream.
        """
        import httpx

        auth = None
        if self.username is not None and self.password_file is not None:
            auth = httpx.BasicAuth(self.username, read_password(self.password_file))
        try:
            with (
                httpx.Client(timeout=self.timeout_seconds, auth=auth, trust_env=False) as client,
                client.stream("GET", self.url) as response,
            ):
                yield HttpCamera(self, response, self._boundary(response))
        except httpx.TimeoutException as error:
            raise DeviceUnreachable(
                f"no picture from {self.url} within {self.timeout_seconds} s",
                hint="Check that the camera is on and not hung, and the network between.",
            ) from error
        except (httpx.NetworkError, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
            raise DeviceUnreachable(
                f"no connection to {self.url} ({error})",
                hint="Check that the camera is on, its address and port, and the cable.",
            ) from error
        except httpx.RemoteProtocolError as error:
            raise ProtocolViolation(
                f"{self.url}: {error}", hint="Check that it is an HTTP camera."
            ) from error

    def _boundary(self, response: "httpx.Response") -> bytes:
        if response.status_code in {401, 403}:
            raise DeviceRefused(
                f"{self.url} refuses the log-in (HTTP {response.status_code})",
                hint="Check username and password_file.",
            )
        if response.status_code >= 500:
            raise DeviceUnreachable(
                f"{self.url} answers HTTP {response.status_code}", hint="Restart the camera."
            )
        boundary = boundary_of(response.headers.get("content-type", ""))
        if response.status_code != 200 or boundary is None:
            kind = response.headers.get("content-type", "nothing")
            raise DeviceMisconfigured(
                f"{self.url} gives no MJPEG stream (HTTP {response.status_code}, {kind})",
                hint="Look the stream's path up in the camera's manual.",
            )
        return boundary


class HttpCamera:
    """An open MJPEG stream. `undecodable` counts the parts that were no whole picture and were skipped."""

    def __init__(self, config: HttpCameraConfig, response: "httpx.Response", boundary: bytes) -> None:
        self.undecodable = 0
        self._config = config
        self._response = response
        self._parts = PartReader(boundary, config.max_picture_bytes)
        self._in_a_row = 0
        self._number = 0

    def frames(self) -> Iterator[Frame]:
        """Yield pictures as they come. See Camera. A part that is no picture leaves a gap in the numbers.

        Raises:
            DeviceUnreachable: if the camera ends the stream, or no bytes come in time.
            ProtocolViolation: if it is no multipart stream, or many parts in a row are no picture.
        """
        deadline = time.monotonic() + self._config.timeout_seconds
        for octets in self._response.iter_raw():
            for frame in self._whole_pictures(octets):
                yield frame
                deadline = time.monotonic() + self._config.timeout_seconds
            if time.monotonic() > deadline:  # bytes trickle, and never a whole picture
                raise DeviceUnreachable(
                    f"no whole picture from {self._config.url} within {self._config.timeout_seconds} s",
                    hint="Check the network's load, or ask the camera for smaller pictures.",
                )
        raise DeviceUnreachable(
            f"{self._config.url} ended the stream", hint="See whether the camera restarted."
        )

    def _whole_pictures(self, octets: bytes) -> Iterator[Frame]:
        try:
            for part in self._parts.feed(octets):
                frame = self._frame(part)
                if frame is not None:
                    yield frame
        except MalformedStream as error:
            raise ProtocolViolation(
                f"{self._config.url}: {error}", hint="Check that the address is the camera's MJPEG stream."
            ) from error

    def _frame(self, part: Part) -> Frame | None:
        given = part.headers.get("x-frame-id", "")
        theirs = given.isascii() and given.isdigit() and len(given) <= _MAX_NUMBER_DIGITS
        self._number = int(given) if theirs else self._number + 1
        try:
            image = decode_picture(part.content)
        except NotAPicture as error:
            self._count_undecodable(error)
            return None
        self._in_a_row = 0
        captured_wall_ns = _wall_ns(part.headers.get("x-timestamp", ""))
        return Frame(self._config.name, self._number, image, captured_wall_ns, time.monotonic_ns())

    def _count_undecodable(self, error: NotAPicture) -> None:
        self.undecodable += 1
        self._in_a_row += 1
        if self._in_a_row >= _GARBAGE_IN_A_ROW:
            raise ProtocolViolation(
                f"{self._config.url}: {self._in_a_row} pictures in a row cannot be decoded; {error}",
                hint="Set the camera to send JPEG pictures, and check the network for losses.",
            ) from error


def _wall_ns(timestamp: str) -> int:
    """X-Timestamp as nanoseconds since 1970; this box's time where it is none, or none before 10,000."""
    seconds, _, fraction = timestamp.partition(".")
    if not (seconds + fraction).isascii() or not seconds.isdigit() or not (fraction or "0").isdigit():
        return time.time_ns()
    if len(seconds) > _MAX_NUMBER_DIGITS or int(seconds) > _LAST_SECOND:
        return time.time_ns()
    return int(seconds) * 1_000_000_000 + int(f"{fraction:0<9.9}")
