"""From a picture to detections: letterbox, network, decode. The only path that judges metal."""

import time

import numpy as np
from numpy.typing import NDArray

from inference.backend import BackendError
from inference.backend_onnx import OnnxBackend
from inference.detection import Found
from inference.model_package import ModelPackage
from inference.yolo import Letterbox, decode, layout_of, to_detections

FLOOR = 0.10
"""Detections less sure than this are not handed on; a recipe's thresholds lie above it."""


class Detector:
    """A package's network, loaded and ready. Used from one thread; make one per process.

    Args:
        package: the verified package.
        threads: threads of the network; None for one a core.

    Raises:
        BackendError: if the network cannot be loaded, or does not fit what the package says of it.
    """

    def __init__(self, package: ModelPackage, threads: int | None = None) -> None:
        self._classes = package.classes
        self._source = f"{package.name} {package.version}"
        self._backend = OnnxBackend(package.model, self._source, threads)
        _, height_px, width_px, _ = self._backend.input_shape
        if (height_px, width_px) != package.input_size:
            raise BackendError(
                f"{self._source}: its network takes {height_px} x {width_px}, package.toml says "
                f"{package.input_size[0]} x {package.input_size[1]}: pack it again"
            )
        try:
            self._layout = layout_of(self._backend.output_shape, len(package.classes))
        except ValueError as error:
            raise BackendError(f"{self._source}: {error}") from error
        self._letterbox = Letterbox(height_px, width_px)

    @property
    def engine(self) -> str:
        """What runs the network, for the record: "onnxruntime-1.31.1-cpu"."""
        return self._backend.name

    def warm_up(self) -> None:
        """Run once on a grey picture, so that the first real one is not the slow one.

        Raises:
            BackendError: if the runtime fails.
        """
        _, height_px, width_px, _ = self._backend.input_shape
        self.detect(np.full((height_px, width_px, 3), 128, np.uint8))

    def detect(self, image: NDArray[np.uint8]) -> Found:
        """What is on a picture of height x width x 3, BGR, any size. Boxes are in its pixels.

        Raises:
            BackendError: if the runtime fails or its answer is not to be trusted (NaN, unknown class).
            ValueError: if it is not such a picture.
        """
        started = time.perf_counter()
        placement = self._letterbox.fit(image)
        prepared = time.perf_counter()
        output = self._backend.run(self._letterbox.batch)
        answered = time.perf_counter()
        try:
            rows = decode(output[0], self._layout, FLOOR)
            detections = to_detections(rows, self._classes, placement)
        except ValueError as error:
            raise BackendError(f"{self._source}: {error}. Go back to the previous package") from error
        stage_ms = {
            "prepare": (prepared - started) * 1e3,
            "infer": (answered - prepared) * 1e3,
            "decode": (time.perf_counter() - answered) * 1e3,
        }
        return Found(detections, stage_ms)
