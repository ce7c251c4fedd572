"""A defect's picture, small: the part of the evidence around it, with its boxes drawn."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ui.backend import MarkView

WIDTH_PX, HEIGHT_PX = 288, 216
"""Twice the size at which a card shows it, for displays with two pixels a point."""

_CONTEXT = 2.2
"""How much wider than the defect the part is; less leaves nothing to recognise the place by."""

_LEAST_WIDTH_PX = 160
_QUALITY = 85


def marked_thumbnail(jpeg: bytes, marks: Sequence[MarkView]) -> bytes | None:
    """A JPEG of WIDTH_PX by HEIGHT_PX around the surest mark; None if the evidence cannot be decoded."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if image is None:
        return None
    left, top, width, height = _part(image.shape[1], image.shape[0], marks)
    part = image[top : top + height, left : left + width]
    scale = WIDTH_PX / width
    small: npt.NDArray[Any] = cv2.resize(
        part, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    for mark in marks:
        _draw(small, mark, left, top, scale)
    done, encoded = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    return encoded.tobytes() if done else None


def _part(image_width: int, image_height: int, marks: Sequence[MarkView]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the part to show, in the proportions of the thumbnail."""
    whole_width = min(image_width, image_height * WIDTH_PX // HEIGHT_PX)
    if not marks:
        width, centre_x, centre_y = whole_width, image_width / 2, image_height / 2
    else:
        surest = max(marks, key=lambda mark: mark.confidence)
        wanted = _CONTEXT * max(surest.width_px, surest.height_px * WIDTH_PX / HEIGHT_PX)
        width = int(min(max(wanted, _LEAST_WIDTH_PX), whole_width))
        centre_x, centre_y = surest.x_px + surest.width_px / 2, surest.y_px + surest.height_px / 2
    height = max(width * HEIGHT_PX // WIDTH_PX, 1)
    left = int(min(max(centre_x - width / 2, 0), image_width - width))
    top = int(min(max(centre_y - height / 2, 0), image_height - height))
    return left, top, width, height


def _draw(image: npt.NDArray[Any], mark: MarkView, left: int, top: int, scale: float) -> None:
    """A bright box with a dark edge: seen on bright and on dark metal alike."""
    first = (round((mark.x_px - left) * scale), round((mark.y_px - top) * scale))
    last = (
        round((mark.x_px + mark.width_px - left) * scale),
        round((mark.y_px + mark.height_px - top) * scale),
    )
    cv2.rectangle(image, first, last, (0, 0, 0), 6, cv2.LINE_AA)
    cv2.rectangle(image, first, last, (0, 214, 255), 2, cv2.LINE_AA)
