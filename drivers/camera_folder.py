"""Pictures from a file or a folder: to try a model out, to replay a shift, and for `alumiguard inspect`.

Files are taken in the order of their names. A video gives every one of its frames.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from drivers.errors import DeviceMisconfigured, ProtocolViolation
from drivers.frame import Frame, Image
from drivers.picture import NotAPicture, decode_picture
from drivers.settings import Name, Settings

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"})
MAX_FILE_BYTES = 512 * 1024 * 1024
"""A larger picture file is refused; a video may be of any size."""


@dataclass(frozen=True, slots=True)
class PictureError:
    """A file, or the rest of a video, that gives no picture: why not, as the end of a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture from a file. `index` is the frame's number in a video from 0 on, None for a picture file."""

    path: Path
    index: int | None
    content: Image | PictureError


def pictures(path: Path) -> Iterator[Picture]:
    """Every picture in a file or, in the order of their names, in a folder and the folders in it.

    A file that is empty, cut off or no picture comes with the reason why. In a folder only files whose
    names say that they are pictures or videos are opened, and hidden ones are left out.

    Raises:
        DeviceMisconfigured: if there is no such file or folder, or it may not be read.
    """
    if path.is_dir():
        for file in _files(path):
            yield from _of_file(file)
    elif path.exists():
        yield from _of_file(path)
    else:
        raise DeviceMisconfigured(f"there is no file or folder {path}", hint="Check the path's spelling.")


class FolderCameraConfig(Settings):
    """Pictures from a file or folder as if a camera took them. Its own factory: `with config.open()`.

    `repeat` starts again after the last one; `frames_per_second` is the pace, none means as fast as they are
    taken.
    """

    driver: Literal["folder"] = "folder"
    name: Name
    path: Path
    repeat: bool = False
    frames_per_second: Annotated[float, Field(gt=0.0, le=1000.0)] | None = None

    @contextmanager
    def open(self) -> Iterator["FolderCamera"]:
        """Look whether there is anything.

        Raises:
            DeviceMisconfigured: if there is no such file or folder, or nothing in it that could be a picture.
        """
        if not self.path.exists():
            raise DeviceMisconfigured(
                f"there is no file or folder {self.path}", hint="Check the path's spelling."
            )
        if self.path.is_dir() and next(_files(self.path), None) is None:
            raise DeviceMisconfigured(
                f"there is no picture or video in {self.path}",
                hint=f"Known are {', '.join(sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))}.",
            )
        yield FolderCamera(self)


class FolderCamera:
    """An open folder. `undecodable` counts the files that gave no picture and were skipped."""

    def __init__(self, config: FolderCameraConfig) -> None:
        self.undecodable = 0
        self._config = config

    def frames(self) -> Iterator[Frame]:
        """Yield pictures at the configured pace, numbered from 1. See Camera.

        A file that gives no picture leaves a gap in the numbers.

        Raises:
            ProtocolViolation: if none of the files gives a picture; it names the first.
        """
        number, due = 0, time.monotonic()
        while True:
            good, first_error = 0, ""
            for picture in pictures(self._config.path):
                number += 1
                if isinstance(picture.content, PictureError):
                    self.undecodable += 1
                    first_error = first_error or f"{picture.path}: {picture.content.reason}"
                    continue
                good += 1
                due = self._wait(due)
                yield Frame(self._config.name, number, picture.content, time.time_ns(), time.monotonic_ns())
            if not good:
                raise ProtocolViolation(
                    f"no file gives a picture ({first_error})", hint=f"Put pictures into {self._config.path}."
                )
            if not self._config.repeat:
                return

    def _wait(self, due: float) -> float:
        """Wait until the next picture is due; gives when the one after it is."""
        if self._config.frames_per_second is None:
            return due
        now = time.monotonic()
        time.sleep(max(0.0, due - now))
        return max(due, now) + 1 / self._config.frames_per_second


def _files(folder: Path) -> Iterator[Path]:
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in known and not hidden and file.is_file():
            yield file


def _of_file(file: Path) -> Iterator[Picture]:
    if file.suffix.lower() in VIDEO_SUFFIXES:
        yield from _of_video(file)
        return
    yield Picture(file, None, _picture_of(file))


def _picture_of(file: Path) -> Image | PictureError:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            return PictureError(f"it is too large (over {MAX_FILE_BYTES // 1024**2} MiB)")
        return decode_picture(file.read_bytes())
    except NotAPicture as error:
        return PictureError(str(error))
    except OSError as error:
        return PictureError(f"it cannot be read ({error.strerror})")


def _of_video(file: Path) -> Iterator[Picture]:
    import av

    index = 0
    try:
        with av.open(str(file)) as container:
            for frame in _decoded(container) if container.streams.video else ():
                yield Picture(file, index, frame)
                index += 1
    except (av.FFmpegError, OSError) as error:
        reason = "it is empty" if file.exists() and not file.stat().st_size else error.strerror or str(error)
        yield Picture(file, index, PictureError(f"it cannot be read from frame {index} on ({reason})"))
    else:
        if not index:
            yield Picture(file, index, PictureError("it holds no frame that can be decoded"))


def _decoded(container: Any) -> Iterator[Image | PictureError]:
    import av

    for packet in container.demux(video=0):
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            yield PictureError(f"a frame cannot be decoded ({error.strerror})")
            continue
        for frame in frames:
            yield np.ascontiguousarray(frame.to_ndarray(format="bgr24"), np.uint8)
