"""The lookup tables, checked against the log by a second derivation that shares nothing with the first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import apsw
import msgspec

from sync import database, record

_CHANGES = ("feedback.flagged", "alarm.acknowledged", "alarm.cleared", "lot.started", "lot.ended")
_ROWS = ("inspection", "alarm.raised", "lot.started")


@dataclass(slots=True)
class _Changes:
    """What later records say of earlier ones, by the seq of the earlier one."""

    judged: dict[int, tuple[str, str]] = field(default_factory=dict)
    acknowledged: dict[int, tuple[str, str]] = field(default_factory=dict)
    cleared: dict[int, str] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)


def differences(connection: database.Connection) -> Iterator[str]:
    """The first row of each lookup table that is not what the log says, as a sentence."""
    try:
        changes = _changes(connection)
    except (apsw.Error, record.RecordError) as error:
        yield f"the lookup tables cannot be checked, because the log cannot be read: {error}"
        return
    expected = {
        "inspections": _inspections(connection, changes),
        "detections": _detections(connection),
        "alarms": _alarms(connection, changes),
        "lots": _lots(connection, changes),
    }
    for table, rows in expected.items():
        yield from _compare(connection, table, rows)


def _compare(
    connection: database.Connection, table: str, expected: Iterable[tuple[Any, ...]]
) -> Iterator[str]:
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 - one of four names
    try:
        for row, wanted in zip_longest(rows, expected):
            if row != wanted:
                seq = (wanted or row)[0]
                yield f"the table {table} differs from the log at seq {seq}: rebuild it"
                return
    except (apsw.Error, UnicodeDecodeError, record.RecordError) as error:
        yield f"the table {table} cannot be compared with the log: {error}"


def _bodies(connection: database.Connection, *kinds: str) -> Iterator[tuple[record.Record, Any]]:
    marks = ", ".join("?" * len(kinds))
    query = f"SELECT CAST(line AS BLOB) FROM log WHERE kind IN ({marks}) ORDER BY seq"  # noqa: S608 - only marks
    for (line,) in connection.execute(query, kinds):
        read = record.decode(line or b"")
        if read.kind not in kinds:
            raise record.RecordError(f"seq {read.seq}: the table log does not say of what kind it is")
        yield read, record.typed_body(read)


def _changes(connection: database.Connection) -> _Changes:
    changes = _Changes()
    open_lots: dict[str, list[int]] = {}
    for read, body in _bodies(connection, *_CHANGES):
        match body:
            case record.FeedbackFlagged(inspection_seq=int(seq)) if seq < read.seq:
                changes.judged[seq] = (body.judgement.value, body.by)
            case record.AlarmAcknowledged(raised_seq=seq) if seq < read.seq:
                changes.acknowledged.setdefault(seq, (body.by, read.at))
            case record.AlarmCleared(raised_seq=seq) if seq < read.seq:
                changes.cleared.setdefault(seq, read.at)
            case record.LotStarted():
                open_lots.setdefault(body.lot, []).append(read.seq)
            case record.LotEnded() if open_lots.get(body.lot):
                changes.ended[open_lots[body.lot].pop()] = read.at
            case _:
                pass
    return changes


def _inspections(connection: database.Connection, changes: _Changes) -> Iterator[tuple[Any, ...]]:
    for read, body in _bodies(connection, "inspection"):
        yield (
            read.seq,
            read.at,
            body.camera,
            body.frame,
            body.verdict.value,
            body.recipe,
            body.lot,
            body.position_m,
            body.evidence_sha256,
            *changes.judged.get(read.seq, (None, None)),
        )


def _detections(connection: database.Connection) -> Iterator[tuple[Any, ...]]:
    for read, body in _bodies(connection, "inspection"):
        for found in body.detections:
            box = (found.x_px, found.y_px, found.width_px, found.height_px)
            yield (read.seq, found.label, found.confidence, *box, found.position_m)


def _alarms(connection: database.Connection, changes: _Changes) -> Iterator[tuple[Any, ...]]:
    for read, body in _bodies(connection, "alarm.raised"):
        yield (
            read.seq,
            body.alarm,
            body.priority,
            body.text,
            body.action,
            read.at,
            None if body.value is None else msgspec.json.encode(body.value).decode(),
            body.unit,
            *changes.acknowledged.get(read.seq, (None, None)),
            changes.cleared.get(read.seq),
        )


def _lots(connection: database.Connection, changes: _Changes) -> Iterator[tuple[Any, ...]]:
    for read, body in _bodies(connection, "lot.started"):
        yield read.seq, body.lot, read.at, changes.ended.get(read.seq)
