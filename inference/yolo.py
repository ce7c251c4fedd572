"""The pixels' way in and the network's answer's way out, shared by every back end.

In: letterbox into a kept uint8 buffer (0.2 ms for 1280 x 1024 to 640 x 512). Out: both layouts that YOLO
exports have. Which one a file gives is read from its output's shape, never from a name:

- [N, 300, 6]: x1, y1, x2, y2, score, class per row; the head has suppressed doubles itself;
- [N, 4 + classes, anchors]: centre x, centre y, width, height, then one score per class; doubles are ours to
  suppress, class by class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.detection import Box, Detection

PAD_GREY = 114
"""What fills the margins; the value YOLO is trained with."""
MAX_DETECTIONS = 300

Rows = NDArray[np.float32]
"""K x 6: x1, y1, x2, y2 in pixels of the network's input, score, class; best first."""


class Layout(StrEnum):
    """What a network's output holds."""

    END_TO_END = "end-to-end"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture of `width_px` x `height_px` lies in the network's input."""

    scale: float
    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def to_picture(self, x1: float, y1: float, x2: float, y2: float) -> Box:
        """Corners in the network's input as a box in the picture, cut at the picture's rim."""
        left, right = (min(max((x - self.left_px) / self.scale, 0.0), self.width_px) for x in (x1, x2))
        top, bottom = (min(max((y - self.top_px) / self.scale, 0.0), self.height_px) for y in (y1, y2))
        return Box(left, top, right - left, bottom - top)


class Letterbox:
    """Fits pictures into one kept buffer, `batch`: uint8, 1 x height x width x 3, grey margins around.

    A picture of half the scale's exact size leaves no margin. The buffer is overwritten by each call.
    """

    def __init__(self, height_px: int, width_px: int) -> None:
        self.batch: NDArray[np.uint8] = np.full((1, height_px, width_px, 3), PAD_GREY, np.uint8)
        self._last: Placement | None = None

    def fit(self, image: NDArray[np.uint8]) -> Placement:
        """Scale a height x width x 3 picture into the buffer, keeping its aspect, and centre it.

        Raises:
            ValueError: if the picture is not uint8 with three channels, or is empty.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(
                f"a picture is height x width x 3 of uint8, this is {image.shape} of {image.dtype}: "
                "convert it to 8-bit BGR first"
            )
        placement = _placement(image.shape[1], image.shape[0], self.batch.shape[2], self.batch.shape[1])
        canvas = self.batch[0]
        if self._last != placement:  # another picture size: the old one may show in the margins
            canvas[:] = PAD_GREY
            self._last = placement
        width = _scaled(placement.width_px, placement.scale)
        height = _scaled(placement.height_px, placement.scale)
        view = canvas[
            placement.top_px : placement.top_px + height, placement.left_px : placement.left_px + width
        ]
        cv2.resize(image, (width, height), dst=view, interpolation=cv2.INTER_LINEAR)
        return placement


def layout_of(shape: Sequence[int], class_count: int) -> Layout:
    """Tell the layout from an output's shape, [N, a, b].

    Raises:
        ValueError: if it is neither.
    """
    if len(shape) == 3 and shape[1] == 4 + class_count:
        return Layout.RAW
    if len(shape) == 3 and shape[2] == 6:
        return Layout.END_TO_END
    raise ValueError(
        f"an output of {list(shape)} is neither [N, {4 + class_count}, anchors] nor [N, 300, 6] for "
        f"{class_count} classes: export the model without embedded NMS, or correct the package's classes"
    )


def decode(output: NDArray[np.float32], layout: Layout, floor: float, overlap: float = 0.5) -> Rows:
    """One picture's output (a x b) as rows, best first, none below `floor`, at most 300.

    In the raw layout, of two boxes of one class that overlap by more than `overlap` (intersection over
    union) only the better stays.

    Raises:
        ValueError: if the output holds NaN or infinity.
    """
    if not np.isfinite(output).all():
        raise ValueError("the network's output holds NaN or infinity, so nothing it says can be trusted")
    if layout is Layout.END_TO_END:
        rows = output[output[:, 4] >= floor]
        return rows[np.argsort(-rows[:, 4], kind="stable")][:MAX_DETECTIONS]
    return _suppress(_candidates(output, floor), overlap)


def to_detections(rows: Rows, classes: Sequence[str], placement: Placement) -> tuple[Detection, ...]:
    """Rows as detections in pixels of the picture. Boxes that lie wholly in the margin are dropped.

    Raises:
        ValueError: if a row names a class that the package does not.
    """
    found = []
    for x1, y1, x2, y2, score, number in rows.tolist():
        if not 0 <= number < len(classes):
            raise ValueError(
                f"the network found class {number:.0f}, the package names {len(classes)} classes"
            )
        box = placement.to_picture(x1, y1, x2, y2)
        if box.width_px > 0 and box.height_px > 0:
            found.append(Detection(classes[int(number)], min(max(score, 0.0), 1.0), box))
    return tuple(found)


def _placement(width_px: int, height_px: int, room_width: int, room_height: int) -> Placement:
    scale = min(room_width / width_px, room_height / height_px)
    left = (room_width - _scaled(width_px, scale)) // 2
    top = (room_height - _scaled(height_px, scale)) // 2
    return Placement(scale, left, top, width_px, height_px)


def _scaled(length_px: int, scale: float) -> int:
    return max(1, round(length_px * scale))


def _candidates(output: NDArray[np.float32], floor: float) -> Rows:
    """Anchors whose best class reaches the floor, as rows, best first; doubles still in."""
    scores = output[4:]
    best = scores.max(axis=0)
    at = np.flatnonzero(best >= floor)
    at = at[np.argsort(-best[at], kind="stable")][: 4 * MAX_DETECTIONS]
    centre_x, centre_y, width, height = output[:4, at]
    rows = np.stack(
        [
            centre_x - width / 2,
            centre_y - height / 2,
            centre_x + width / 2,
            centre_y + height / 2,
            best[at],
            scores[:, at].argmax(axis=0),
        ],
        axis=1,
    )
    return np.asarray(rows, np.float32)


def _suppress(rows: Rows, overlap: float) -> Rows:
    """Greedy, class by class: keep the best, drop what overlaps it, go on with the next."""
    kept: list[NDArray[np.float32]] = []
    while len(rows) and len(kept) < MAX_DETECTIONS:
        best, rest = rows[0], rows[1:]
        kept.append(best)
        rows = rest[(rest[:, 5] != best[5]) | (_overlap(best, rest) <= overlap)]
    return np.stack(kept) if kept else np.empty((0, 6), np.float32)


def _overlap(one: NDArray[np.float32], many: Rows) -> NDArray[np.float32]:
    """Intersection over union of one row's box with each of many."""
    width = np.minimum(one[2], many[:, 2]) - np.maximum(one[0], many[:, 0])
    height = np.minimum(one[3], many[:, 3]) - np.maximum(one[1], many[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    union = (one[2] - one[0]) * (one[3] - one[1]) + areas - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)
