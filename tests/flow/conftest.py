"""A demo site for the tests that need the whole: started once for those that only look."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.demo_site import Site
from tests.support.site import is_inspecting


@pytest.fixture
def site_folder() -> Iterator[Path]:
    """A folder with a path short enough for the sockets that live in it."""
    folder = Path(tempfile.mkdtemp(prefix="ag-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def site(site_folder: Path) -> Iterator[Site]:
    """Plant, receiver and box, up and inspecting."""
    site = Site(site_folder, seed=20_260_101)
    try:
        site.put_up()
        site.wait_for("the inspection", lambda: is_inspecting(site))
        yield site
    finally:
        site.stop_all()
