"""An endless simulated aluminium strip under a 1280 x 1024 camera, with the truth about every defect on it.

Everything follows from the seed by counter-based random numbers (Philox keyed by seed, purpose and index), so
any stretch can be had in any order, in any process, and is always the same. The strip runs along image y:
frame k shows it from k * 170 mm on, 512 mm long; it is 560 mm wide and both edges are in view.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Image
from drivers.simulated.marks import DEFECT_LABELS, HARMLESS_LABELS, Mark, draw

HEIGHT_PX, WIDTH_PX = 1024, 1280
MM_PER_PX = 0.5
FRAME_PITCH_MM = 170
STRIP_WIDTH_MM = 560

_PITCH_PX = int(FRAME_PITCH_MM / MM_PER_PX)
_SEGMENT_PX = 2400
"""Marks are drawn segment by segment; each lies wholly within its own 1.2 m."""
_TEXTURE_ROWS, _BAND_ROWS = 4096, 5000
"""The texture and the bands repeat after so many rows; together after 1280 m."""
_LEFT_PX, _RIGHT_PX = 80, 1200
_BEHIND_GREY, _STRIP_GREY = 16, 150
_EDGE_CLEARANCE_PX = 24
_TEXTURE, _EDGES, _BANDS, _LIGHT, _NOISE, _FRAME, _DEFECTS, _HARMLESS = range(8)
_HOW_MANY = {
    _DEFECTS: (DEFECT_LABELS, [0.15, 0.65, 0.2]),
    _HARMLESS: (HARMLESS_LABELS, [0.2, 0.2, 0.2, 0.2, 0.2]),
}
"""What is drawn in a segment, and the chances of 0, 1, 2, ... of it."""


@dataclass(frozen=True, slots=True)
class TruthBox:
    """Where a mark is on a picture, in its pixels. `whole`: nothing of it is cut off by the picture's rim."""

    label: str
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    defect_id: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect on the strip: where it begins and ends along it, in millimetres from the strip's start."""

    label: str
    defect_id: int
    first_mm: float
    last_mm: float
    across_mm: float


class Strip:
    """The strip of one seed. Making one takes about half a second and 25 MB: its texture is drawn once."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._edges = _edges(seed)
        self._texture = _texture(seed, self._edges)
        self._bands = _bands(seed)
        self._light = _light(seed)
        self._noise = _noise(seed)
        self._marks_of = lru_cache(maxsize=16)(self._draw_segment)

    def picture(self, frame_number: int) -> Image:
        """The picture of one frame: 1024 x 1280 x 3, BGR, a new array each time. Frame numbers start at 0."""
        first_row = frame_number * _PITCH_PX
        texture = self._texture[first_row % _TEXTURE_ROWS :][:HEIGHT_PX]
        bands = self._bands[first_row % _BAND_ROWS :][:HEIGHT_PX]
        rng = _rng(self.seed, _FRAME, frame_number)
        grey = cv2.addWeighted(texture, 1, bands, 1, -128)
        cv2.multiply(grey, self._light, dst=grey, scale=rng.uniform(0.985, 1.015) / 200)
        row, column = rng.integers(0, 256, 2)
        noise = self._noise[row : row + HEIGHT_PX, column : column + WIDTH_PX]
        cv2.addWeighted(grey, 1, noise, 1, -128, dst=grey)
        picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
        for mark in self._in_view(frame_number, _HARMLESS) + self._in_view(frame_number, _DEFECTS):
            _add(picture, mark, first_row)
        return picture

    def truth(self, frame_number: int) -> list[TruthBox]:
        """Every defect of which at least one pixel is in the picture, along the strip."""
        boxes = [_box(mark, frame_number * _PITCH_PX) for mark in self._in_view(frame_number, _DEFECTS)]
        return [box for box in boxes if box is not None]

    def look_alikes(self, frame_number: int) -> list[TruthBox]:
        """The harmless marks in the picture: below the reject level, so no line should stop for them."""
        boxes = [_box(mark, frame_number * _PITCH_PX) for mark in self._in_view(frame_number, _HARMLESS)]
        return [box for box in boxes if box is not None]

    def defects(self, first_mm: float, last_mm: float) -> list[Defect]:
        """The defects that lie, in part or whole, between two positions, in order."""
        marks = self._between(int(first_mm / MM_PER_PX), int(np.ceil(last_mm / MM_PER_PX)), _DEFECTS)
        return [
            Defect(
                mark.label,
                mark.mark_id,
                mark.y_px * MM_PER_PX,
                (mark.y_px + mark.height_px) * MM_PER_PX,
                (mark.x_px + mark.width_px / 2 - _LEFT_PX) * MM_PER_PX,
            )
            for mark in marks
        ]

    def _in_view(self, frame_number: int, purpose: int) -> list[Mark]:
        first_row = frame_number * _PITCH_PX
        return self._between(first_row, first_row + HEIGHT_PX, purpose)

    def _between(self, first_row: int, last_row: int, purpose: int) -> list[Mark]:
        segments = range(max(first_row, 0) // _SEGMENT_PX, (last_row - 1) // _SEGMENT_PX + 1)
        marks = [mark for index in segments for mark in self._marks_of(index, purpose)]
        return [m for m in marks if m.y_px < last_row and m.y_px + m.height_px > first_row]

    def _draw_segment(self, index: int, purpose: int) -> tuple[Mark, ...]:
        """The marks of one segment along the strip: one defect on average, or two harmless marks."""
        rng = _rng(self.seed, purpose, index)
        labels, chances = _HOW_MANY[purpose]
        count = int(rng.choice(len(chances), p=chances))
        marks: list[Mark] = []
        for number in range(count):
            mark = self._place(rng, str(rng.choice(labels)), index, number)
            if all(_apart(mark, other) for other in marks):
                marks.append(mark)
        return tuple(sorted(marks, key=lambda mark: mark.y_px))

    def _place(self, rng: np.random.Generator, label: str, index: int, number: int) -> Mark:
        delta, mask = draw(label, rng)
        height, width = mask.shape
        y_px = index * _SEGMENT_PX + int(rng.integers(0, _SEGMENT_PX - height))
        if label != "edge_crack":
            x_px = int(rng.integers(_LEFT_PX + _EDGE_CLEARANCE_PX, _RIGHT_PX - _EDGE_CLEARANCE_PX - width))
            return Mark(label, index * 10 + number, x_px, y_px, delta, mask)
        mirrored = bool(rng.random() < 0.5)
        left, right = self._edges[(y_px + height // 2) % _TEXTURE_ROWS]
        if mirrored:
            delta, mask = np.ascontiguousarray(delta[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
        x_px = int(np.floor(right)) - width + 1 if mirrored else int(np.ceil(left)) - 1
        return Mark(label, index * 10 + number, x_px, y_px, delta, mask)


def _rng(seed: int, purpose: int, index: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, purpose, index))))


def _apart(mark: Mark, other: Mark) -> bool:
    """Whether two marks keep 100 mm between them along the strip, so that each is a question of its own."""
    gap_px = 200
    return (
        mark.y_px > other.y_px + other.height_px + gap_px or other.y_px > mark.y_px + mark.height_px + gap_px
    )


def _add(picture: Image, mark: Mark, first_row: int) -> None:
    top = mark.y_px - first_row
    start, stop = max(top, 0), min(top + mark.height_px, HEIGHT_PX)
    view = picture[start:stop, mark.x_px : mark.x_px + mark.width_px]
    view[:] = cv2.add(view, mark.delta[start - top : stop - top], dtype=cv2.CV_8U)


def _box(mark: Mark, first_row: int) -> TruthBox | None:
    top = mark.y_px - first_row
    start, stop = max(top, 0), min(top + mark.height_px, HEIGHT_PX)
    seen = mark.mask[start - top : stop - top]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return None
    return TruthBox(
        label=mark.label,
        x_px=mark.x_px + int(columns[0]),
        y_px=start + int(rows[0]),
        width_px=int(columns[-1] - columns[0] + 1),
        height_px=int(rows[-1] - rows[0] + 1),
        defect_id=mark.mark_id,
        whole=int(rows.size) == int(mark.mask.any(axis=1).sum()),
    )


def _edges(seed: int) -> NDArray[np.float32]:
    """Column of the left and right edge per texture row: the strip weaves by 3 px, each edge ripples by 1."""
    rng = _rng(seed, _EDGES)
    turns = np.arange(_TEXTURE_ROWS)[:, None] / _TEXTURE_ROWS * 2 * np.pi
    weave = 3 * np.sin(turns + rng.uniform(0, 6))
    ripple = sum(0.5 * np.sin(turns * int(rng.integers(5, 60)) + rng.uniform(0, 6, 2)) for _ in range(4))
    return np.asarray(np.array([_LEFT_PX, _RIGHT_PX]) + weave + ripple, np.float32)


def _texture(seed: int, edges: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The clean strip over the dark behind it, 4096 + 1024 rows: the first 1024 again at the end."""
    noise = _rng(seed, _TEXTURE).standard_normal((_TEXTURE_ROWS, WIDTH_PX), np.float32)
    strip = np.full_like(noise, _STRIP_GREY)
    for rows, columns, levels in ((25, 1, 3.0), (181, 1, 3.0), (901, 3, 2.0)):
        strip += _blurred_around(noise, rows, columns) * levels
    x = np.arange(WIDTH_PX, dtype=np.float32)
    inside = np.minimum(x - edges[:, :1], edges[:, 1:] - x)
    strip += 24 * np.exp(-np.abs(inside) / 2.5)  # the sheared edge catches the light
    cover = np.clip(inside + 0.5, 0, 1)
    picture = _BEHIND_GREY + (strip - _BEHIND_GREY) * cover
    tile = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return np.concatenate([tile, tile[:HEIGHT_PX]])


def _blurred_around(noise: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Noise drawn out along the rolling direction, of unit variance, seamless where the tile repeats."""
    padded = np.concatenate([noise[-rows:], noise, noise[:rows]])
    blurred = cv2.blur(padded, (columns, rows))[rows:-rows]
    return np.asarray(blurred * np.sqrt(rows * columns), np.float32)


def _bands(seed: int) -> NDArray[np.uint8]:
    """Broad bands along the strip of at most 5 levels, coming and going: rolled, sound, and no defect."""
    rng = _rng(seed, _BANDS)
    coarse = rng.standard_normal((_BAND_ROWS // 250, WIDTH_PX // 20)).astype(np.float32)
    wrapped = np.concatenate([coarse, coarse[: HEIGHT_PX // 250 + 1]])
    fine = cv2.resize(wrapped, (WIDTH_PX, len(wrapped) * 250), interpolation=cv2.INTER_LINEAR)
    levels = np.clip(cv2.GaussianBlur(fine, (0, 0), 12) * 3.0, -5, 5)
    levels[:, : _LEFT_PX + 8] = levels[:, _RIGHT_PX - 8 :] = 0
    return np.asarray(np.rint(levels[: _BAND_ROWS + HEIGHT_PX] + 128), np.uint8)


def _light(seed: int) -> NDArray[np.uint8]:
    """The lamp as the camera sees it, 200 for full light: falls off to the sides and along the field."""
    rng = _rng(seed, _LIGHT)
    x, y = np.linspace(-1, 1, WIDTH_PX)[None, :], np.linspace(-1, 1, HEIGHT_PX)[:, None]
    fall = 1 - rng.uniform(0.05, 0.18) * (x - rng.uniform(-0.3, 0.3)) ** 2
    return np.asarray(np.rint(200 * fall * (1 - rng.uniform(-0.08, 0.08) * y)), np.uint8)


def _noise(seed: int) -> NDArray[np.uint8]:
    """Sensor noise of 2.5 levels around 128; each frame takes another cut-out of it."""
    grain = _rng(seed, _NOISE).standard_normal((HEIGHT_PX + 256, WIDTH_PX + 256), np.float32)
    return np.asarray(np.clip(np.rint(grain * 2.5 + 128), 0, 255), np.uint8)
