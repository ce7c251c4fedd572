import json
from pathlib import Path

import pytest

from cloud_receiver.training.pack import choose_thresholds
from cloud_receiver.training.score import Judged, Truth, score
from inference.detection import Box, Detection

HERE, ELSEWHERE = Box(100, 100, 40, 40), Box(600, 600, 40, 40)


def frame(name: str, truth: tuple[Truth, ...] = (), *found: tuple[float, Box]) -> Judged:
    return Judged(name, truth, tuple(Detection("dent", confidence, box) for confidence, box in found))


def dent(defect: str = "1", *, box: Box = HERE, whole: bool = True) -> tuple[Truth, ...]:
    return (Truth(defect, "dent", box, whole),)


def test_a_defect_is_found_if_any_frame_that_shows_it_finds_it() -> None:
    result = score([frame("a", dent()), frame("b", dent(), (0.5, HERE))], check=0.35)
    assert (result.defects, result.escaped) == (1, ())


def test_a_defect_escapes_when_what_was_found_lies_elsewhere_or_is_not_sure_enough() -> None:
    result = score([frame("a", dent(), (0.9, ELSEWHERE), (0.3, HERE))], check=0.35)
    assert result.escaped == ("dent 1",)
    assert result.recall == {"dent": 0.0}


def test_the_class_found_does_not_matter() -> None:
    streak = (Truth("1", "streak", HERE, True),)  # noqa: FBT003 - the record's own order
    assert score([frame("a", streak, (0.9, HERE))], check=0.35).escaped == ()


def test_a_thin_defect_is_found_by_a_wider_box_around_it() -> None:
    thin = dent(box=Box(100, 100, 5, 300))
    assert score([frame("a", thin, (0.9, Box(90, 95, 24, 310)))], check=0.35).escaped == ()


def test_a_defect_that_is_whole_nowhere_is_not_asked_for() -> None:
    assert score([frame("a", dent(whole=False))], check=0.35).defects == 0


def test_only_a_frame_without_any_defect_can_be_falsely_rejected() -> None:
    partly = dent(whole=False)
    judged = [
        frame("a", (), (0.9, HERE)),
        frame("b", (), (0.3, HERE)),
        frame("c", partly, (0.9, ELSEWHERE)),
        frame("d"),
    ]
    result = score(judged, check=0.35)
    assert (result.clean_frames, result.false_rejects) == (3, ("a",))
    assert result.false_reject_rate == pytest.approx(1 / 3)


def test_the_threshold_chosen_lies_between_what_is_harmless_and_what_is_not() -> None:
    judged = [frame(f"clean {n}", (), (0.22, HERE)) for n in range(9)]
    judged += [frame(f"bad {n}", dent(str(n)), (0.58, HERE)) for n in range(9)]
    chosen = choose_thresholds(judged)
    assert 0.22 < chosen.check < 0.58
    assert chosen.check < chosen.ng


def test_the_thresholds_of_a_detector_that_errs_anyway_weigh_both_errors() -> None:
    judged = [frame(f"clean {n}", (), (0.42, HERE)) for n in range(100)]
    judged += [frame(f"bad {n}", dent(str(n)), (0.40 if n else 0.50, HERE)) for n in range(2)]
    assert choose_thresholds(judged).check > 0.42


def test_frames_are_read_in_order_with_their_truth(tmp_path: Path) -> None:
    from cloud_receiver.training.score import _truth

    row = {
        "defect_id": "7/3",
        "label": "dent",
        "x_px": 1,
        "y_px": 2,
        "width_px": 3,
        "height_px": 4,
        "whole": True,
    }
    (tmp_path / "truth.json").write_text(json.dumps({"00001.jpg": [row], "00000.jpg": []}))
    assert [name for name, _ in _truth(tmp_path)] == ["00000.jpg", "00001.jpg"]
    assert dict(_truth(tmp_path))["00001.jpg"] == (Truth("7/3", "dent", Box(1, 2, 3, 4), True),)  # noqa: FBT003 - the record's own order
