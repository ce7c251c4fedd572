"""Escapes and false rejects: what a detector is judged by, on whole frames in a row.

A defect is found if, in any frame that shows it, a detection sure enough for CHECK lies on it: intersection
over union of at least 0.1, or its centre inside the defect's box. The class does not matter, for the strip is
stopped either way. One that is whole in none of the frames is not asked for. A false reject is a frame that
shows no defect and yet has a detection sure enough for CHECK.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.detection import Box, Detection
from inference.detector import Detector
from inference.golden import decode_jpeg

SAME_PLACE = 0.1


@dataclass(frozen=True, slots=True)
class Truth:
    """A defect in a frame. `whole`: all of it is in view."""

    defect: str
    label: str
    box: Box
    whole: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A frame, what it shows, and what the detector found on it."""

    frame: str
    truth: tuple[Truth, ...]
    found: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What came of a stretch of frames at one threshold."""

    frames: int
    defects: int
    escaped: tuple[str, ...]
    clean_frames: int
    false_rejects: tuple[str, ...]
    recall: dict[str, float]

    @property
    def escape_rate(self) -> float:
        """Escaped defects of all defects."""
        return len(self.escaped) / max(self.defects, 1)

    @property
    def false_reject_rate(self) -> float:
        """Clean frames rejected of all clean frames."""
        return len(self.false_rejects) / max(self.clean_frames, 1)


def judge(folder: Path, detector: Detector) -> list[Judged]:
    """Run the detector over a folder of frames with a `truth.json`, in order."""
    return [
        Judged(name, truth, detector.detect(decode_jpeg((folder / name).read_bytes())).detections)
        for name, truth in _truth(folder)
    ]


def score(judged: Sequence[Judged], check: float) -> Score:
    """Count escapes and false rejects where detections of at least `check` count."""
    labels: dict[str, str] = {}
    found: set[str] = set()
    false_rejects: list[str] = []
    clean = 0
    for frame in judged:
        sure = [d.box for d in frame.found if d.confidence >= check]
        labels |= {t.defect: t.label for t in frame.truth if t.whole}
        found |= {t.defect for t in frame.truth if any(_lies_on(box, t.box) for box in sure)}
        clean += not frame.truth
        if sure and not frame.truth:
            false_rejects.append(frame.frame)
    of_label, found_of_label = Counter(labels.values()), Counter(labels[d] for d in found & labels.keys())
    recall = {label: round(found_of_label[label] / count, 4) for label, count in sorted(of_label.items())}
    escaped = tuple(f"{labels[d]} {d}" for d in sorted(labels.keys() - found))
    return Score(len(judged), len(labels), escaped, clean, tuple(false_rejects), recall)


def _truth(folder: Path) -> Iterator[tuple[str, tuple[Truth, ...]]]:
    for name, rows in sorted(json.loads((folder / "truth.json").read_text()).items()):
        yield (
            name,
            tuple(
                Truth(
                    row["defect_id"],
                    row["label"],
                    Box(row["x_px"], row["y_px"], row["width_px"], row["height_px"]),
                    row["whole"],
                )
                for row in rows
            ),
        )


def _lies_on(found: Box, truth: Box) -> bool:
    centre_x, centre_y = found.x_px + found.width_px / 2, found.y_px + found.height_px / 2
    across = truth.x_px <= centre_x <= truth.x_px + truth.width_px
    along = truth.y_px <= centre_y <= truth.y_px + truth.height_px
    return (across and along) or _overlap(found, truth) >= SAME_PLACE


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x_px + one.width_px, other.x_px + other.width_px) - max(one.x_px, other.x_px)
    height = min(one.y_px + one.height_px, other.y_px + other.height_px) - max(one.y_px, other.y_px)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (one.width_px * one.height_px + other.width_px * other.height_px - shared)
