"""Whether a detector still finds on the golden samples what it found when the package was made."""

from collections.abc import Sequence

import cv2
import numpy as np

from inference.detection import Detection
from inference.detector import Detector
from inference.model_package import GoldenSample, GoldenTolerance, ModelPackage


def golden_differences(package: ModelPackage, detector: Detector) -> list[str]:
    """One sentence per golden sample on which the detector differs by more than the package tolerates.

    Detections below the CHECK threshold and no more than a tolerance above it may come and go; all others
    must be there, of the same class, in the same place.

    Raises:
        BackendError: if the detector fails.
    """
    sure = package.thresholds.check + package.description.golden.confidence
    differences = []
    for sample in package.golden:
        found = detector.detect(decode_jpeg(sample.jpeg)).detections
        difference = _difference(sample, found, package.description.golden, sure)
        if difference:
            differences.append(f"{sample.name}: {difference}")
    return differences


def decode_jpeg(jpeg: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A JPEG's pixels, BGR.

    Raises:
        ValueError: if it is none.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not a picture that OpenCV can decode")
    return np.asarray(image, np.uint8)


def _difference(
    sample: GoldenSample, found: Sequence[Detection], tolerance: GoldenTolerance, sure: float
) -> str:
    for expected in sample.expected:
        if expected.confidence >= sure and not any(_same(expected, other, tolerance) for other in found):
            return f"the {expected.label} of confidence {expected.confidence:.2f} is gone or elsewhere"
    for other in found:
        if other.confidence >= sure and not any(
            _same(other, expected, tolerance) for expected in sample.expected
        ):
            return f"a {other.label} of confidence {other.confidence:.2f} is new or elsewhere"
    return ""


def _same(one: Detection, other: Detection, tolerance: GoldenTolerance) -> bool:
    apart = max(
        abs(one.box.x_px - other.box.x_px),
        abs(one.box.y_px - other.box.y_px),
        abs(one.box.x_px + one.box.width_px - other.box.x_px - other.box.width_px),
        abs(one.box.y_px + one.box.height_px - other.box.y_px - other.box.height_px),
    )
    close = abs(one.confidence - other.confidence) <= tolerance.confidence
    return one.label == other.label and close and apart <= tolerance.box_px
