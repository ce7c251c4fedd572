"""What the tests of the verbs begin with."""

from pathlib import Path

import numpy as np
import pytest

from provisioning.init import profile_text
from tests.support.command import model_answering


@pytest.fixture
def box_toml(tmp_path: Path) -> Path:
    """The shipped profile, with its storage in the test's folder."""
    path = tmp_path / "box.toml"
    path.write_text(profile_text("surface").replace("/var/lib/alumiguard", str(tmp_path / "storage")))
    return path


@pytest.fixture
def tiny_model(tmp_path: Path) -> list[object]:
    """Options for a model that finds a sure scratch and an unsure dent on every picture."""
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0] = [10, 10, 40, 30, 0.91, 1]
    rows[0, 1] = [50, 35, 80, 60, 0.41, 0]
    return model_answering(tmp_path, rows)


@pytest.fixture
def blind_model(tmp_path: Path) -> list[object]:
    """Options for a model that never finds anything."""
    return model_answering(tmp_path, np.zeros((1, 300, 6), np.float32))
