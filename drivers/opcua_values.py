"""What a node of an OPC UA server holds, as the value of a tag, and back."""

import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from drivers.errors import DeviceMisconfigured
from drivers.reading import TagValue

if TYPE_CHECKING:
    from asyncua import ua

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER_FORMATS = {
    "SByte": "b",
    "Byte": "B",
    "Int16": "h",
    "UInt16": "H",
    "Int32": "i",
    "UInt32": "I",
    "Int64": "q",
    "UInt64": "Q",
}


def value_of(value: Any) -> TagValue | None:
    """What a node holds as a tag's value; None for what a tag cannot hold, as NaN, arrays and structures."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    text = getattr(value, "Text", None)  # LocalizedText
    return text if isinstance(text, str) else None


def unix_ns(at: datetime | None) -> int | None:
    """A node's time stamp in nanoseconds since 1970 UTC; exact to the microsecond."""
    if at is None:
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def as_type(name: str, value: TagValue, kind: "ua.VariantType") -> TagValue:
    """`value` as the node's type wants it.

    Raises:
        DeviceMisconfigured: if it does not fit.
    """
    try:
        if kind.name in _INTEGER_FORMATS:
            number = round(float(value)) if isinstance(value, str | float) else int(value)
            struct.pack(_INTEGER_FORMATS[kind.name], number)
            return number
        casts: Mapping[str, type[bool | float | str]]
        casts = {"Boolean": bool, "Float": float, "Double": float, "String": str}
        return casts[kind.name](value)
    except (KeyError, ValueError, OverflowError, struct.error) as error:
        raise DeviceMisconfigured(
            f"{name}: {value!r} does not fit into the node's type {kind.name}",
            hint="Write to a node with a type that can hold the value.",
        ) from error
