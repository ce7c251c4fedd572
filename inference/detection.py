"""What the detector finds, and what the box makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original image; x and y are its upper left corner."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One defect: a class name of the model, a confidence from 0 to 1, and where."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Found:
    """What one picture gave: detections, best first, and how long each stage took, in milliseconds.

    Stages: `prepare` (letterbox), `infer` (the network), `decode` (its output to detections).
    """

    detections: tuple[Detection, ...]
    stage_ms: Mapping[str, float]
