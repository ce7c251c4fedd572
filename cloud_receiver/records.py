"""Records read back from the landing files, page by page, in the order of their acceptance.

The order is (batch id, seq). Batches are numbered as they are accepted and never change, so a page that was
read stays as it was while new batches arrive. There is no second copy of a record anywhere.
"""

import base64
import struct
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Row, Select, select

from cloud_receiver.database import batch_kinds, batches
from cloud_receiver.ingest import MAX_KIND_CHARACTERS, read_line
from cloud_receiver.problems import Problem
from cloud_receiver.receiver import Receiver
from sync import record, wire

MAX_PAGE_RECORDS = 1000
_MAX_PAGE_BYTES = 8 * 1024 * 1024
_MAX_BATCHES_READ = 64
_CURSOR = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; None means all."""

    box: str | None = None
    epoch: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    """After this record of this batch."""

    batch: int = 0
    seq: int = 0

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(_CURSOR.pack(self.batch, self.seq)).decode().rstrip("=")


@dataclass(slots=True)
class _Page:
    """A page being filled."""

    at: _Position
    limit: int
    records: list[dict[str, Any]] = field(default_factory=list)
    line_bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.records) >= self.limit or self.line_bytes >= _MAX_PAGE_BYTES


def read_page(receiver: Receiver, wanted: Filter, after: str | None, limit: int) -> bytes:
    """One page as JSON (`answers.RecordPage`). Each record's bytes are those that the box wrote.

    Raises:
        Problem: 400 if `after` is not a cursor that this receiver gave.
        LandingError: if a landing file is gone or was changed.
    """
    page = _Page(_read_cursor(after), limit)
    with receiver.database.read() as connection:
        rows = connection.execute(_batches_after(page.at, wanted)).all()
    for row in rows[:_MAX_BATCHES_READ]:
        _fill(page, row, wanted, receiver.landing.get(row.path, row.sha256))
        if page.full:
            break
    more = len(rows) > _MAX_BATCHES_READ or (bool(rows) and page.at != _Position(rows[-1].id, rows[-1].last))
    return msgspec.json.encode({"records": page.records, "next": page.at.cursor(), "more": more})


def _batches_after(position: _Position, wanted: Filter) -> Select[Any]:
    row = batches.c
    query = select(row.id, row.box, row.epoch, row.first, row.last, row.path, row.sha256, row.received_at)
    query = query.where((row.id > position.batch) | ((row.id == position.batch) & (row.last > position.seq)))
    if wanted.box is not None:
        query = query.where(row.box == wanted.box)
    if wanted.epoch is not None:
        query = query.where(row.epoch == wanted.epoch)
    if wanted.kind is not None:
        query = query.join(batch_kinds, batch_kinds.c.batch == row.id)
        query = query.where(batch_kinds.c.kind == wanted.kind[:MAX_KIND_CHARACTERS])
    return query.order_by(row.id).limit(_MAX_BATCHES_READ + 1)


def _fill(page: _Page, row: Row[Any], wanted: Filter, packed: bytes) -> None:
    start = page.at.seq + 1 if row.id == page.at.batch else row.first
    lines = wire.decode_batch(packed).lines[start - row.first :]
    for seq, line in enumerate(lines, start):
        page.at = _Position(row.id, seq)
        if not _is_wanted(line, seq, wanted):
            continue
        page.records.append(
            {"box": row.box, "epoch": row.epoch, "received_at": row.received_at, "record": msgspec.Raw(line)}
        )
        page.line_bytes += len(line)
        if page.full:
            return


def _is_wanted(line: bytes, seq: int, wanted: Filter) -> bool:
    try:
        read = read_line(line, seq)
    except record.RecordError:
        return False  # it is in `set_aside`, with the reason
    return wanted.kind is None or read.kind == wanted.kind


def _read_cursor(text: str | None) -> _Position:
    if text is None:
        return _Position()
    no_cursor = Problem(400, "malformed", "`after` is no cursor; take it from `next` of the page before")
    try:
        batch, seq = _CURSOR.unpack(base64.b64decode(text + "==", altchars=b"-_", validate=True))
    except (ValueError, struct.error) as error:
        raise no_cursor from error
    if batch < 0 or seq < 0:
        raise no_cursor
    return _Position(batch, seq)
