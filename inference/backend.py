"""The seam between the shared pre- and post-processing and whatever runs the network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class BackendError(RuntimeError):
    """The network could not be loaded or run. The message names the file and the next step."""


class Backend(Protocol):
    """A loaded network. Used from one thread.

    Its input is uint8, N x height x width x 3, BGR: scaling and channel order are folded into the first
    convolution when the model is packed. Its output is what the file says: [N, 300, 6] (NMS-free head:
    x1, y1, x2, y2, score, class) or [N, 4 + classes, anchors].
    """

    @property
    def name(self) -> str:
        """What runs it, for the record: "onnxruntime-1.31.1-cpu"."""
        ...

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """N, height, width, 3."""
        ...

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch of `input_shape`. The array returned may be reused by the next call.

        Raises:
            BackendError: if the runtime fails.
        """
        ...
