from collections.abc import Iterator

import pytest

from tests.support.plant_process import PlantProcess, plant_process


@pytest.fixture(scope="session")
def plant() -> Iterator[PlantProcess]:
    """A simulated plant in its own process, for tests that leave it alone."""
    with plant_process("--seed", "7") as running:
        yield running
