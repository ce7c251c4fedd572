"""What an inspection of pictures adds up to."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from inference.detection import Detection
from sync.record import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture's verdict. `frame` is its number in a video or stream, None for a picture file."""

    source: str
    frame: int | None
    verdict: Verdict
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or a frame, that gave no picture."""

    source: str
    frame: int | None
    reason: str
    next_step: str = ""


@dataclass
class ClassTally:
    """One defect class: detections, the pictures that hold one, and the surest of them (0 to 1)."""

    count: int = 0
    pictures: int = 0
    max_confidence: float = 0.0


@dataclass
class Tally:
    """All that was judged, and all that could not be."""

    judged: list[Judged] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    classes: dict[str, ClassTally] = field(default_factory=dict)

    def add(self, judged: Judged) -> None:
        """One more picture."""
        self.judged.append(judged)
        self.verdicts[judged.verdict] += 1
        for detection in judged.detections:
            of_class = self.classes.setdefault(detection.label, ClassTally())
            of_class.count += 1
            of_class.max_confidence = max(of_class.max_confidence, detection.confidence)
        for label in {detection.label for detection in judged.detections}:
            self.classes[label].pictures += 1

    def most_frequent(self) -> list[tuple[str, ClassTally]]:
        """The classes, the most frequent first."""
        return sorted(self.classes.items(), key=lambda item: (-item[1].count, item[0]))

    def as_json(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "inspected": len(self.judged),
            "verdicts": {verdict.value: self.verdicts[verdict] for verdict in Verdict},
            "classes": {
                label: {
                    "count": of_class.count,
                    "pictures": of_class.pictures,
                    "max_confidence": round(of_class.max_confidence, 4),
                }
                for label, of_class in self.most_frequent()
            },
            "skipped": [{"source": s.source, "frame": s.frame, "reason": s.reason} for s in self.skipped],
            "pictures": [
                {
                    "source": j.source,
                    "frame": j.frame,
                    "verdict": j.verdict.value,
                    "detections": [_detection_json(detection) for detection in j.detections],
                }
                for j in self.judged
            ],
        }


def _detection_json(detection: Detection) -> dict[str, Any]:
    box = detection.box
    return {
        "label": detection.label,
        "confidence": round(detection.confidence, 4),
        "x_px": round(box.x_px, 1),
        "y_px": round(box.y_px, 1),
        "width_px": round(box.width_px, 1),
        "height_px": round(box.height_px, 1),
    }
