"""What goes out next: the stretch of the log from a position to the next checkpoint, always the same bytes.

The log itself is the outbox. A position is a seq; moving it back sends the same batches again.
"""

from dataclasses import dataclass
from pathlib import Path

import apsw

from sync import chain, database, wire


class OutboxUnreadable(Exception):
    """The log could not be read for a batch."""


class Forked(Exception):
    """The receiver holds another history of this epoch than this box. Only a new epoch can be sent on."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch ready to be sent: records `first` to `last`, and the checkpoint note that it ends with."""

    first: int
    last: int
    note: bytes
    packed: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the receiver holds an epoch: its last seq (0: nothing) and the chain head there, in hex."""

    epoch: str
    seq: int
    head: str


def next_batch(path: Path, after: int) -> Outgoing | None:
    """The batch that follows seq `after`; None when no checkpoint lies beyond it yet. Opens the database.

    Raises:
        OutboxUnreadable: if the database cannot be read, or a record in the stretch is missing.
    """
    try:
        with database.reading(path) as connection:
            row = connection.execute(
                "SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT 1", (after,)
            ).fetchone()
            return None if row is None else _pack(connection, after, row[0], row[1].encode())
    except apsw.Error as error:
        raise _unreadable(path, str(error)) from error


def position(path: Path, mark: Mark) -> int:
    """Where to go on for a receiver that stands at `mark`, after it was restored or lost our receipts.

    Raises:
        Forked: if this log never was where the receiver stands.
        OutboxUnreadable: if the database cannot be read.
    """
    try:
        with database.reading(path) as connection:
            box, epoch = _names(connection)
            if mark.epoch != epoch:
                raise Forked(f"the receiver answers for epoch {mark.epoch!r}; this log is epoch {epoch!r}")
            head = _chain_at(connection, box, epoch, mark.seq)
    except apsw.Error as error:
        raise _unreadable(path, str(error)) from error
    if head is None:
        raise Forked(f"the receiver holds records up to {mark.seq}; this log does not reach that far")
    if head.hex() != mark.head:
        raise Forked(f"the receiver holds another history up to record {mark.seq} than this log")
    return mark.seq


def _pack(connection: database.Connection, after: int, size: int, note: bytes) -> Outgoing:
    box, epoch = _names(connection)
    previous = _chain_at(connection, box, epoch, after)
    rows = connection.execute(
        "SELECT CAST(line AS BLOB) FROM log WHERE seq > ? AND seq <= ? ORDER BY seq", (after, size)
    )
    lines = [line for (line,) in rows]
    if previous is None or len(lines) != size - after:
        raise apsw.CorruptError(f"records {after} to {size} are not all there")
    header = wire.BatchHeader(box, epoch, after + 1, size, previous.hex())
    return Outgoing(after + 1, size, note, wire.encode_batch(header, lines, note))


def _names(connection: database.Connection) -> tuple[str, str]:
    box, epoch = connection.execute("SELECT box, epoch FROM epochs").get
    return box, epoch


def _chain_at(connection: database.Connection, box: str, epoch: str, seq: int) -> bytes | None:
    if seq == 0:
        return chain.chain_start(box, epoch)
    row = connection.execute("SELECT chain FROM log WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else bytes(row[0])


def _unreadable(path: Path, reason: str) -> OutboxUnreadable:
    return OutboxUnreadable(f"{path} cannot be read ({reason}): run `alumiguard audit verify`")
