from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.receiver_site import SiteUnderTest, site_in


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SiteUnderTest]:
    async with site_in(tmp_path / "receiver") as made:
        yield made
