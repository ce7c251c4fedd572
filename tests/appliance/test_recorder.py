"""From what happens on the line to records in a real log."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import appliance
from appliance.clock import SystemClock
from appliance.config import load
from appliance.line import Line
from appliance.recorder import VISION_RESTART, Recorder
from appliance.vision_link import Closed, Counts, EvidenceKept, Judged, Ready
from drivers.reading import Quality, Reading
from inference.detection import Box, Detection
from sync import record
from sync.audit_log import AuditLog, LogDamaged, LogUnwritable
from sync.database import reading

_CONFIG = load(Path(appliance.__file__).parent / "profiles" / "surface.toml")
_MODEL = record.ModelRef(name="m", version="1", sha256="0" * 64)


class _Bench:
    """A recorder on a real log in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        clock = SystemClock()
        self.log = AuditLog.open(folder, "box-1", Ed25519PrivateKey.generate(), clock)
        self.line = Line(_CONFIG)
        self.troubles: list[str | None] = []
        self.recorder = Recorder(_CONFIG, self.log, self.line, clock, self.troubles.append)
        self.recorder.take_ready(Ready(_MODEL, "onnxruntime", "m 1"))

    async def finish(self) -> None:
        self.recorder.close(record.BoxStopped(reason="the end"))
        await self.recorder.keep_writing()

    def records(self, kind: str) -> list[record.Body]:
        with reading(self.log.path) as connection:
            rows = connection.execute(
                "SELECT CAST(line AS BLOB) FROM log WHERE kind = ? ORDER BY seq", (kind,)
            )
            bodies = [record.typed_body(record.decode(line)) for (line,) in rows]
        return [body for body in bodies if body is not None]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[_Bench]:
    bench = _Bench(tmp_path)
    yield bench
    bench.log.close()


def _judged(frame: int, seen: int, verdict: record.Verdict = record.Verdict.OK, **dropped: int) -> Judged:
    now = time.monotonic_ns()
    return Judged(
        camera="top",
        frame=frame,
        verdict=verdict,
        detections=(Detection("scratch", 0.91, Box(1, 2, 3, 4)),) if verdict != record.Verdict.OK else (),
        captured_wall_ns=0,
        arrived_mono_ns=now,
        judged_mono_ns=now,
        width_px=1280,
        height_px=1024,
        stage_ms={"infer": 10.0 + frame},
        counts=Counts(seen, dropped),
    )


async def test_coverage_adds_up_and_names_what_was_missed(bench: _Bench) -> None:
    bench.recorder.take_judged(_judged(1, 1))
    bench.recorder.take_judged(_judged(5, 5, superseded=3))
    bench.recorder.take_closed(Closed("top", Counts(7, {"superseded": 3, "stopped": 2}, ((6, 7),))))
    await bench.finish()
    (coverage,) = bench.records("coverage")
    assert isinstance(coverage, record.Coverage)
    assert (coverage.seen, coverage.inspected, dict(coverage.dropped)) == (
        7,
        2,
        {"superseded": 3, "stopped": 2},
    )
    assert (coverage.first_frame, coverage.last_frame, coverage.missed_frames) == (1, 5, ((6, 7),))
    assert coverage.latency_ms["infer"].max == 15.0


async def test_frames_that_passed_while_the_vision_process_restarted_are_counted(bench: _Bench) -> None:
    bench.recorder.take_judged(_judged(10, 1))
    bench.recorder.vision_gone()
    bench.recorder.take_ready(Ready(_MODEL, "onnxruntime", "m 1"))
    bench.recorder.take_judged(_judged(20, 3, superseded=2))  # its first frame was number 18
    await bench.finish()
    (coverage,) = bench.records("coverage")
    assert isinstance(coverage, record.Coverage)
    assert dict(coverage.dropped) == {VISION_RESTART: 7, "superseded": 2}
    assert coverage.seen == coverage.inspected + 9
    assert (11, 17) in coverage.missed_frames


async def test_a_rejected_frame_is_a_record_once_its_picture_is_safe(bench: _Bench) -> None:
    bench.recorder.take_judged(_judged(1, 1, record.Verdict.NG))
    bench.recorder.take_judged(_judged(2, 2, record.Verdict.CHECK))
    bench.recorder.take_evidence(EvidenceKept("top", 1, "ab" * 32))
    await bench.finish()  # the second one's picture never came
    first, second = bench.records("inspection")
    assert isinstance(first, record.Inspection)
    assert isinstance(second, record.Inspection)
    assert (first.frame, first.verdict, first.evidence_sha256) == (1, record.Verdict.NG, "ab" * 32)
    assert (second.frame, second.verdict, second.evidence_sha256) == (2, record.Verdict.CHECK, None)
    assert first.model == _MODEL
    assert first.detections[0].label == "scratch"


async def test_a_new_lot_ends_the_one_before(bench: _Bench) -> None:
    for lot in ("A-1", "A-1", "A-2"):
        bench.line.take(taken := Reading("coil_id", lot, Quality.GOOD, time.monotonic_ns()))
        bench.recorder.take_reading(taken)
    await bench.finish()
    assert [body.lot for body in bench.records("lot.started") if isinstance(body, record.LotStarted)] == [
        "A-1",
        "A-2",
    ]
    assert [body.lot for body in bench.records("lot.ended") if isinstance(body, record.LotEnded)] == ["A-1"]


async def test_bad_readings_are_counted_and_do_not_touch_the_mean(bench: _Bench) -> None:
    values = [
        (44.0, Quality.GOOD),
        (None, Quality.BAD),
        (46.0, Quality.GOOD),
        (float("inf"), Quality.UNCERTAIN),
    ]
    for value, quality in values:
        bench.recorder.take_reading(Reading("coolant_celsius", value, quality, time.monotonic_ns()))
    await bench.finish()
    (tags,) = bench.records("tags")
    assert isinstance(tags, record.Tags)
    window = tags.tags["coolant_celsius"]
    assert (window.count, window.bad, window.min, window.mean, window.max) == (4, 1, 44.0, 45.0, 46.0)


async def test_what_a_full_disk_refuses_is_written_once_it_takes_it_and_only_once(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.recorder.RETRY_SECONDS", 0.01)
    submit, refusals = bench.log.submit, iter(range(3))

    def sometimes_full(body: record.Body) -> Future[int]:
        if next(refusals, None) is None:
            return submit(body)
        refused: Future[int] = Future()
        refused.set_exception(LogUnwritable("the disk is full"))
        return refused

    monkeypatch.setattr(bench.log, "submit", sometimes_full)
    for frame in (1, 2, 3):
        bench.recorder.take_judged(_judged(frame, frame, record.Verdict.NG))
        bench.recorder.take_evidence(EvidenceKept("top", frame, None))
    async with asyncio.timeout(10):
        await bench.finish()
    inspections = bench.records("inspection")
    frames = sorted(body.frame for body in inspections if isinstance(body, record.Inspection))
    assert frames == [1, 2, 3]
    assert bench.troubles[0] == "the disk is full"
    assert bench.troubles[-1] is None


async def test_a_log_that_is_damaged_ends_the_recorder(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_body: record.Body) -> Future[int]:
        refused: Future[int] = Future()
        refused.set_exception(LogDamaged("a page is gone"))
        return refused

    monkeypatch.setattr(bench.log, "submit", damaged)
    with pytest.raises(LogDamaged):
        await bench.finish()


async def test_a_record_that_the_log_can_never_take_leaves_a_gap_that_says_so(bench: _Bench) -> None:
    bench.recorder.put(record.BoxStopped(reason="x" * record.MAX_LINE_BYTES))
    await bench.finish()
    (gap,) = bench.records("gap.declared")
    assert isinstance(gap, record.GapDeclared)
    assert gap.what == "record box.stopped"
