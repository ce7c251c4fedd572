import json
import tomllib
from pathlib import Path

import pytest

from cloud_receiver.training.pack import Wanted, make_package
from inference.detector import Detector
from inference.golden import golden_differences
from inference.model_package import ModelPackage
from provisioning.demo_pictures import Amounts, write_dataset
from tests.support.packages import KEY, trusting
from tests.support.tiny_network import float_network

TRAINED = {
    "classes": ["dent", "scratch"],
    "network": "tiny",
    "parameters": 10,
    "input_height_px": 64,
    "input_width_px": 96,
    "epochs": 1,
    "seed": 0,
    "map50": 0.1,
    "map50_95": 0.05,
    "training_seconds": 1,
    "trainer": "by hand",
    "licence": "Apache-2.0",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    folder = tmp_path_factory.mktemp("pack")
    write_dataset(folder / "data", 3, Amounts(train=1, val=1, choose=4, test=12))
    run = folder / "run"
    run.mkdir()
    (run / "best.onnx").write_bytes(float_network())
    (run / "metrics.json").write_text(json.dumps(TRAINED))
    archive, _ = make_package(Wanted(folder / "data", run, "tiny", "0.0.1"), KEY)
    path = folder / "tiny.agmodel"
    path.write_bytes(archive)
    return ModelPackage.open(path, trusting(KEY.verifier()))


def test_a_packed_run_opens_and_runs(package: ModelPackage) -> None:
    assert (package.name, package.version, package.input_size) == ("tiny", "0.0.1", (64, 96))
    assert Detector(package, threads=1).engine


def test_it_carries_what_was_measured_with_it(package: ModelPackage) -> None:
    metrics = package.description.metrics
    assert metrics["test_frames"] == 12
    assert 0 <= metrics["escape_rate"] <= 1
    assert len(package.description.dataset["sha256"]) == 64


def test_its_golden_samples_hold_for_the_detector_that_made_them(package: ModelPackage) -> None:
    assert package.golden
    assert golden_differences(package, Detector(package, threads=1)) == []


def test_a_description_is_the_same_after_a_trip_through_toml(package: ModelPackage) -> None:
    from cloud_receiver.training.pack import _toml

    again = tomllib.loads(_toml(package.description))
    assert type(package.description).model_validate(again) == package.description


def test_the_folder_of_the_run_is_left_as_it_was(package: ModelPackage, tmp_path: Path) -> None:
    assert package.sha256
    assert not list(tmp_path.iterdir())
