"""Numbers, ages and times as an operator reads them."""

import math
from datetime import UTC, datetime

NOTHING = "—"
"""What stands where there is no value."""

LIVE_SECONDS = 2.0
"""Younger than this is "now": a counter that flickers between 0 and 1 tells nothing."""

Value = float | int | bool | str | None


def age(seconds: float | None) -> str:
    """How old something is, in its largest unit; rounded down so that nothing looks older than it is."""
    if seconds is None:
        return "never"
    if seconds < LIVE_SECONDS:
        return "now"
    return f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """How long something has lasted: 45 s, 12 min, 3 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def value(raw: Value) -> str:
    """A tag's value: numbers to about four digits, truth as on and off."""
    match raw:
        case None:
            return NOTHING
        case bool():
            return "on" if raw else "off"
        case int():
            return f"{raw:,}"
        case float():
            return _decimal(raw)
        case _:
            return raw


def label(name: str) -> str:
    """A class of defect as people say it: edge crack, not edge_crack."""
    return name.replace("_", " ")


def metres(position_m: float | None) -> str:
    """A position along the lot, to the centimetre."""
    return NOTHING if position_m is None else f"{position_m:,.2f} m"


def percent(fraction: float) -> str:
    """A confidence: 87 %."""
    return f"{fraction * 100:.0f} %"


def local_time(at: str) -> str:
    """The time of day here, of an RFC 3339 time."""
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")


def seconds_between(earlier: str, later: str) -> float:
    """Seconds between two RFC 3339 times; never below zero, for a clock may have been set back."""
    return max((_utc(later) - _utc(earlier)).total_seconds(), 0.0)


def _utc(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone(UTC)


def _decimal(number: float) -> str:
    if not math.isfinite(number):
        return "not a number"
    size = abs(number)
    if size >= 1e6 or (0 < size < 1e-3):
        return f"{number:.3g}"
    digits = 0 if size >= 10_000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{number:,.{digits}f}"
