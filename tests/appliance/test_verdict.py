"""From detections to OK, NG or CHECK."""

import pytest

from appliance.config import Recipe, Thresholds
from appliance.verdict import judge, worth_showing
from inference.detection import Box, Detection
from sync.record import Verdict

_RECIPE = Recipe(name="r", ng=0.5, check=0.3, classes={"pinhole": Thresholds(ng=0.8, check=0.6)})


def _detections(*found: tuple[str, float]) -> list[Detection]:
    return [Detection(label, confidence, Box(0, 0, 1, 1)) for label, confidence in found]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], Verdict.OK),
        ([("scratch", 0.29)], Verdict.OK),
        ([("scratch", 0.30)], Verdict.CHECK),
        ([("scratch", 0.50)], Verdict.NG),
        ([("pinhole", 0.59)], Verdict.OK),
        ([("pinhole", 0.79)], Verdict.CHECK),
        ([("pinhole", 0.80)], Verdict.NG),
        ([("scratch", 0.31), ("pinhole", 0.9)], Verdict.NG),
    ],
)
def test_the_surest_detection_decides_by_its_own_class(
    found: list[tuple[str, float]], verdict: Verdict
) -> None:
    assert judge(_detections(*found), _RECIPE) is verdict


def test_only_detections_that_count_are_shown() -> None:
    shown = worth_showing(_detections(("scratch", 0.31), ("pinhole", 0.5), ("dent", 0.1)), _RECIPE)
    assert [d.label for d in shown] == ["scratch"]
