"""The box's clock: kernel boot id, monotonic time, wall time, and how far the wall time can be trusted."""

import ctypes
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sync.record import ClockQuality, Stamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
"""This software is younger than that: a clock that shows less was never set."""

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def utc_text(wall_ns: int) -> str:
    """RFC 3339 in UTC with microseconds, from nanoseconds since 1970."""
    at = _EPOCH + timedelta(microseconds=wall_ns // 1000)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._libc = ctypes.CDLL(None, use_errno=True)

    def stamp(self) -> Stamp:
        """Now."""
        wall_ns = time.time_ns()
        return Stamp(utc_text(wall_ns), self.boot, time.monotonic_ns(), self._quality(wall_ns))

    def _quality(self, wall_ns: int) -> ClockQuality:
        if wall_ns < _NOT_BEFORE.timestamp() * 1e9:
            return ClockQuality.UNSET
        timex = ctypes.create_string_buffer(256)  # struct timex, all zero: ask, change nothing
        state = self._libc.adjtimex(timex)
        return ClockQuality.RTC if state in (-1, _TIME_ERROR) else ClockQuality.NTP
