"""What a camera yields."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Height x width x 3, BGR, C-contiguous, as OpenCV decodes it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    `number` is the camera's own frame number where it gives one (then a gap in it is a frame lost on the
    way), else a count from 1 since the camera was opened. `captured_wall_ns` is the camera's time stamp in
    nanoseconds since 1970 UTC where it gives one, else this box's when the frame arrived; `arrived_mono_ns`
    is the kernel's monotonic clock when the frame was decoded, the start of every published latency.
    """

    camera: str
    number: int
    image: Image
    captured_wall_ns: int
    arrived_mono_ns: int
