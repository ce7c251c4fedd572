"""A real Chromium for the browser tests: the system's, else playwright's own, else a reason for none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

_SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Nothing is looked up, updated or reported: the browser talks to the page under test and to nobody else.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Skips the test, saying so in one line, where no Chromium can be started."""
    with sync_playwright() as playwright:
        executable = _executable(playwright)
        if executable is None:
            pytest.skip(
                "no Chromium on this machine: install Debian's package, or run `playwright install chromium`"
            )
        browser = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def _executable(playwright: Playwright) -> str | None:
    return system_chromium() or _existing(playwright.chromium.executable_path)


@cache
def system_chromium() -> str | None:
    """The path of a Chromium or Chrome that the system brings, or None."""
    return next((path for name in _SYSTEM if (path := shutil.which(name))), None)


def _existing(path: str) -> str | None:
    return path if Path(path).is_file() else None
