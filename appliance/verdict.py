"""From detections to OK, NG or CHECK, by the recipe."""

from collections.abc import Iterable

from appliance.config import Recipe
from inference.detection import Detection
from sync.record import Verdict


def judge(detections: Iterable[Detection], recipe: Recipe) -> Verdict:
    """NG if any detection reaches its class's `ng`, else CHECK if any reaches `check`, else OK."""
    verdict = Verdict.OK
    for detection in detections:
        thresholds = recipe.classes.get(detection.label, recipe)
        if detection.confidence >= thresholds.ng:
            return Verdict.NG
        if detection.confidence >= thresholds.check:
            verdict = Verdict.CHECK
    return verdict


def worth_showing(detections: Iterable[Detection], recipe: Recipe) -> tuple[Detection, ...]:
    """The detections that count in the verdict: those that reach their class's `check`."""
    return tuple(d for d in detections if d.confidence >= recipe.classes.get(d.label, recipe).check)
