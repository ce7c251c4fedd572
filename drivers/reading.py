"""What a tag driver yields: one value of one tag, with its quality and its times."""

from dataclasses import dataclass
from enum import StrEnum

TagValue = float | int | bool | str
"""What a tag can hold, after scaling. Numbers are never NaN or infinite: such a reading is BAD."""


class Quality(StrEnum):
    """How far a value may be trusted, as the device itself says."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one tag.

    `value` is None when the quality is BAD and the device gave no usable value. `source_time_ns` is the
    device's own time stamp in nanoseconds since 1970 UTC, None where it gives none; `received_mono_ns` is
    when this box had it, on the kernel's monotonic clock. `status` keeps the device's own words (an OPC UA
    status code, a Modbus exception).
    """

    tag: str
    value: TagValue | None
    quality: Quality
    received_mono_ns: int
    source_time_ns: int | None = None
    status: str = ""
