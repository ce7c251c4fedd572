"""What a demo achieved, judged from the records that the receiver holds and from what the generator knows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.simulated.strip import Strip, TruthBox
from sync.record import Record


@dataclass(frozen=True, slots=True)
class Truth:
    """The box's verdicts against the generator: defects once wholly in view, and defect-free frames."""

    defects: int
    escapes: int
    clean_frames: int
    false_rejects: int
    escaped: Mapping[str, int]
    """Escapes by class."""


@dataclass(frozen=True, slots=True)
class Frames:
    """What the camera gave: seen = inspected + dropped."""

    seen: int
    inspected: int
    dropped: int


def frames(records: Iterable[Record]) -> Frames:
    """Summed over the coverage records."""
    seen = inspected = dropped = 0
    for record in records:
        if record.kind == "coverage":
            seen += record.body["seen"]
            inspected += record.body["inspected"]
            dropped += sum(record.body["dropped"].values())
    return Frames(seen, inspected, dropped)


def verdicts(records: Iterable[Record]) -> dict[str, int]:
    """How often each verdict was given, from the coverage records."""
    total = Counter({"OK": 0, "NG": 0, "CHECK": 0})
    for record in records:
        if record.kind == "coverage":
            total.update(record.body["verdicts"])
    return dict(total)


def inspected_frames(records: Iterable[Record]) -> list[int]:
    """The camera's numbers of the frames that were judged, by the coverage's first, last and missed."""
    numbers: set[int] = set()
    missed: set[int] = set()
    for record in records:
        if record.kind != "coverage":
            continue
        first, last = record.body["first_frame"], record.body["last_frame"]
        if first is not None:
            numbers.update(range(first, last + 1))
        for run_first, run_last in record.body["missed_frames"]:
            missed.update(range(run_first, run_last + 1))
    return sorted(numbers - missed)


def against_truth(records: Sequence[Record], strip: Strip) -> Truth:
    """Compare every inspected frame with what the generator drew.

    A defect counts when it was wholly in view of the camera between the first and the last inspected frame,
    inspected or dropped; it is found when an NG or CHECK frame has a detection on it.
    """
    inspected = inspected_frames(records)
    if not inspected:
        return Truth(0, 0, 0, 0, {})
    rejected = {r.body["frame"]: r.body["detections"] for r in records if r.kind == "inspection"}
    truth = {number: strip.truth(number) for number in range(inspected[0], inspected[-1] + 1)}
    label_of = {box.defect_id: box.label for boxes in truth.values() for box in boxes if box.whole}
    found = {
        box.defect_id
        for number, detections in rejected.items()
        for box in truth.get(number, ())
        if any(_touches(detection, box) for detection in detections)
    }
    escaped = label_of.keys() - found
    clean = [number for number in inspected if not truth[number]]
    return Truth(
        defects=len(label_of),
        escapes=len(escaped),
        clean_frames=len(clean),
        false_rejects=sum(number in rejected for number in clean),
        escaped=dict(Counter(label_of[defect_id] for defect_id in escaped)),
    )


def _touches(detection: Mapping[str, Any], box: TruthBox) -> bool:
    """Whether the detection's centre lies on the defect, or they overlap by a tenth of their union."""
    left, top = detection["x_px"], detection["y_px"]
    right, bottom = left + detection["width_px"], top + detection["height_px"]
    box_right, box_bottom = box.x_px + box.width_px, box.y_px + box.height_px
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    if box.x_px <= centre_x <= box_right and box.y_px <= centre_y <= box_bottom:
        return True
    width = min(right, box_right) - max(left, box.x_px)
    height = min(bottom, box_bottom) - max(top, box.y_px)
    if width <= 0 or height <= 0:
        return False
    union = (right - left) * (bottom - top) + box.width_px * box.height_px - width * height
    return bool(width * height / union >= 0.1)
