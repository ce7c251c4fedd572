"""The package that ships, judged with the parts that ship, on strips that it has never seen."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from cloud_receiver.training.score import Judged, Truth, score
from drivers.simulated.strip import Strip
from inference.detection import Box
from inference.detector import Detector
from inference.golden import golden_differences
from inference.model_package import ModelPackage, demo_package
from inference.yolo import Letterbox, decode, layout_of, to_detections
from sync.chain import VerifierKey
from tests.support.packages import trusting

REPOSITORY = Path(__file__).parents[2]
UNSEEN_SEED, FRAMES = 424_242, 300


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    path, key = demo_package()
    return ModelPackage.open(path, trusting(VerifierKey.parse(key)))


@pytest.fixture(scope="module")
def detector(package: ModelPackage) -> Detector:
    return Detector(package)


def test_it_finds_on_the_golden_samples_what_it_found_when_it_was_made(
    package: ModelPackage, detector: Detector
) -> None:
    assert len(package.golden) >= 5
    assert golden_differences(package, detector) == []


def test_golden_samples_tell_a_swapped_channel_or_a_lost_defect(
    package: ModelPackage, detector: Detector
) -> None:
    with_defect = next(sample for sample in package.golden if sample.expected)
    lost = replace(package, golden=(replace(with_defect, expected=()),))
    assert "is new or elsewhere" in golden_differences(lost, detector)[0]
    (first, *_) = with_defect.expected
    moved = replace(first, box=replace(first.box, x_px=first.box.x_px + 30))
    elsewhere = replace(package, golden=(replace(with_defect, expected=(moved,)),))
    assert "is gone or elsewhere" in golden_differences(elsewhere, detector)[0]


def test_the_detector_agrees_with_a_plain_run_of_the_same_file(
    package: ModelPackage, detector: Detector
) -> None:
    session = onnxruntime.InferenceSession(package.model, providers=["CPUExecutionProvider"])
    letterbox = Letterbox(*package.input_size)
    strip = Strip(UNSEEN_SEED)
    for frame in range(6):
        picture = strip.picture(frame)
        placement = letterbox.fit(picture)
        (output,) = session.run(None, {session.get_inputs()[0].name: letterbox.batch})
        layout = layout_of(output.shape, len(package.classes))
        plain = to_detections(decode(output[0], layout, 0.10), package.classes, placement)
        found = detector.detect(picture).detections
        assert [d.label for d in found] == [d.label for d in plain]
        for one, other in zip(found, plain, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
            assert one.box.x_px == pytest.approx(other.box.x_px, abs=0.05)


@pytest.mark.slow
def test_it_meets_its_targets_on_a_stretch_that_nobody_has_seen(
    package: ModelPackage, detector: Detector
) -> None:
    """300 frames hold about 42 defects: one may escape by chance and the rate still be under 2 %."""
    strip = Strip(UNSEEN_SEED)
    judged = [judged_frame(strip, frame, detector) for frame in range(FRAMES)]
    result = score(judged, package.thresholds.check)
    assert result.defects > 30
    assert len(result.escaped) <= 1, result.escaped
    assert len(result.false_rejects) <= 1, result.false_rejects


def judged_frame(strip: Strip, frame: int, detector: Detector) -> Judged:
    truth = tuple(
        Truth(str(t.defect_id), t.label, Box(t.x_px, t.y_px, t.width_px, t.height_px), t.whole)
        for t in strip.truth(frame)
    )
    return Judged(str(frame), truth, detector.detect(strip.picture(frame)).detections)


def test_its_metrics_and_its_making_stand_in_it(package: ModelPackage) -> None:
    described = package.description
    assert len(described.dataset["sha256"]) == 64
    assert described.training["training_seconds"] > 0
    assert described.metrics["test_frames"] >= 300
    assert described.metrics["escape_rate"] < 0.02
    assert described.metrics["false_reject_rate"] < 0.01
    assert set(described.metrics["recall"]) == set(package.classes)


def test_a_picture_without_a_strip_gives_no_detection(package: ModelPackage, detector: Detector) -> None:
    found = detector.detect(np.full((1024, 1280, 3), 16, np.uint8)).detections
    assert all(d.confidence < package.thresholds.check for d in found)


def test_nothing_but_the_trainer_imports_ultralytics_or_torch() -> None:
    importers = {
        file.relative_to(REPOSITORY).as_posix()
        for folder in (
            "appliance",
            "drivers",
            "inference",
            "sync",
            "ui",
            "provisioning",
            "cloud_receiver",
            "tests",
        )
        for file in (REPOSITORY / folder).rglob("*.py")
        if _imported(file) & {"ultralytics", "torch", "torchvision"}
    }
    assert importers == {"cloud_receiver/training/yolo_trainer.py"}


def _imported(file: Path) -> set[str]:
    """The top-level names that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.partition(".")[0]
        for name in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    }
