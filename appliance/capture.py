"""From cameras to the detector: a thread a camera, and a slot that keeps only its newest frame.

Every frame that is not judged is counted, with its cause and its number.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from appliance.supervisor import Backoff
from appliance.vision_link import Counts
from drivers.driver import CameraConfig
from drivers.errors import DeviceError
from drivers.frame import Frame

SUPERSEDED = "superseded"  # a newer frame came before the detector was free
IN_TRANSIT = "in_transit"  # the camera's numbers jump: lost or undecodable on the way
CAMERA_GONE = "camera_gone"  # the camera's numbers jump across a reconnection
STOPPED = "stopped"  # still in the slot when the process stopped

log = structlog.get_logger()

_MAX_RUNS = 64
_MAX_JUMP = 100_000
"""A larger jump in a camera's numbers is a camera that counts anew, not that many lost frames."""


class CameraCount:
    """One camera's counters. Not thread safe: used under the slot's lock."""

    def __init__(self) -> None:
        self.seen = 0
        self.dropped: Counter[str] = Counter()
        self._runs: list[tuple[int, int]] = []
        self._newest: int | None = None

    def arrived(self, number: int, *, reconnected: bool) -> None:
        """A frame came; a jump in the camera's numbers is frames that were lost before it."""
        if self._newest is not None and 1 < number - self._newest <= _MAX_JUMP:
            first, last = self._newest + 1, number - 1
            self.seen += last - first + 1
            self.drop(CAMERA_GONE if reconnected else IN_TRANSIT, first, last)
        self._newest = number
        self.seen += 1

    def drop(self, cause: str, first: int, last: int) -> None:
        """Frames `first` to `last` will not be judged."""
        self.dropped[cause] += last - first + 1
        if self._runs and self._runs[-1][1] == first - 1:
            self._runs[-1] = (self._runs[-1][0], last)
        elif len(self._runs) < _MAX_RUNS:
            self._runs.append((first, last))

    def take(self) -> Counts:
        """The counters now; the runs of missed frames are handed over and forgotten."""
        runs, self._runs = tuple(self._runs), []
        return Counts(self.seen, dict(self.dropped), runs)


class NewestFrames:
    """The newest frame of each camera that the detector has not taken yet. Drop-oldest, and counted."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._waiting: dict[str, Frame] = {}
        self._order = list(cameras)
        self._counts = {camera: CameraCount() for camera in cameras}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame, *, reconnected: bool = False) -> None:
        """Hand over a frame; one that still waits is dropped."""
        with self._changed:
            count = self._counts[frame.camera]
            if (waiting := self._waiting.pop(frame.camera, None)) is not None:
                count.drop(SUPERSEDED, waiting.number, waiting.number)
            count.arrived(frame.number, reconnected=reconnected)
            self._waiting[frame.camera] = frame
            self._changed.notify()

    @property
    def closed(self) -> bool:
        """Whether no more frames will come."""
        return self._closed

    def take(self, timeout_seconds: float | None = None) -> tuple[Frame, Counts] | None:
        """The next frame, the cameras in turn, and its camera's counters up to it.

        None once closed, and when no camera gave one in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_seconds)
            if self._closed or not self._waiting:
                return None
            camera = next(name for name in self._order if name in self._waiting)
            self._order.remove(camera)
            self._order.append(camera)
            return self._waiting.pop(camera), self._counts[camera].take()

    def close(self) -> dict[str, Counts]:
        """No more frames: `take` returns None. Gives every camera's last counters."""
        with self._changed:
            self._closed = True
            for camera, frame in self._waiting.items():
                self._counts[camera].drop(STOPPED, frame.number, frame.number)
            self._waiting.clear()
            self._changed.notify_all()
            return {camera: count.take() for camera, count in self._counts.items()}


def keep_camera(
    config: CameraConfig,
    frames: NewestFrames,
    lost: Callable[[str], None],
    back: Callable[[], None],
    stopping: threading.Event,
) -> None:
    """Run one camera in this thread until `stopping`: open it, put its frames; again after a failure."""
    backoff = Backoff()
    ever_open = False
    while not stopping.is_set():
        try:
            with config.open() as camera:
                first = True
                for frame in camera.frames():
                    if first:
                        back()
                        backoff.reset()
                    frames.put(frame, reconnected=first and ever_open)
                    first, ever_open = False, True
                    if stopping.is_set():
                        return
            lost("its last picture was shown")  # a folder or file that does not repeat
            stopping.wait()
        except DeviceError as error:
            lost(f"{error} {error.hint}".strip())
            stopping.wait(backoff.next_seconds())
        except Exception as error:  # a defect of ours must not leave the camera dark until a restart
            log.exception("the camera driver failed", camera=config.name)
            lost(f"Its driver failed ({type(error).__name__}: {str(error)[:200]}); see the box's log")
            stopping.wait(backoff.next_seconds())
