"""One Chromium, one box and one console; each test gets a fresh page on a box that is well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

from tests.support.chromium import chromium
from tests.support.console_process import ConsoleProcess, console_process
from tests.support.fake_box import FakeBox, fake_box

TOUCHSCREEN: ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def module_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeBox]:
    storage: Path = tmp_path_factory.mktemp("box")
    with fake_box(storage) as started:
        for number in range(1, 4):
            started.inspect(number)
        yield started


@pytest.fixture
def box(module_box: FakeBox) -> FakeBox:
    """The box, showing a line that runs well."""
    module_box.reset()
    return module_box


@pytest.fixture(scope="module")
def console(module_box: FakeBox) -> Iterator[ConsoleProcess]:
    with console_process(module_box.control, module_box.storage) as started:
        yield started


class Heard:
    """What the browser asked for and complained of."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.complaints: list[str] = []

    def listen(self, page: Page) -> None:
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def page(browser: Browser, console: ConsoleProcess, box: FakeBox, heard: Heard) -> Iterator[Page]:
    """The operator's page on a touchscreen, with its first live picture."""
    assert box.view.alarms == ()
    context = browser.new_context(viewport=TOUCHSCREEN, has_touch=True)
    opened = context.new_page()
    heard.listen(opened)
    opened.goto(console.url)
    opened.get_by_alt_text("Live picture of camera top").wait_for(state="visible")
    yield opened
    context.close()
