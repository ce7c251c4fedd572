"""Where the pictures of `alumiguard inspect` come from: files, folders, videos and cameras' streams."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from appliance.capture import NewestFrames
from drivers.camera_folder import PictureError, pictures
from drivers.camera_http import HttpCameraConfig
from drivers.camera_rtsp import RtspCameraConfig
from drivers.errors import DeviceError
from drivers.frame import Image
from provisioning.answers import shown

StreamConfig = HttpCameraConfig | RtspCameraConfig


@dataclass(frozen=True, slots=True)
class Offered:
    """A picture, or why there is none and what to do about it.

    `frame` counts in a video or stream, None for a picture file.
    """

    source: str
    frame: int | None
    content: Image | PictureError
    next_step: str = ""


Work = Path | StreamConfig | Offered
"""One item to inspect: a file, a stream, or something that was refused already."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When to leave a stream: after so many seconds or frames, None for never."""

    seconds: float | None
    frames: int | None


def is_url(source: str) -> bool:
    """Whether a source is a stream's address rather than a path."""
    return "://" in source


def stream(url: str, username: str | None, password_file: Path | None) -> StreamConfig:
    """The camera behind an address.

    Raises:
        ValueError: if it is no address of a kind that can be read; the message says which are.
    """
    kinds: dict[str, type[StreamConfig]] = {
        "http": HttpCameraConfig,
        "https": HttpCameraConfig,
        "rtsp": RtspCameraConfig,
        "rtsps": RtspCameraConfig,
    }
    kind = kinds.get(url.partition("://")[0].lower())
    if kind is None:
        raise ValueError(f"it is not an address that can be read; known are {', '.join(kinds)}")
    try:
        return kind(name="stream", url=url, username=username, password_file=password_file)
    except ValidationError as error:
        reasons = "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
        raise ValueError(reasons) from error


def files_of(path: Path, leave_out: Path | None) -> list[Work]:
    """A file itself, or all files in a folder and the folders in it, in the order of their names.

    Hidden files are left out, and so is the report that a run before this one wrote there. What cannot be
    looked into comes as an `Offered` without a picture.
    """
    if not path.exists():
        return [refused(path, "there is no such file or folder")]
    if not path.is_dir():
        return [path]
    found: list[Work] = []

    def unreadable(error: OSError) -> None:
        found.append(refused(Path(str(error.filename)), f"it cannot be read ({error.strerror})"))

    for folder, below, names in os.walk(path, onerror=unreadable):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
        found += [file for file in inside if leave_out is None or file.resolve() != leave_out.resolve()]
    return found


def offered_by(work: Work, bounds: Bounds) -> Iterator[Offered]:
    """The pictures of one item."""
    if isinstance(work, Offered):
        yield work
    elif isinstance(work, Path):
        yield from pictures_in(work)
    else:
        yield from frames_of(work, bounds)


def pictures_in(file: Path) -> Iterator[Offered]:
    """The picture in a file, or every frame of a video."""
    if not file.is_file():
        yield refused(file, "it is not a file" if file.exists() else "there is no such file")
        return
    try:
        for picture in pictures(file):
            if picture.index == 0 and isinstance(picture.content, PictureError):  # a video that gave nothing
                yield refused(file, picture.content.reason.replace(" from frame 0 on", ""))
            else:
                yield Offered(shown(file), picture.index, picture.content)
    except (DeviceError, OSError) as error:
        yield refused(file, error)


def refused(source: object, reason: object, next_step: str = "") -> Offered:
    """Something that gives no picture."""
    return Offered(shown(source), None, PictureError(shown(reason)), shown(next_step))


def frames_of(config: StreamConfig, bounds: Bounds) -> Iterator[Offered]:
    """The newest frame of a stream, again and again, until a bound is reached or the stream breaks off.

    A frame that comes while an older one is still being inspected replaces the one that waits, as on the box.
    """
    slot = NewestFrames([config.name])
    stopping = threading.Event()
    broken: list[DeviceError] = []
    reader = threading.Thread(target=_read, args=(config, slot, stopping, broken), name="stream", daemon=True)
    reader.start()
    timer = threading.Timer(bounds.seconds, slot.close) if bounds.seconds is not None else None
    if timer is not None:
        timer.start()
    given = 0
    try:
        while (bounds.frames is None or given < bounds.frames) and (taken := slot.take()) is not None:
            given += 1
            yield Offered(shown(config.url), taken[0].number, taken[0].image)
    finally:
        stopping.set()
        if timer is not None:
            timer.cancel()
        reader.join()
    if broken and not (bounds.frames is not None and given >= bounds.frames):
        yield refused(config.url, broken[0], broken[0].hint)


def _read(
    config: StreamConfig, slot: NewestFrames, stopping: threading.Event, broken: list[DeviceError]
) -> None:
    """Drain the stream into the slot, so that what is inspected is never old."""
    try:
        with config.open() as camera:
            for frame in camera.frames():
                if stopping.is_set():
                    return
                slot.put(frame)
    except DeviceError as error:
        broken.append(error)
    finally:
        slot.close()
