import numpy as np
import pytest

from inference.backend import BackendError
from inference.detection import Box
from inference.detector import Detector
from inference.fold import fold
from tests.support.packages import unpacked
from tests.support.tiny_network import HEIGHT_PX, WIDTH_PX, constant_network, float_network


def answering(*anchors: tuple[float, ...]) -> Detector:
    """A detector whose network always gives these anchors (centre, size, two scores), raw."""
    output = np.zeros((1, 6, 12), np.float32)
    for number, anchor in enumerate(anchors):
        output[0, :, number] = anchor
    return Detector(unpacked(constant_network(output)), threads=1)


def test_boxes_come_back_in_pixels_of_a_picture_of_any_size() -> None:
    detector = answering((48, 32, 20, 10, 0.2, 0.8))
    (here,) = detector.detect(np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)).detections
    (twice,) = detector.detect(np.zeros((2 * HEIGHT_PX, 2 * WIDTH_PX, 3), np.uint8)).detections
    assert (here.label, here.box) == ("scratch", Box(38, 27, 20, 10))
    assert here.confidence == pytest.approx(0.8)
    assert twice.box == Box(76, 54, 40, 20)


def test_detections_come_best_first() -> None:
    detector = answering((20, 20, 8, 8, 0.4, 0), (60, 40, 8, 8, 0, 0.9), (80, 10, 8, 8, 0.6, 0))
    found = detector.detect(np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)).detections
    assert [d.label for d in found] == ["scratch", "dent", "dent"]


def test_an_end_to_end_network_is_read_as_one() -> None:
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 0] = (10, 20, 30, 40, 0.9, 1)
    found = Detector(unpacked(constant_network(output)), threads=1).detect(
        np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    )
    assert [(d.label, d.box) for d in found.detections] == [("scratch", Box(10, 20, 20, 20))]


def test_each_stage_says_how_long_it_took() -> None:
    detector = answering()
    detector.warm_up()
    stage_ms = detector.detect(np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)).stage_ms
    assert list(stage_ms) == ["prepare", "infer", "decode"]
    assert all(milliseconds > 0 for milliseconds in stage_ms.values())


def test_a_network_that_answers_nan_is_not_believed() -> None:
    detector = answering((48, 32, 20, 10, float("nan"), 0.8))
    with pytest.raises(BackendError, match=r"tiny 1\.2\.3: .*NaN"):
        detector.warm_up()


def test_a_network_that_does_not_fit_the_classes_is_refused_at_once() -> None:
    with pytest.raises(BackendError, match="correct the package's classes"):
        Detector(unpacked(fold(float_network()), classes=("dent", "scratch", "stain")))


def test_a_network_of_another_size_than_the_package_says_is_refused_at_once() -> None:
    with pytest.raises(BackendError, match="its network takes 128 x 128"):
        Detector(unpacked(fold(float_network(height_px=128, width_px=128))))


def test_the_engine_is_named_for_the_record() -> None:
    assert answering().engine.startswith("onnxruntime-")
