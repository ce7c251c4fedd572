"""Wait for a condition, with a deadline, instead of sleeping."""

import threading
import time
from collections.abc import Callable

_POLL_SECONDS = 0.02


def wait_until(
    condition: Callable[[], bool], what: str | Callable[[], str], *, seconds: float = 15.0
) -> None:
    """Return as soon as the condition holds; fail, naming it, if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        pause.wait(_POLL_SECONDS)
