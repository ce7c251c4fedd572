"""Draws the marks on the simulated strip: defects a line must reject, and faint marks that it must not.

A mark is a patch of grey levels to add to the picture. Contrast is stated in 8-bit grey levels of the picture
(the clean strip lies between 105 and 175), sizes in picture pixels of 0.5 mm. The gap between the strongest
harmless mark and the weakest defect of a kind is at least a factor of three: what lies between is a matter of
taste on a real line too, and nobody could say whether rejecting it is right.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Patch = NDArray[np.float32]
Drawn = tuple[Patch, float]
"""Grey levels to add, height x width, and the peak contrast that the mask is cut at a third of."""

DEFECT_LABELS = ("scratch", "pinhole", "stain", "dent", "edge_crack", "streak")
HARMLESS_LABELS = ("faint_scratch", "speck", "faint_stain", "faint_dent", "faint_streak")

_NEUTRAL = (1.0, 1.0, 1.0)
_OILY = (1.25, 1.0, 0.8)
"""Blue, green, red: oil takes more of the blue."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark at its place: `x_px` across, `y_px` along the strip, both of its upper left corner.

    `delta` is int16, height x width x 3 (BGR), added to the picture; `mask` says which pixels belong to it.
    """

    label: str
    mark_id: int
    x_px: int
    y_px: int
    delta: NDArray[np.int16]
    mask: NDArray[np.bool_]

    @property
    def height_px(self) -> int:
        """Rows of the patch, a few more than the mark itself has."""
        return int(self.mask.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the patch, a few more than the mark itself has."""
        return int(self.mask.shape[1])


def draw(label: str, rng: np.random.Generator) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Draw one mark: its delta (height x width x 3) and its mask, a little smaller than the patch is.

    `edge_crack` opens to the left, its mouth at column 0; mirror it for the right edge.
    """
    patch, peak = _DRAWINGS[label](rng)
    mask = np.abs(patch) >= peak / 3
    tint = np.array(_OILY if label.endswith("stain") else _NEUTRAL, np.float32)
    delta = np.rint(patch[:, :, None] * tint).astype(np.int16)
    return delta, mask


def _scratch(rng: np.random.Generator, contrast: float, longest_px: int) -> Drawn:
    """A thin line within 20 degrees of the rolling direction, a little wavy, fading at its ends."""
    length = rng.uniform(120, longest_px)
    slope = np.tan(np.radians(rng.uniform(-20, 20)))
    along = np.linspace(0, 1, 40)
    rows = 8 + along * length
    wave = rng.uniform(0, 5) * np.sin(along * rng.uniform(2, 7) + rng.uniform(0, 6))
    columns = along * length * slope + wave
    columns += 10 - columns.min()
    patch = np.zeros((int(length) + 17, int(columns.max()) + 11), np.float32)
    points = np.rint(np.stack([columns, rows], axis=1) * 8).astype(np.int32)
    cv2.polylines(patch, [points], False, 1.0, int(rng.integers(2, 5)), cv2.LINE_AA, 3)  # noqa: FBT003 - OpenCV
    strength = np.interp(np.arange(patch.shape[0]), [8, 24, length - 8, length + 8], [0.5, 1, 1, 0.5])
    line = cv2.GaussianBlur(patch, (3, 3), 0.6) * contrast * strength[:, None]
    return line.astype(np.float32), contrast * 0.8


def _pinhole(rng: np.random.Generator) -> Drawn:
    """A hole that shows the dark behind the strip, with a thin bright burr. At least 8 x 8 px."""
    contrast = rng.uniform(80, 125)
    radius = rng.uniform(5, 12)
    distance = _ellipse_distance(rng, radius, radius * rng.uniform(0.85, 1.0), pad_px=6)
    hole = np.clip((1 - distance) * radius + 0.5, 0, 1)
    burr = np.exp(-(((distance - 1) * radius - 1.5) ** 2)) * rng.uniform(5, 22)
    return (burr * (1 - hole) - contrast * hole).astype(np.float32), contrast


def _speck(rng: np.random.Generator) -> Drawn:
    """A dust grain: dark like a pinhole, never over 4 px."""
    contrast = rng.uniform(40, 100)
    distance = _ellipse_distance(rng, rng.uniform(1.0, 2.0), rng.uniform(0.8, 1.5), pad_px=2)
    return (-contrast * np.clip(1.5 - distance, 0, 1)).astype(np.float32), contrast * 0.7


def _stain(rng: np.random.Generator, contrast: float) -> Drawn:
    """Dried oil or water: an irregular dark blob with a soft outline and a darker rim."""
    size = int(rng.uniform(50, 200))
    canvas = np.zeros((size + 40, size + 40), np.float32)
    for _ in range(5):
        centre = rng.uniform(20 + size * 0.3, 20 + size * 0.7, 2)
        axes = rng.uniform(size * 0.14, size * 0.3, 2)
        angle = rng.uniform(0, 180)
        cv2.ellipse(canvas, (tuple(centre), tuple(axes * 2), angle), 1.0, -1)
    soft = cv2.GaussianBlur(canvas, (0, 0), max(2.0, size / 30))
    rim = 4 * soft * (1 - soft)
    return -np.float32(contrast) * (0.8 * soft + 0.35 * rim), contrast


def _dent(rng: np.random.Generator, contrast: float) -> Drawn:
    """A dent under oblique light: bright on one flank, dark on the other."""
    radius = rng.uniform(14, 45)
    distance = _ellipse_distance(rng, radius, radius * rng.uniform(0.6, 1.0), pad_px=10)
    height, width = distance.shape
    light = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    flank = ((x - width / 2) * np.cos(light) + (y - height / 2) * np.sin(light)) / radius
    return np.float32(contrast * 2.0) * flank * np.exp(-1.8 * distance**2).astype(np.float32), contrast * 0.75


def _edge_crack(rng: np.random.Generator) -> Drawn:
    """A tear from the edge inwards, 10 to 35 mm deep, jagged and tapering; its mouth is column 0."""
    contrast = rng.uniform(95, 125)
    depth, mouth = rng.uniform(20, 70), rng.uniform(8, 26)
    patch = np.zeros((int(mouth * 3) + 30, int(depth) + 8), np.float32)
    middle = patch.shape[0] / 2
    along = np.linspace(0, 1, 7)
    centre = middle + np.cumsum(rng.normal(0, depth / 22, 7))
    half = np.maximum(mouth / 2 * (1 - along) ** 0.7, 1.2) * rng.uniform(0.8, 1.2, 7)
    upper, lower = (np.stack([along * depth, centre + s * half], axis=1) for s in (-1, 1))
    outline = np.rint(np.concatenate([upper, lower[::-1]]) * 8).astype(np.int32)
    cv2.fillPoly(patch, [outline], 1.0, cv2.LINE_AA, 3)
    return -np.float32(contrast) * patch, contrast


def _streak(rng: np.random.Generator, contrast: float) -> Drawn:
    """A rolled-in band exactly along the rolling direction, 150 to 300 mm long, fading at both ends."""
    length, width = int(rng.uniform(300, 600)), rng.uniform(8, 26)
    across = np.arange(int(width) + 12, dtype=np.float32) - (int(width) + 12) / 2
    profile = np.clip(1.5 - np.abs(across) / (width / 2) * 1.0, 0, 1) ** 1.5
    ends = np.clip(np.minimum(np.arange(length), np.arange(length)[::-1]) / 40, 0, 1)
    sign = rng.choice([-1.0, 1.0], p=[0.6, 0.4])
    return np.float32(sign * contrast) * ends[:, None].astype(np.float32) * profile, contrast


def _ellipse_distance(rng: np.random.Generator, a_px: float, b_px: float, pad_px: int) -> Patch:
    """Distance from an ellipse's centre in its own radii (1 on the outline), on a canvas that holds it."""
    half = int(np.ceil(max(a_px, b_px) * 1.6)) + pad_px
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(np.hypot(along / a_px, across / b_px), np.float32)


def _either_sign(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice([-1.0, 1.0], p=[0.35, 0.65]))


def _signed(drawn: Drawn) -> Drawn:
    return drawn[0], abs(drawn[1])


_DRAWINGS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "scratch": lambda rng: _signed(_scratch(rng, _either_sign(rng, 32, 75), 590)),
    "pinhole": _pinhole,
    "stain": lambda rng: _stain(rng, rng.uniform(24, 48)),
    "dent": lambda rng: _dent(rng, rng.uniform(30, 60)),
    "edge_crack": _edge_crack,
    "streak": lambda rng: _streak(rng, rng.uniform(16, 30)),
    "faint_scratch": lambda rng: _signed(_scratch(rng, _either_sign(rng, 5, 10), 400)),
    "speck": _speck,
    "faint_stain": lambda rng: _stain(rng, rng.uniform(3, 7)),
    "faint_dent": lambda rng: _dent(rng, rng.uniform(4, 9)),
    "faint_streak": lambda rng: _streak(rng, rng.uniform(2, 5)),
}
