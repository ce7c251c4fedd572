"""A real log in a folder, with a clock that ticks by itself and keys that never change."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import chain, database, record
from sync.audit_log import AuditLog

BOX = "line-1"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG_VERIFIER = chain.VerifierKey(f"alumiguard/{BOX}", LOG_KEY.public_key())
RECEIVER = chain.SignerKey("receiver.example", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
RECEIPT_KEY = RECEIVER.verifier(chain.ALG_COSIGNATURE)
MODEL = record.ModelRef(name="surface", version="1.0.0", sha256="ab" * 32)


@dataclass
class TickingClock:
    """Each stamp is a millisecond after the one before."""

    ticks: Iterator[int] = field(default_factory=count)

    def stamp(self) -> record.Stamp:
        """Now."""
        tick = next(self.ticks)
        at = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(milliseconds=tick)
        return record.Stamp(
            at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "boot-1", tick * 1_000_000, record.ClockQuality.NTP
        )


def open_log(folder: Path, box: str = BOX, key: Ed25519PrivateKey = LOG_KEY) -> AuditLog:
    """Open (or begin) the log in this folder."""
    return AuditLog.open(folder, box, key, TickingClock())


@contextmanager
def opened(folder: Path) -> Iterator[AuditLog]:
    """The log in this folder, closed in the end."""
    log = open_log(folder)
    try:
        yield log
    finally:
        log.close()


def pull_the_plug(log: AuditLog, folder: Path) -> Path:
    """The folder as a power cut would leave it now; the log itself goes on."""
    copy = folder.with_name(f"{folder.name}-after-power-cut")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm", "box.lock"))
    return copy / log.path.name


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """What a query gives, read only."""
    with database.reading(path) as connection:
        return list(connection.execute(query))


def lines(path: Path) -> list[bytes]:
    """Every record's line, in order."""
    return [bytes(row[0]) for row in rows(path, "SELECT CAST(line AS BLOB) FROM log ORDER BY seq")]  # type: ignore[call-overload]  # a BLOB


async def cosigned(log: AuditLog) -> int:
    """Sign the log where it stands, and take the receiver's receipt for that; returns the size."""
    size = await log.checkpoint()
    (note,) = (row[0] for row in rows(log.path, f"SELECT note FROM checkpoints WHERE size = {size}"))  # noqa: S608
    receipt = chain.cosign(str(note).encode(), RECEIVER, 1_772_366_400 + size)
    return await log.accept_receipt(size, receipt)


async def append_a_shift(log: AuditLog, parts: int = 34) -> None:
    """A bit of everything: lots, NG frames with detections, alarms, judgements, coverage, checkpoints."""
    await log.append(record.BoxStarted(software="test", config_sha256="", after_unclean_stop=False))
    for part in range(parts):
        lot = await log.append(record.LotStarted(lot=f"coil-{part // 10}", position_m=0.0))
        seen = await asyncio.gather(*(log.append(inspection(frame)) for frame in range(part % 4)))
        raised = await log.append(alarm(value=part / 7))
        if part % 3:
            await log.append(record.AlarmAcknowledged(alarm="hot", raised_seq=raised, by="Ana"))
        if part % 2:
            await log.append(record.AlarmCleared(alarm="hot", raised_seq=raised))
        if seen:
            await log.append(judgement(seen[0]))
        await log.append(coverage())
        if lot % 2:
            await log.append(record.LotEnded(lot=f"coil-{part // 10}", position_m=12.5))
        if part % 10 == 9:
            await cosigned(log)


def inspection(frame: int, confidence: float = 0.75, found: int = 2) -> record.Inspection:
    """An NG frame."""
    boxes = tuple(
        record.DetectionBody(
            label="scratch",
            confidence=confidence,
            x_px=10.1 * number,
            y_px=20.0,
            width_px=30.3,
            height_px=4.0,
            position_m=frame * 0.17 if number else None,
        )
        for number in range(found)
    )
    return record.Inspection(
        camera="top",
        frame=frame,
        captured_at="2026-03-01T12:00:00.000000Z",
        verdict=record.Verdict.NG,
        detections=boxes,
        recipe="standard",
        model=MODEL,
        engine="onnx-cpu",
        lot="coil-1",
        position_m=frame * 0.17,
        evidence_sha256="cd" * 32,
    )


def alarm(value: float | str | bool | None = 81.5) -> record.AlarmRaised:  # noqa: FBT001 - a tag's value may be one
    """A temperature that is too high."""
    return record.AlarmRaised(
        alarm="hot",
        priority="high",
        text="Furnace is too hot",
        action="Open the damper",
        value=value,
        limit=80.0,
        unit="°C",
    )


def judgement(seq: int, verdict: record.Judgement = record.Judgement.REAL) -> record.FeedbackFlagged:
    """What an operator says of an inspection."""
    return record.FeedbackFlagged(judgement=verdict, by="Ana", camera="top", inspection_seq=seq)


def coverage() -> record.Coverage:
    """Ten seconds of a camera. Not committed at once."""
    return record.Coverage(
        camera="top",
        began_at="2026-03-01T12:00:00.000000Z",
        seconds=10.0,
        seen=60,
        inspected=59,
        dropped={"newest_wins": 1},
        missed_frames=(),
        verdicts={"OK": 59},
        latency_ms={"infer": record.Quantiles(p50=30.0, p99=41.0, max=52.0)},
        first_frame=1,
        last_frame=60,
        metres=10.2,
    )


def long_record(size_bytes: int) -> record.GapDeclared:
    """A record whose line is a little longer than `size_bytes`."""
    return record.GapDeclared(what="test", first="", last="", reason="x" * size_bytes)
