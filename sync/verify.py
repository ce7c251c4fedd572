"""Is this log whole and unchanged? Reads everything, trusts nothing, repairs nothing.

It shares with the appender only the definitions (`chain`, `record`, the schema), so that a mistake there
cannot hide itself here. Every record, chain value, checkpoint, receipt and lookup table is checked against
the others, and the file against SQLite's own rules; what is left are bytes that carry nothing (free space).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from sync import chain, database, record, schema, verify_tables, wal

MAX_PROBLEMS = 100
"""More than this are not listed: the first ones tell."""

_MAX_STEP = 2**40


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold. `seq` is the record it is about; None for the file as such."""

    seq: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.seq is None else f"seq {self.seq}: {self.text}"


@dataclass(slots=True)
class Report:
    """What was checked, and what was found.

    Attributes:
        records, checkpoints, receipts: how many were read.
        head: the chain after the last record, in hex; "" if there is none.
        problems: what does not hold, in the order of the log as far as possible; at most MAX_PROBLEMS.
        remarks: what could not be checked for want of a key, and what is worth knowing and no problem.
    """

    box: str = ""
    epoch: str = ""
    records: int = 0
    checkpoints: int = 0
    receipts: int = 0
    head: str = ""
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    @property
    def first_bad_seq(self) -> int | None:
        """The lowest record that does not hold."""
        return min((problem.seq for problem in self.problems if problem.seq is not None), default=None)

    def found(self, seq: int | None, text: str) -> None:
        """Add a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(seq, text))


@dataclass(slots=True)
class _Walk:
    """Where the walk along the log is.

    `heads` are the chain values that the record before may have had: the one computed, and the one stored if
    that differs. Empty after a hole. `frontier` is None once the tree cannot be known any more.
    """

    heads: tuple[bytes, ...]
    frontier: chain.Frontier | None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class _Keys:
    log: chain.VerifierKey | None
    receipt: chain.VerifierKey | None


def verify_log(
    path: Path, log_key: chain.VerifierKey | None, receipt_key: chain.VerifierKey | None = None
) -> Report:
    """Check a box's database, also while its box is writing it.

    Args:
        path: the `box.db`, with its `-wal` beside it if there is one.
        log_key: the public log key; without it no signature can be checked, and somebody who can write the
            file could have made a new log altogether.
        receipt_key: the receiver's key; without it the receipts are not checked.

    Returns:
        The report. Damage is never raised.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: name the box.db in the box's storage folder")
    report = Report()
    _check_wal(report, path)
    try:
        connection = database.open_reader(path)
    except apsw.Error as error:
        report.found(None, f"the file cannot be opened as a database: {error}")
        return report
    try:
        connection.execute("BEGIN")  # one state of the log, whatever is appended meanwhile
        _check_content(report, connection, _Keys(log_key, receipt_key))
    finally:
        connection.close(force=True)
    return report


def _check_content(report: Report, connection: database.Connection, keys: _Keys) -> None:
    checks = (_check_schema, _check_pages, _check_epoch, partial(_check_log, keys=keys), _check_marks)
    for check in (*checks, _check_frontier, _check_tables):
        try:
            check(report, connection)
        except (apsw.Error, UnicodeDecodeError) as error:
            report.found(None, f"the file is damaged: {error}")
    if keys.log is None:
        report.remarks.append("the signatures of the checkpoints are not checked: no log key was given")
    if keys.receipt is None and report.receipts:
        report.remarks.append("the receiver's cosignatures are not checked: no receipt key was given")


# --- the file ---------------------------------------------------------------------------------------------


def _check_wal(report: Report, path: Path) -> None:
    finding = wal.check(path.with_name(path.name + "-wal"))
    if finding.damage:
        report.found(None, finding.damage)
    if finding.remark:
        report.remarks.append(finding.remark)


def _check_schema(report: Report, connection: database.Connection) -> None:
    """The tables have to be exactly those of this version; a changed one could hide rows."""
    version = connection.pragma("user_version")
    if connection.pragma("application_id") != schema.APPLICATION_ID:
        report.found(None, "the file's application id is not that of a box's log")
    if version != len(schema.MIGRATIONS):
        report.found(None, f"the file's schema is {version}, this program verifies {len(schema.MIGRATIONS)}")
        return
    wanted = database.open_memory()
    schema.migrate(wanted)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid"
    if connection.execute(query).fetchall() != wanted.execute(query).fetchall():
        report.found(None, "the tables are not defined as this version defines them")
    wanted.close()


def _check_pages(report: Report, connection: database.Connection) -> None:
    try:
        findings = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    except apsw.Error as error:
        findings = [str(error)]
    for finding in findings:
        if finding != "ok":
            report.found(None, f"SQLite finds the file damaged: {finding}")


def _check_epoch(report: Report, connection: database.Connection) -> None:
    epochs = connection.execute("SELECT epoch, box FROM epochs").fetchall()
    if len(epochs) == 1:
        report.epoch, report.box = map(str, epochs[0])
    else:
        report.found(None, f"the file names {len(epochs)} epochs instead of one")


# --- the log ----------------------------------------------------------------------------------------------


def _check_log(report: Report, connection: database.Connection, keys: _Keys) -> None:
    walk = _Walk((chain.chain_start(report.box, report.epoch),), chain.Frontier())
    checkpoints = _checkpoints(report, connection)
    checkpoint = next(checkpoints, None)
    for seq, kind, line, stored in _rows(report, connection):
        _check_record(report, walk, seq, kind, line, stored)
        while checkpoint is not None and checkpoint[0] <= seq:
            _check_checkpoint(report, walk, checkpoint, keys)
            checkpoint = next(checkpoints, None)
    if walk.heads:
        report.head = walk.heads[0].hex() if walk.seq else ""
    for size, *_ in (checkpoint, *checkpoints) if checkpoint is not None else ():
        report.found(walk.seq + 1, f"the log ends here, and a checkpoint signs {size} records")


def _rows(report: Report, connection: database.Connection) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Every record that can be read, in order; what lies on a damaged page is reported and stepped over."""
    query = (
        "SELECT seq, CAST(kind AS BLOB), CAST(line AS BLOB), CAST(chain AS BLOB) FROM log"
        " WHERE seq > ? ORDER BY seq"
    )
    seq, step = 0, 0
    while True:
        try:
            for row in connection.execute(query, (seq + step,)):
                seq, step = row[0], 0
                yield seq, row[1] or b"", row[2] or b"", row[3] or b""
        except apsw.Error as error:
            if not step:
                report.found(seq + 1, f"cannot be read: {error}")
            step = 2 * step + 1  # a damaged page holds unknown many
            if step > _MAX_STEP:
                return
        else:
            return


def _check_record(report: Report, walk: _Walk, seq: int, kind: bytes, line: bytes, stored: bytes) -> None:
    if seq != walk.seq + 1:
        report.found(walk.seq + 1, f"records {walk.seq + 1} to {seq - 1} are missing")
        walk.heads, walk.frontier = (), None
    leaf = chain.leaf_hash(line)
    computed = [chain.chain_step(head, leaf) for head in walk.heads]
    if computed and stored not in computed:
        report.found(seq, "the record does not fit the chain: its line or its chain value was changed")
        walk.heads = (computed[0], stored)
        walk.frontier = None
    else:
        walk.heads = (stored,)
    walk.seq, walk.frontier = seq, walk.frontier and walk.frontier.append(leaf)
    report.records += 1
    _check_line(report, seq, kind, line)


def _check_line(report: Report, seq: int, kind: bytes, line: bytes) -> None:
    try:
        read = record.decode(line)
    except record.RecordError as error:
        report.found(seq, f"the line is {error}")
        return
    if read.seq != seq:
        report.found(seq, f"the line says that it is seq {read.seq}")
    if read.kind.encode() != kind:
        report.found(seq, f"the line is a {read.kind}, the table says {kind.decode(errors='replace')}")


# --- checkpoints and marks --------------------------------------------------------------------------------


def _checkpoints(report: Report, connection: database.Connection) -> Iterator[tuple[Any, ...]]:
    query = "SELECT size, CAST(note AS BLOB), CAST(cosigned AS BLOB) FROM checkpoints ORDER BY size"
    try:
        yield from connection.execute(query)
    except apsw.Error as error:
        report.found(None, f"the checkpoints cannot all be read: {error}")


def _check_checkpoint(report: Report, walk: _Walk, row: tuple[Any, ...], keys: _Keys) -> None:
    size, note, cosigned = row
    report.checkpoints += 1
    origin = chain.checkpoint_origin(report.box, report.epoch)
    try:
        body = chain.note_body(note or b"")
        signed = chain.parse_checkpoint(body)
        if keys.log is not None:
            chain.open_note(note, chain.VerifierKey(origin, keys.log.public_key))
        if cosigned is not None:
            report.receipts += 1
            _check_receipt(note, cosigned, keys.receipt)
    except chain.NoteError as error:
        report.found(size, f"the checkpoint does not hold: {error}")
        return
    if (signed.origin, signed.size) != (origin, size):
        report.found(size, f"the checkpoint signs {signed.size} records of {signed.origin!r}")
    elif size == walk.seq and walk.heads and signed.head not in walk.heads:
        report.found(size, "the checkpoint signs another chain: a record at or before it was changed")
    elif size == walk.seq and walk.frontier is not None and signed.root != walk.frontier.root():
        report.found(size, "the checkpoint signs another tree: a record at or before it was changed")


def _check_receipt(note: bytes, cosigned: bytes, key: chain.VerifierKey | None) -> None:
    if not cosigned.startswith(note):
        raise chain.NoteError("its receipt is for another note")
    chain.note_body(cosigned)
    if key is not None:
        chain.open_cosignature(cosigned, key)


def _check_frontier(report: Report, connection: database.Connection) -> None:
    """The last checkpoint, and no other, keeps the right edge of the tree that it signs."""
    query = "SELECT size, CAST(note AS BLOB), CAST(frontier AS BLOB) FROM checkpoints ORDER BY size DESC"
    for number, (size, note, stored) in enumerate(connection.execute(query)):
        if number > 0:
            if stored is not None:
                report.found(size, "a checkpoint that is not the last keeps a tree")
            continue
        try:
            signed = chain.parse_checkpoint(chain.note_body(note or b""))
            kept = chain.Frontier.from_bytes(stored or b"")
        except ValueError as error:
            report.found(size, f"the checkpoint or its tree cannot be read: {error}")
        else:
            if (kept.size, kept.root()) != (size, signed.root):
                report.found(size, "the kept tree is not the one that the checkpoint signs")


def _check_tables(report: Report, connection: database.Connection) -> None:
    for text in verify_tables.differences(connection):
        report.found(None, text)


def _check_marks(report: Report, connection: database.Connection) -> None:
    """The mark of a clean stop, and the name of the epoch before, say what the log says."""
    for seq, stored in connection.execute("SELECT seq, chain FROM clean_stop"):
        there = connection.execute("SELECT chain FROM log WHERE seq = ?", (seq,)).fetchone()
        if there is None or there[0] != stored:
            report.found(seq, "the log was closed here with another chain")
    previous = connection.execute("SELECT previous_epoch, previous_seq, previous_chain FROM epochs").get
    first = connection.execute("SELECT CAST(line AS BLOB) FROM log WHERE seq = 1").fetchone()
    if first is None:
        return
    try:
        body = record.decode(first[0] or b"").body
    except record.RecordError:
        return  # said already
    said = body.get("previous")
    said = said if isinstance(said, dict) else {}
    if previous != (said.get("epoch"), said.get("seq"), said.get("chain")):
        report.found(1, "the first record does not name the epoch before as the file does")
