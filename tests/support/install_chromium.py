"""Bring a Chromium for the browser tests, where this machine may: `python -m tests.support.install_chromium`.

The system's is used if there is one; else Debian's is installed where this is root and apt is there; else
playwright's own is fetched. Where none of these works one line says so, and the tests that need it skip.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.support.chromium import system_chromium


def main() -> None:
    """Try one way after the other; whatever happens, the other tests can run."""
    if system_chromium() is not None or playwrights_own():
        return
    print("browser tests: bringing a Chromium (once)", file=sys.stderr)  # noqa: T201 - a program for people
    if debians() or fetched_by_playwright():
        return
    print(  # noqa: T201 - a program for people
        "browser tests: will not run, neither apt-get (as root) nor playwright could install a Chromium here",
        file=sys.stderr,
    )


def playwrights_own() -> bool:
    """Whether playwright has fetched its Chromium before."""
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).is_file()


def debians() -> bool:
    """Install the distribution's package; False where that cannot be done or brings no browser."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium"]
    steps = (["apt-get", "update", "-qq"], install)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if any(
        subprocess.run(step, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode for step in steps
    ):
        return False
    system_chromium.cache_clear()
    return system_chromium() is not None


def fetched_by_playwright() -> bool:
    """Let playwright fetch its own; it says why if it cannot."""
    fetch = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(fetch, stdout=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    main()
