"""From what happens on the line to records: inspections, coverage, tag windows, lots.

Every record goes through one queue with one writer and stays there until the log has it on disk: a full disk
delays records (and may change their order), it never loses them. A log that is damaged under it ends the
process: the restart sets the damaged file aside.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from appliance.clock import utc_text
from appliance.config import BoxConfig
from appliance.latency import Latencies, quantiles
from appliance.line import Line
from appliance.vision_link import Closed, Counts, EvidenceKept, Judged, Ready
from drivers.reading import Quality, Reading, TagValue
from sync.audit_log import AuditLog, LogUnwritable
from sync.database import reading
from sync.record import (
    Body,
    Clock,
    Coverage,
    DetectionBody,
    GapDeclared,
    Inspection,
    LotEnded,
    LotStarted,
    ModelActivated,
    ModelRef,
    RecordError,
    Tags,
    TagWindow,
    Verdict,
)

RETRY_SECONDS = 1.0
VISION_RESTART = "vision_restart"  # the camera went on while the vision process was being started again

log = structlog.get_logger()


_Put = tuple[Body, int | None] | None
"""A body, and the monotonic time at which what it tells was known; None ends the writing."""


@dataclass
class _Interval:
    """One camera since its last coverage record."""

    began_at: str
    began_mono: float
    began_position_m: float | None
    inspected: int = 0
    seen: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[int, int]] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_frame: int | None = None
    last_frame: int | None = None


@dataclass
class _Window:
    """One tag since its last window."""

    count: int = 0
    bad: int = 0
    last: TagValue | None = None
    numbers: list[float] = field(default_factory=list)


@dataclass
class CameraTotals:
    """One camera since this process started: seen = inspected + dropped."""

    seen: int = 0
    inspected: int = 0
    dropped: int = 0


class Recorder:
    """Turns results and readings into records."""

    def __init__(
        self,
        config: BoxConfig,
        audit_log: AuditLog,
        line: Line,
        clock: Clock,
        log_failed: Callable[[str | None], None],
    ) -> None:
        """`log_failed` is told why the log takes no record, and None once it does again."""
        self._config = config
        self._log = audit_log
        self._line = line
        self._clock = clock
        self._log_failed = log_failed
        self._unwritten: asyncio.Queue[_Put] = asyncio.Queue()
        self._intervals: dict[str, _Interval] = {}
        self._last_counts: dict[str, Counts] = {}
        self._last_frame: dict[str, int] = {}
        self._pending: dict[tuple[str, int], Judged] = {}
        self._windows: dict[str, _Window] = defaultdict(_Window)
        self._windows_began = (clock.stamp().at, time.monotonic())
        self._lot = _open_lot(audit_log)
        self.model: Ready | None = None
        self.latencies = Latencies()
        self.totals: dict[str, CameraTotals] = defaultdict(CameraTotals)

    # --- what happens -------------------------------------------------------------------------------------

    def take_reading(self, reading: Reading) -> None:
        """Count a reading into its tag's window; a new lot becomes a record at once."""
        window = self._windows[reading.tag]
        window.count += 1
        if reading.quality is Quality.BAD or reading.value is None:
            window.bad += 1
            return
        window.last = reading.value
        if not isinstance(reading.value, str | bool) and math.isfinite(reading.value):
            window.numbers.append(float(reading.value))
        if reading.tag == self._config.line.lot_tag:
            self._lot_changed()

    def take_ready(self, ready: Ready) -> None:
        """A vision process is up: from here on its model judges, and its counters start at nothing."""
        self.model = ready
        self._last_counts.clear()
        self.put(ModelActivated(model=ready.model, engine=ready.engine))

    def take_judged(self, judged: Judged) -> None:
        """Count a judged frame; an NG or CHECK waits for its picture before it becomes a record."""
        interval = self._count(judged.camera, judged.counts, judged.frame)
        interval.inspected += 1
        interval.verdicts[judged.verdict] += 1
        for stage, ms in judged.stage_ms.items():
            interval.stage_ms[stage].append(ms)
        self.latencies.add(judged.stage_ms)
        self.totals[judged.camera].inspected += 1
        if judged.verdict is not Verdict.OK:
            if (same := self._pending.pop((judged.camera, judged.frame), None)) is not None:
                self._put_inspection(same, None)  # a camera that repeats its numbers: neither frame is lost
            self._pending[judged.camera, judged.frame] = judged

    def take_evidence(self, kept: EvidenceKept) -> None:
        """The picture is on disk (or cannot be): now the inspection is a record."""
        judged = self._pending.pop((kept.camera, kept.frame), None)
        if judged is not None:
            self._put_inspection(judged, kept.sha256)

    def take_closed(self, closed: Closed) -> None:
        """The last counters of a camera that was closed in good order."""
        self._count(closed.camera, closed.counts, None)

    def vision_gone(self) -> None:
        """The vision process is gone: what still waits for its picture becomes a record without one."""
        for judged in self._pending.values():
            self._put_inspection(judged, None)
        self._pending.clear()

    # --- loops --------------------------------------------------------------------------------------------

    async def keep_writing(self) -> None:
        """Append what is put until `close`; what a full disk refuses is tried again first.

        Not to be cancelled while the disk works: what was handed to the log is written all the same.
        """
        closing = False
        while not (closing and self._unwritten.empty()):
            waiting = [await self._unwritten.get()]
            while not self._unwritten.empty():
                waiting.append(self._unwritten.get_nowait())
            closing = closing or None in waiting
            await self._write(deque(item for item in waiting if item is not None))

    async def summarise_coverage(self) -> None:
        """Write each camera's coverage every `coverage_seconds`."""
        while True:
            await asyncio.sleep(self._config.records.coverage_seconds)
            self.flush_coverage()

    async def summarise_tags(self) -> None:
        """Write the tag windows every `tags_seconds`."""
        while True:
            await asyncio.sleep(self._config.records.tags_seconds)
            self.flush_tags()

    def close(self, last: Body) -> None:
        """Put everything that is still held back, then `last`; `keep_writing` returns once it is written."""
        self.vision_gone()
        self.flush_coverage()
        self.flush_tags()
        self.put(last)
        self._unwritten.put_nowait(None)

    def flush_coverage(self) -> None:
        """Close every camera's interval and put its record."""
        for camera, interval in list(self._intervals.items()):
            del self._intervals[camera]
            self.put(self._coverage(camera, interval))

    def flush_tags(self) -> None:
        """Close the tag windows and put their record."""
        began_at, began_mono = self._windows_began
        windows = {
            tag: _tag_window(self._line.units[tag], window) for tag, window in sorted(self._windows.items())
        }
        self._windows.clear()
        self._windows_began = (self._clock.stamp().at, time.monotonic())
        if windows:
            seconds = round(time.monotonic() - began_mono, 3)
            self.put(Tags(began_at=began_at, seconds=seconds, tags=windows))

    def put(self, body: Body, since_mono_ns: int | None = None) -> None:
        """Hand over a body; `since_mono_ns` is when what it tells was known, for the latency of `record`."""
        self._unwritten.put_nowait((body, since_mono_ns))

    # --- inside -------------------------------------------------------------------------------------------

    async def _write(self, waiting: deque[tuple[Body, int | None]]) -> None:
        while waiting:
            written = [asyncio.wrap_future(self._log.submit(body)) for body, _ in waiting]
            outcomes = await asyncio.gather(*written, return_exceptions=True)
            failed = deque[tuple[Body, int | None]]()
            for (body, since), outcome in zip(waiting, outcomes, strict=True):
                if isinstance(outcome, LogUnwritable):
                    failed.append((body, since))
                elif isinstance(outcome, RecordError):
                    self._put_refused(body, outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
                elif since is not None:
                    self.latencies.add({"record": (time.monotonic_ns() - since) / 1e6})
            waiting.clear()
            waiting.extend(failed)
            if failed:
                reason = next(str(outcome) for outcome in outcomes if isinstance(outcome, LogUnwritable))
                self._log_failed(reason)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._log_failed(None)

    def _put_refused(self, body: Body, error: RecordError) -> None:
        """A record that the log can never take leaves a gap that says so."""
        log.error("record refused", kind=body.KIND, error=str(error))
        now = self._clock.stamp().at
        self.put(GapDeclared(what=f"record {body.KIND}", first=now, last=now, reason=str(error)[:500]))

    def _count(self, camera: str, counts: Counts, frame: int | None) -> _Interval:
        interval = self._intervals.get(camera)
        if interval is None:
            stamp = self._clock.stamp()
            interval = _Interval(stamp.at, time.monotonic(), self._line.position_m())
            self._intervals[camera] = interval
        before = self._last_counts.get(camera)
        if before is None and frame is not None:
            self._count_restart(interval, camera, frame - (counts.seen - 1))
        before = before or Counts(0, {})
        interval.seen += counts.seen - before.seen
        for cause, count in counts.dropped.items():
            interval.dropped[cause] += count - before.dropped.get(cause, 0)
        interval.missed.extend(counts.missed_frames)
        totals = self.totals[camera]
        totals.seen += counts.seen - before.seen
        totals.dropped += sum(counts.dropped.values()) - sum(before.dropped.values())
        self._last_counts[camera] = counts
        if frame is not None:
            interval.first_frame = frame if interval.first_frame is None else interval.first_frame
            interval.last_frame = frame
            self._last_frame[camera] = frame
        return interval

    def _count_restart(self, interval: _Interval, camera: str, first: int) -> None:
        """Count the frames that the camera numbered between the last vision process and this one."""
        last = self._last_frame.get(camera)
        if last is None or not 0 < first - last - 1 < 100_000:
            return
        missed = first - last - 1
        interval.seen += missed
        interval.dropped[VISION_RESTART] += missed
        interval.missed.append((last + 1, first - 1))
        self.totals[camera].seen += missed
        self.totals[camera].dropped += missed

    def _coverage(self, camera: str, interval: _Interval) -> Coverage:
        position_m = self._line.position_m()
        metres = None
        if position_m is not None and interval.began_position_m is not None:
            metres = round(position_m - interval.began_position_m, 3)
        latency = {stage: q for stage, ms in interval.stage_ms.items() if (q := quantiles(ms)) is not None}
        return Coverage(
            camera=camera,
            began_at=interval.began_at,
            seconds=round(time.monotonic() - interval.began_mono, 3),
            seen=interval.seen,
            inspected=interval.inspected,
            dropped=dict(interval.dropped),
            missed_frames=tuple(interval.missed),
            verdicts=dict(interval.verdicts),
            latency_ms=latency,
            first_frame=interval.first_frame,
            last_frame=interval.last_frame,
            metres=metres,
        )

    def _put_inspection(self, judged: Judged, sha256: str | None) -> None:
        ready = self.model
        model = ready.model if ready is not None else ModelRef(name="unknown", version="", sha256="")
        position_m = self._line.position_m(judged.arrived_mono_ns)
        body = Inspection(
            camera=judged.camera,
            frame=judged.frame,
            captured_at=utc_text(judged.captured_wall_ns),
            verdict=judged.verdict,
            detections=tuple(
                DetectionBody(
                    label=d.label,
                    confidence=round(d.confidence, 4),
                    x_px=round(d.box.x_px, 1),
                    y_px=round(d.box.y_px, 1),
                    width_px=round(d.box.width_px, 1),
                    height_px=round(d.box.height_px, 1),
                )
                for d in judged.detections
            ),
            recipe=self._config.recipe.name,
            model=model,
            engine=ready.engine if ready is not None else "",
            lot=self._line.lot(),
            position_m=None if position_m is None else round(position_m, 3),
            evidence_sha256=sha256,
        )
        self.put(body, judged.judged_mono_ns)

    def _lot_changed(self) -> None:
        lot = self._line.lot()
        if lot == self._lot:
            return
        position_m = self._line.position_m()
        if self._lot is not None:
            self.put(LotEnded(lot=self._lot, position_m=position_m))
        if lot is not None:
            self.put(LotStarted(lot=lot, position_m=position_m))
        self._lot = lot


def _open_lot(audit_log: AuditLog) -> str | None:
    """The lot that was on the line when the log was last written."""
    with reading(audit_log.path) as connection:
        row = connection.execute(
            "SELECT lot FROM lots WHERE ended_at IS NULL ORDER BY started_seq DESC LIMIT 1"
        ).fetchone()
    return None if row is None else str(row[0])


def _tag_window(unit: str, window: _Window) -> TagWindow:
    numbers = window.numbers
    if not numbers:
        return TagWindow(unit=unit, count=window.count, bad=window.bad, last=window.last)
    return TagWindow(
        unit=unit,
        count=window.count,
        bad=window.bad,
        last=window.last,
        min=min(numbers),
        mean=round(math.fsum(numbers) / len(numbers), 6),
        max=max(numbers),
    )
