"""What a record is: one line of JSON, written once and never encoded again.

The stored bytes are the hashed bytes are the shipped bytes. A reader that meets a kind it does not know keeps
the line and passes it on; nothing is ever refused for being new.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec

MAX_LINE_BYTES = 256 * 1024
"""Longest record line that is accepted or read; pictures are evidence files, not records."""


class ClockQuality(StrEnum):
    """Where the wall time of a record came from."""

    NTP = "ntp"
    RTC = "rtc"
    UNSET = "unset"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, and how far to trust it. Fields as in `Record`."""

    at: str
    boot: str
    mono_ns: int
    clock: ClockQuality


class Clock(Protocol):
    """The box's clock, injected wherever time is read."""

    def stamp(self) -> Stamp:
        """Now."""
        ...


class Verdict(StrEnum):
    """What the box says of a frame. CHECK means a person has to look."""

    OK = "OK"
    NG = "NG"
    CHECK = "CHECK"


class Judgement(StrEnum):
    """What an operator says of a verdict, in one tap."""

    REAL = "real"
    FALSE = "false"
    MISSED = "missed"


class Body(Protocol):
    """The typed content of a record. The class's docstring is its line in the reference of record kinds."""

    KIND: ClassVar[str]
    AT_ONCE: ClassVar[bool]
    """Committed on its own before `append` returns, instead of with the next group."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read back. `line` is the truth; everything else was read from it.

    `at` is RFC 3339 in UTC with microseconds, `mono_ns` the kernel's monotonic clock, comparable only within
    one `boot` (the kernel's boot id).
    """

    seq: int
    at: str
    boot: str
    mono_ns: int
    clock: ClockQuality
    kind: str
    body: Mapping[str, Any]
    line: bytes


class RecordError(ValueError):
    """A line that is not a record. The message says what is wrong with it."""


# --- bodies -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBody:
    """One defect found in a frame: box in pixels of the original image, confidence from 0 to 1."""

    label: str
    confidence: float
    x_px: float
    y_px: float
    width_px: float
    height_px: float
    position_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which model judged: package name and version, and the digest of the file that ran."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Latency of one stage over an interval, in milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TagWindow:
    """One tag over a window. Numbers are None for a text tag; `last` is the last value of good quality."""

    unit: str
    count: int
    bad: int
    last: float | str | bool | None
    min: float | None = None
    mean: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousEpoch:
    """The last head that was known of the epoch before this one."""

    epoch: str
    seq: int
    chain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStarted:
    """The appliance process started. In the first record of an epoch `previous` names the epoch before it."""

    KIND: ClassVar[str] = "box.started"
    AT_ONCE: ClassVar[bool] = True
    software: str
    config_sha256: str
    after_unclean_stop: bool
    reason: str = ""
    previous: PreviousEpoch | None = None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStopped:
    """The appliance process stopped in good order."""

    KIND: ClassVar[str] = "box.stopped"
    AT_ONCE: ClassVar[bool] = True
    reason: str
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLost:
    """A device, camera or child process stopped answering; `cause` says how it was noticed."""

    KIND: ClassVar[str] = "device.lost"
    AT_ONCE: ClassVar[bool] = True
    device: str
    cause: str
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBack:
    """A device, camera or child process answers again after `gap_seconds`."""

    KIND: ClassVar[str] = "device.back"
    AT_ONCE: ClassVar[bool] = True
    device: str
    gap_seconds: float
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GapDeclared:
    """Something that should have been kept or seen was not: what, from where to where, and why."""

    KIND: ClassVar[str] = "gap.declared"
    AT_ONCE: ClassVar[bool] = True
    what: str
    first: str
    last: str
    reason: str
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A frame judged NG or CHECK: what was found, by which model and recipe, on which lot and where."""

    KIND: ClassVar[str] = "inspection"
    AT_ONCE: ClassVar[bool] = False
    camera: str
    frame: int
    captured_at: str
    verdict: Verdict
    detections: tuple[DetectionBody, ...]
    recipe: str
    model: ModelRef
    engine: str
    lot: str | None
    position_m: float | None
    evidence_sha256: str | None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What one camera saw and what it missed over an interval: seen = inspected + the sum of dropped."""

    KIND: ClassVar[str] = "coverage"
    AT_ONCE: ClassVar[bool] = False
    camera: str
    began_at: str
    seconds: float
    seen: int
    inspected: int
    dropped: Mapping[str, int]
    missed_frames: tuple[tuple[int, int], ...]
    verdicts: Mapping[str, int]
    latency_ms: Mapping[str, Quantiles]
    first_frame: int | None
    last_frame: int | None
    metres: float | None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Process values over a window, by tag."""

    KIND: ClassVar[str] = "tags"
    AT_ONCE: ClassVar[bool] = False
    began_at: str
    seconds: float
    tags: Mapping[str, TagWindow]
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised:
    """An alarm became active and unacknowledged; `action` says what to do."""

    KIND: ClassVar[str] = "alarm.raised"
    AT_ONCE: ClassVar[bool] = True
    alarm: str
    priority: str
    text: str
    action: str
    value: float | str | bool | None = None
    limit: float | None = None
    unit: str = ""
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmAcknowledged:
    """A person has seen the alarm."""

    KIND: ClassVar[str] = "alarm.acknowledged"
    AT_ONCE: ClassVar[bool] = True
    alarm: str
    raised_seq: int
    by: str
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCleared:
    """The alarm's condition is gone."""

    KIND: ClassVar[str] = "alarm.cleared"
    AT_ONCE: ClassVar[bool] = True
    alarm: str
    raised_seq: int
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputWritten:
    """A verdict other than OK, or a change of the box's state, reached the PLC and was acknowledged by it."""

    KIND: ClassVar[str] = "output.written"
    AT_ONCE: ClassVar[bool] = True
    device: str
    values: Mapping[str, float | int | bool | str]
    camera: str | None = None
    frame: int | None = None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackFlagged:
    """An operator's one-tap judgement. `inspection_seq` is None for a defect that the box did not see."""

    KIND: ClassVar[str] = "feedback.flagged"
    AT_ONCE: ClassVar[bool] = True
    judgement: Judgement
    by: str
    camera: str
    inspection_seq: int | None = None
    lot: str | None = None
    position_m: float | None = None
    note: str = ""
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LotStarted:
    """A new coil, cast, billet or pallet is on the line."""

    KIND: ClassVar[str] = "lot.started"
    AT_ONCE: ClassVar[bool] = True
    lot: str
    position_m: float | None = None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LotEnded:
    """The lot left the line."""

    KIND: ClassVar[str] = "lot.ended"
    AT_ONCE: ClassVar[bool] = True
    lot: str
    position_m: float | None = None
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelActivated:
    """From here on this model judges, on this engine."""

    KIND: ClassVar[str] = "model.activated"
    AT_ONCE: ClassVar[bool] = True
    model: ModelRef
    engine: str
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """Something a security officer would ask about: an enrolment, a refused command, a key."""

    KIND: ClassVar[str] = "security.event"
    AT_ONCE: ClassVar[bool] = True
    event: str
    subject: str
    outcome: str
    detail: str = ""
    v: int = 1


KINDS: Mapping[str, type[Body]] = {
    body.KIND: body
    for body in (
        BoxStarted,
        BoxStopped,
        DeviceLost,
        DeviceBack,
        GapDeclared,
        Inspection,
        Coverage,
        Tags,
        AlarmRaised,
        AlarmAcknowledged,
        AlarmCleared,
        OutputWritten,
        FeedbackFlagged,
        LotStarted,
        LotEnded,
        ModelActivated,
        SecurityEvent,
    )
}


# --- bytes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    seq: int
    at: str
    boot: str
    mono_ns: int
    clock: ClockQuality
    kind: str
    body: Any = field(default=None)


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(_Line)


def encode(seq: int, at: str, boot: str, mono_ns: int, clock: ClockQuality, body: Body) -> bytes:
    """Write the one line that stands for this record for ever: UTF-8 JSON, keys sorted, no newline.

    Raises:
        RecordError: if the line would be longer than MAX_LINE_BYTES.
    """
    line = _encoder.encode(_Line(seq, at, boot, mono_ns, clock, body.KIND, body))
    if len(line) > MAX_LINE_BYTES:
        raise RecordError(f"a {body.KIND} record of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
    return line


def decode(line: bytes) -> Record:
    """Read a line back. Unknown kinds and unknown body fields are kept as they are.

    Raises:
        RecordError: if the line is not one JSON object with the seven fields of a record.
    """
    if len(line) > MAX_LINE_BYTES:
        raise RecordError(f"a line of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
    try:
        read = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"not a record: {error}") from error
    if not isinstance(read.body, dict):
        raise RecordError("not a record: its body is not an object")
    return Record(read.seq, read.at, read.boot, read.mono_ns, read.clock, read.kind, read.body, line)


def typed_body(record: Record) -> Body | None:
    """The record's body as its class, or None for a kind that this version does not know.

    Raises:
        RecordError: if a known kind's body lacks a field or holds a wrong type.
    """
    body_type = KINDS.get(record.kind)
    if body_type is None:
        return None
    try:
        return msgspec.convert(record.body, body_type)
    except msgspec.ValidationError as error:
        raise RecordError(
            f"seq {record.seq}: a {record.kind} record whose body is not one: {error}"
        ) from error
