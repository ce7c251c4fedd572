"""A tap counts for what the finger saw: not for what slid under it on the way down."""

import time
from collections.abc import Callable

JUST_MOVED_SECONDS = 0.35
"""A finger that has started to fall does not stop within this time."""

HELD_SECONDS = 4.0
"""A list that was just used stands still for this long, so that a slip can be put right."""

BOUNCE_SECONDS = 0.8
"""The second of two taps on the same button within this time is a gloved finger bouncing."""


class Steady:
    """When each list of a page last moved and was last used."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._moved: dict[str, float] = {}
        self._used: dict[str, float] = {}

    def moved(self, name: str) -> None:
        """The list's items have just changed places."""
        self._moved[name] = self._monotonic()

    def used(self, name: str) -> None:
        """Somebody has just touched it."""
        self._used[name] = self._monotonic()

    def just_moved(self, name: str) -> bool:
        """A tap that arrives now may have been meant for another item."""
        return self._since(self._moved, name) < JUST_MOVED_SECONDS

    def is_held(self, name: str) -> bool:
        """It has to stand still now."""
        return self._since(self._used, name) < HELD_SECONDS

    def bounced(self, name: str) -> bool:
        """This tap is the echo of the one before; if not, it is remembered as the first."""
        echo = self._since(self._used, name) < BOUNCE_SECONDS
        if not echo:
            self.used(name)
        return echo

    def _since(self, times: dict[str, float], name: str) -> float:
        return self._monotonic() - times.get(name, float("-inf"))
