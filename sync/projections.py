"""Tables to look things up in, filled from the log in the transaction that appends to it.

Both ways in, appending and rebuilding, go through `project` with the record as it reads back from its line,
so that they cannot differ.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sync import record
from sync.database import Connection, transaction


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm that is active, or cleared and not yet acknowledged. `raised_seq` identifies it."""

    raised_seq: int
    alarm: str
    priority: str
    text: str
    action: str
    raised_at: str
    value: float | str | bool | None
    unit: str
    acknowledged_by: str | None
    active: bool


TABLES = ("inspections", "detections", "alarms", "lots")


def project(connection: Connection, read: record.Record) -> None:
    """Bring one record into the tables; kinds that have no table are passed over.

    Raises:
        RecordError: if the body is not what its kind says (a NaN, for example, reads back as null).
    """
    fill = _FILLS.get(read.kind)
    if fill is None:
        return
    body = record.typed_body(read)
    if body is not None:
        fill(connection, read, body)


def is_projected(kind: str) -> bool:
    """Whether records of this kind reach a table."""
    return kind in _FILLS


def rebuild(connection: Connection) -> None:
    """Empty the tables and fill them from the log again, in one transaction."""
    kinds = ", ".join("?" * len(_FILLS))
    query = f"SELECT CAST(line AS BLOB) FROM log WHERE kind IN ({kinds}) ORDER BY seq"  # noqa: S608 - only marks
    with transaction(connection):
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - TABLES is ours
        for (line,) in connection.execute(query, tuple(_FILLS)):
            project(connection, record.decode(line))


def open_alarms(connection: Connection) -> list[OpenAlarm]:
    """The alarms that stand or are not acknowledged, oldest first."""
    rows = connection.execute(
        "SELECT raised_seq, alarm, priority, text, action, raised_at, value, unit, acknowledged_by,"
        " cleared_at IS NULL FROM alarms WHERE cleared_at IS NULL OR acknowledged_at IS NULL"
        " ORDER BY raised_seq"
    )
    return [_open_alarm(row) for row in rows]


def _open_alarm(row: tuple[Any, ...]) -> OpenAlarm:
    seq, alarm, priority, text, action, raised_at, value, unit, acknowledged_by, active = row
    read = None if value is None else msgspec.json.decode(value)
    return OpenAlarm(seq, alarm, priority, text, action, raised_at, read, unit, acknowledged_by, bool(active))


def _inspection(connection: Connection, read: record.Record, body: record.Inspection) -> None:
    connection.execute(
        "INSERT INTO inspections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (
            read.seq,
            read.at,
            body.camera,
            body.frame,
            body.verdict.value,
            body.recipe,
            body.lot,
            body.position_m,
            body.evidence_sha256,
        ),
    )
    connection.executemany(
        "INSERT INTO detections VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (read.seq, d.label, d.confidence, d.x_px, d.y_px, d.width_px, d.height_px, d.position_m)
            for d in body.detections
        ],
    )


def _alarm_raised(connection: Connection, read: record.Record, body: record.AlarmRaised) -> None:
    value = None if body.value is None else msgspec.json.encode(body.value).decode()
    connection.execute(
        "INSERT INTO alarms VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
        (read.seq, body.alarm, body.priority, body.text, body.action, read.at, value, body.unit),
    )


def _alarm_acknowledged(connection: Connection, read: record.Record, body: record.AlarmAcknowledged) -> None:
    """The first acknowledgement stands."""
    connection.execute(
        "UPDATE alarms SET acknowledged_by = ?, acknowledged_at = ?"
        " WHERE raised_seq = ? AND acknowledged_at IS NULL",
        (body.by, read.at, body.raised_seq),
    )


def _alarm_cleared(connection: Connection, read: record.Record, body: record.AlarmCleared) -> None:
    connection.execute(
        "UPDATE alarms SET cleared_at = ? WHERE raised_seq = ? AND cleared_at IS NULL",
        (read.at, body.raised_seq),
    )


def _flagged(connection: Connection, _read: record.Record, body: record.FeedbackFlagged) -> None:
    """The latest judgement stands."""
    connection.execute(
        "UPDATE inspections SET judgement = ?, judged_by = ? WHERE seq = ?",
        (body.judgement.value, body.by, body.inspection_seq),
    )


def _lot_started(connection: Connection, read: record.Record, body: record.LotStarted) -> None:
    connection.execute("INSERT INTO lots VALUES (?, ?, ?, NULL)", (read.seq, body.lot, read.at))


def _lot_ended(connection: Connection, read: record.Record, body: record.LotEnded) -> None:
    """Ends the newest lot of that name that has not ended."""
    connection.execute(
        "UPDATE lots SET ended_at = ? WHERE started_seq ="
        " (SELECT max(started_seq) FROM lots WHERE lot = ? AND ended_at IS NULL)",
        (read.at, body.lot),
    )


_FILLS: Mapping[str, Callable[[Connection, record.Record, Any], None]] = {
    record.Inspection.KIND: _inspection,
    record.AlarmRaised.KIND: _alarm_raised,
    record.AlarmAcknowledged.KIND: _alarm_acknowledged,
    record.AlarmCleared.KIND: _alarm_cleared,
    record.FeedbackFlagged.KIND: _flagged,
    record.LotStarted.KIND: _lot_started,
    record.LotEnded.KIND: _lot_ended,
}
