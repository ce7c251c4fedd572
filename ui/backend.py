"""What a page may know of a box, and what it may ask of it. Pages see nothing else.

The appliance answers `GET /v1/status` on its control socket with a `BoxView`; `alumiguard status` prints the
same one. Every value carries its age: silence is never "good".
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from sync.record import Judgement, Verdict


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CameraState(StrEnum):
    """Whether a camera's verdict means anything."""

    INSPECTING = "inspecting"
    STARTING = "starting"
    GONE = "gone"
    """No frame for longer than its time-out; the tile is labelled and black, never the last picture."""


class TagView(_View):
    """The latest value of a tag and how old it is, in seconds; None before the first reading."""

    name: str
    value: float | int | bool | str | None
    unit: str
    quality: str
    age_seconds: float | None
    stale: bool


class FoundView(_View):
    """A detection on the preview picture: class, confidence, and box as fractions (0 to 1) of the picture."""

    label: str
    confidence: float
    x: float
    y: float
    width: float
    height: float


class CameraView(_View):
    """A camera as the operator sees it. `verdict` is None while it is not inspecting."""

    name: str
    state: CameraState
    detail: str = ""
    verdict: Verdict | None = None
    found: tuple[FoundView, ...] = ()
    preview: int = 0
    """Number of the latest preview picture; it changes with each new one."""
    preview_verdict: Verdict | None = None
    """The verdict on the preview picture, as `found` is of it; None: not told, the newest stands in."""
    age_seconds: float | None = None
    seen: int = 0
    inspected: int = 0
    dropped: int = 0
    frames_per_second: float = 0.0


class AlarmView(_View):
    """An alarm that is active, or cleared and not yet acknowledged. `raised_seq` identifies it."""

    raised_seq: int
    alarm: str
    priority: Literal["low", "medium", "high"]
    text: str
    action: str
    raised_at: str
    active: bool
    acknowledged_by: str | None
    value: float | int | bool | str | None = None
    unit: str = ""
    times: int = 1
    """How often it was raised since somebody last acknowledged it."""


class LinkView(_View):
    """The way out: whether the receiver answers, and what it does not hold yet."""

    configured: bool
    connected: bool
    detail: str
    backlog_records: int
    held_through_seq: int
    last_receipt_age_seconds: float | None


class LogView(_View):
    """The log on this box."""

    epoch: str
    seq: int
    writable: bool
    detail: str = ""


class ProcessView(_View):
    """A process of the box, its restarts since the box started, and the memory that it holds at most."""

    name: str
    running: bool
    restarts: int
    peak_rss_bytes: int


class BoxView(_View):
    """Everything the operator's page shows, at one instant."""

    box: str
    site: str
    at: str
    clock: str
    recipe: str
    model: str
    lot: str | None
    speed: TagView | None
    position_m: float | None
    cameras: tuple[CameraView, ...]
    tags: tuple[TagView, ...]
    alarms: tuple[AlarmView, ...]
    link: LinkView
    log: LogView
    processes: tuple[ProcessView, ...] = ()
    stage_ms: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Latency per stage over the last minute: {"infer": {"p50": 31.0, "p99": 40.2, "max": 51.0}}."""
    readings: dict[str, int] = Field(default_factory=dict)
    """Readings since the start, by driver: {"opcua": 1200, "modbus": 900}."""


class MarkView(_View):
    """A detection on an evidence picture, in pixels of that picture."""

    label: str
    confidence: float
    x_px: float
    y_px: float
    width_px: float
    height_px: float


class DefectView(_View):
    """An NG or CHECK inspection as the log holds it, and what people have said of it so far."""

    seq: int
    at: str
    camera: str
    verdict: Verdict
    labels: tuple[str, ...]
    confidence: float
    lot: str | None
    position_m: float | None
    evidence_sha256: str | None
    judgement: Judgement | None
    judged_by: str | None
    marks: tuple[MarkView, ...] = ()


class AcknowledgeCommand(_View):
    """Body of `POST /v1/alarms/acknowledge`."""

    raised_seq: int
    by: Annotated[str, Field(min_length=1, max_length=64)]


class JudgeCommand(_View):
    """Body of `POST /v1/feedback`. `missed` names no inspection: the box did not see it."""

    judgement: Judgement
    by: Annotated[str, Field(min_length=1, max_length=64)]
    camera: str
    inspection_seq: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    note: Annotated[str, Field(max_length=500)] = ""


class CommandDone(_View):
    """The answer to a command: the sequence number of the record that it became."""

    seq: int


class BoxUnreachable(Exception):
    """The appliance process does not answer on its control socket."""


class CommandRefused(Exception):
    """The appliance did not do it; the message says why and what to do next."""


class LogUnreadable(Exception):
    """The log on this box cannot be read now; the message says why and what to do next."""


class ConsoleBackend(Protocol):
    """The box, as a page sees it."""

    async def status(self) -> BoxView:
        """The box now. Raises BoxUnreachable."""
        ...

    async def preview(self, camera: str) -> tuple[int, bytes] | None:
        """The newest preview: its number and its JPEG (without boxes drawn), None when the camera gives none.

        The number tells which `CameraView.found` belongs to it. Raises BoxUnreachable.
        """
        ...

    async def last_defects(self, limit: int) -> Sequence[DefectView]:
        """The newest NG and CHECK inspections, newest first, read from the log. Raises LogUnreadable."""
        ...

    async def defect_by_evidence(self, sha256: str) -> DefectView | None:
        """The newest inspection with this evidence, None when there is none. Raises LogUnreadable."""
        ...

    async def evidence(self, sha256: str) -> bytes | None:
        """An evidence JPEG, None when it is not (or no longer) kept. Raises LogUnreadable."""
        ...

    async def acknowledge(self, command: AcknowledgeCommand) -> int:
        """Acknowledge an alarm; returns the record's seq. Raises BoxUnreachable, CommandRefused."""
        ...

    async def judge(self, command: JudgeCommand) -> int:
        """Record a judgement; returns the record's seq. Raises BoxUnreachable, CommandRefused."""
        ...
