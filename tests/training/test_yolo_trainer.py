"""The real trainer, one tiny epoch, in the environment of its own."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from cloud_receiver.training.pack import Wanted, make_package
from inference.detector import Detector
from inference.model_package import ModelPackage
from provisioning.demo_pictures import Amounts, write_dataset
from tests.support.packages import KEY, trusting

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-train" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not PYTHON.exists(), reason="no training environment: `just setup-train` makes it")
def test_pictures_become_a_signed_package_that_the_box_can_run(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_dataset(data, 2, Amounts(train=16, val=8, choose=2, test=4))
    trainer = REPOSITORY / "cloud_receiver" / "training" / "yolo_trainer.py"
    tiny = ["--epochs", "1", "--batch", "8", "--tile", "128", "--width", "0.0625"]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "YOLO_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        [str(PYTHON), str(trainer), str(data), str(run), *tiny],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    trained = json.loads((run / "metrics.json").read_text())
    assert trained["licence"] == "AGPL-3.0"
    archive, _ = make_package(Wanted(data, run, "tiny", "0.0.1"), KEY)
    path = tmp_path / "tiny.agmodel"
    path.write_bytes(archive)
    package = ModelPackage.open(path, trusting(KEY.verifier()))
    Detector(package).warm_up()
    assert package.input_size == (512, 640)
