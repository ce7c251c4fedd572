"""What the box knows of its cameras: the state that the operator sees, and the newest preview."""

import time
from collections import deque
from dataclasses import dataclass, field

from appliance.vision_link import Judged, Preview
from ui.backend import CameraState, CameraView, FoundView

SILENT_SECONDS = 3.0
"""A camera that gave no verdict for this long is gone, whatever it says itself."""

_RATE_FRAMES = 30


@dataclass
class CameraBoard:
    """One camera."""

    name: str
    state: CameraState = CameraState.STARTING
    detail: str = "The vision process is starting"
    judged: Judged | None = None
    preview: Preview | None = None
    previewed: Judged | None = None
    """The frame that the preview shows, so that boxes are never drawn on another picture."""
    times: deque[int] = field(default_factory=lambda: deque(maxlen=_RATE_FRAMES))
    began_mono: float = field(default_factory=time.monotonic)

    def take_judged(self, judged: Judged) -> None:
        """It inspects."""
        self.state, self.detail, self.judged = CameraState.INSPECTING, "", judged
        self.times.append(judged.arrived_mono_ns)

    def take_preview(self, preview: Preview) -> None:
        """A picture of the frame that was judged last."""
        self.preview, self.previewed = preview, self.judged

    def lost(self, cause: str) -> None:
        """It does not; its last picture and verdict no longer count."""
        self.state, self.detail = CameraState.GONE, cause
        self.judged, self.preview, self.previewed = None, None, None
        self.times.clear()

    def silence_is_noticed(self) -> None:
        """Turn a camera that has gone silent into one that is gone."""
        if self.state is CameraState.INSPECTING and self.age_seconds() > SILENT_SECONDS:
            self.lost(f"No picture for more than {SILENT_SECONDS:g} s")

    def age_seconds(self) -> float:
        """Seconds since the newest judged frame arrived."""
        newest = self.judged.arrived_mono_ns / 1e9 if self.judged is not None else self.began_mono
        return time.monotonic() - newest

    def view(self, seen: int, inspected: int, dropped: int) -> CameraView:
        """As a page shows it."""
        judged = self.judged
        return CameraView(
            name=self.name,
            state=self.state,
            detail=self.detail,
            verdict=None if judged is None else judged.verdict,
            found=() if self.previewed is None else _found(self.previewed),
            preview_verdict=None if self.previewed is None else self.previewed.verdict,
            preview=0 if self.preview is None else self.preview.frame,
            age_seconds=None if judged is None else self.age_seconds(),
            seen=seen,
            inspected=inspected,
            dropped=dropped,
            frames_per_second=self._rate(),
        )

    def _rate(self) -> float:
        if len(self.times) < 2:
            return 0.0
        return round((len(self.times) - 1) / max((self.times[-1] - self.times[0]) / 1e9, 1e-3), 2)


def _found(judged: Judged) -> tuple[FoundView, ...]:
    return tuple(
        FoundView(
            label=d.label,
            confidence=d.confidence,
            x=d.box.x_px / judged.width_px,
            y=d.box.y_px / judged.height_px,
            width=d.box.width_px / judged.width_px,
            height=d.box.height_px / judged.height_px,
        )
        for d in judged.detections
    )
