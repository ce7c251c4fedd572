"""An epoch is one file: how it begins, how it is opened again, and what happens when it is damaged.

A damaged file is set aside under a name that tells its epoch, with its WAL, and can be verified there. The
new file is made whole first, then the old one is moved, then the new one takes its place; a power cut between
two of these steps is continued at the next start.
"""

import base64
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import apsw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import chain, database, durable, record, schema, wal
from sync.chain import Frontier

DATABASE = "box.db"
_MAKING = "box.db.making"
_NEXT = "box.db.next"
_SIDES = ("-wal", "-shm")
_QUICK_CHECK_BYTES = 64 * 1024 * 1024
"""Up to this size SQLite's quick check runs at boot after an unclean stop: about 0.1 s from a warm disk."""


_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError)
_PLAIN_EPOCH = re.compile(r"[a-z2-7]{16}")


class EpochBroken(Exception):
    """The file is damaged. The message says what was found; `previous` is the last head that can be told."""

    def __init__(self, reason: str, previous: record.PreviousEpoch | None) -> None:
        super().__init__(reason)
        self.previous = previous


class WrongBox(RuntimeError):
    """The file is whole and belongs to another box."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where an epoch stands: its last record, the chain and the tree there, and what no checkpoint covers."""

    epoch: str
    seq: int
    chain: bytes
    frontier: Frontier
    checkpoint_seq: int
    bytes_since_checkpoint: int


@dataclass(frozen=True, slots=True)
class OpenedEpoch:
    """An epoch that is ready to be appended to."""

    connection: database.Connection
    head: Head
    receipted_through: int
    last_at: str | None
    after_unclean_stop: bool
    previous: record.PreviousEpoch | None
    set_aside: Path | None
    break_reason: str


def open_epoch(folder: Path, box: str, key: Ed25519PrivateKey) -> OpenedEpoch:
    """Open the folder's epoch, begin its first, or set a damaged one aside and begin the next.

    Raises:
        WrongBox: if the file is another box's.
        SchemaTooNew: if a newer version of this program wrote it.
        apsw.Error, OSError: if the disk refuses (full, read-only, no rights). Nothing was set aside then.
    """
    durable.make_folder(folder)
    path = folder / DATABASE
    _finish_setting_aside(folder)
    if not path.exists():
        _begin(folder, box, None)
        _finish_setting_aside(folder)
    try:
        return _opened(path, box, key, None, "")
    except EpochBroken as broken:
        reason, previous = str(broken), broken.previous
    _begin(folder, box, previous)
    aside = _set_aside(folder, previous)
    _finish_setting_aside(folder)
    return _opened(path, box, key, aside, reason)


def open_head(path: Path, box: str, key: Ed25519PrivateKey) -> tuple[database.Connection, Head]:
    """Open the database of an epoch to write, its tail verified.

    Raises:
        EpochBroken: if it is damaged.
        WrongBox, SchemaTooNew, apsw.Error: as `open_epoch` does.
    """
    connection: database.Connection | None = None
    try:
        _check_wal(path)
        connection = database.open_writer(path)
        schema.migrate(connection)
        return connection, read_head(connection, box, key)
    except BaseException as error:
        if connection is not None:
            _let_go(connection)
        if isinstance(error, _DAMAGE) or _is_unreadable_sector(error):
            raise EpochBroken(f"{DATABASE} is damaged: {error}", _last_known_head(path, box, key)) from error
        if isinstance(error, _TailBroken):
            raise EpochBroken(str(error), _last_known_head(path, box, key)) from error
        raise


def read_head(connection: database.Connection, box: str, key: Ed25519PrivateKey) -> Head:
    """Where the epoch stands, with every record after its last checkpoint verified.

    Raises:
        WrongBox: if a checkpoint signs for another box.
    """
    epoch = _epoch_id(connection, box)
    start = _last_checkpoint(connection, box, epoch, key)
    frontier, head, size = start.frontier, start.chain, 0
    rows = "SELECT seq, CAST(line AS BLOB), chain FROM log WHERE seq > ? ORDER BY seq"
    for seq, stored_line, stored in connection.execute(rows, (start.seq,)):
        line = stored_line or b""  # damage can turn any value into NULL
        leaf = chain.leaf_hash(line)
        head, frontier = chain.chain_step(head, leaf), frontier.append(leaf)
        size += len(line)
        if seq != frontier.size:
            raise _TailBroken(f"seq {frontier.size} is missing from the log")
        if stored != head:
            raise _TailBroken(f"seq {seq}: the record does not fit the chain")
    return Head(epoch, frontier.size, head, frontier, start.seq, size)


class _TailBroken(Exception):
    """What was found when the tail was verified."""


def _check_wal(path: Path) -> None:
    """SQLite would go on after what it can read of a damaged WAL: a shorter log that looks whole."""
    damage = wal.check(path.with_name(path.name + "-wal")).damage
    if damage:
        raise _TailBroken(damage)


def _let_go(connection: database.Connection) -> None:
    """Close a file that may be damaged and leave it, and its WAL, as they were found."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(force=True)


def _is_unreadable_sector(error: BaseException) -> bool:
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_READ


def _opened(path: Path, box: str, key: Ed25519PrivateKey, aside: Path | None, reason: str) -> OpenedEpoch:
    connection, head = open_head(path, box, key)
    try:
        unclean = not _stopped_cleanly(connection, head)
        if unclean and path.stat().st_size <= _QUICK_CHECK_BYTES:
            _quick_check(connection)
        receipted = connection.execute(
            "SELECT ifnull(max(size), 0) FROM checkpoints WHERE cosigned IS NOT NULL"
        ).get
        previous = _previous(connection) if head.seq == 0 else None
        unclean = unclean or previous is not None
        last_at = _last_at(connection, head)
    except (*_DAMAGE, record.RecordError) as error:
        _let_go(connection)
        raise EpochBroken(f"{DATABASE} is damaged: {error}", _as_previous(head)) from error
    except BaseException:
        _let_go(connection)
        raise
    return OpenedEpoch(connection, head, receipted, last_at, unclean, previous, aside, reason)


def _quick_check(connection: database.Connection) -> None:
    finding = connection.pragma("quick_check", 1)
    if finding != "ok":
        raise apsw.CorruptError(str(finding))


def _epoch_id(connection: database.Connection, box: str) -> str:
    rows = connection.execute("SELECT epoch, box FROM epochs").fetchall()
    if len(rows) != 1:
        raise _TailBroken(f"the log names {len(rows)} epochs instead of one")
    epoch, owner = map(str, rows[0])
    if owner != box:
        _refuse_another_box(connection, owner, box, epoch)
    return epoch


def _refuse_another_box(connection: database.Connection, owner: str, box: str, epoch: str) -> None:
    """A box's name may have been changed by damage or by a person; a checkpoint's origin tells which."""
    origin = chain.checkpoint_origin(owner, epoch)
    notes = connection.execute(
        "SELECT count(*) FROM checkpoints WHERE note LIKE ? || char(10) || '%'", (origin,)
    ).get
    if notes:
        raise WrongBox(
            f"{DATABASE} is the log of box {owner!r}, not of {box!r}: "
            f"name the box {owner!r} in box.toml again, or give {box!r} a storage folder of its own"
        )
    raise _TailBroken(f"the log says that it belongs to {owner!r}")


def _last_checkpoint(connection: database.Connection, box: str, epoch: str, key: Ed25519PrivateKey) -> Head:
    """The head as the last checkpoint signs it; that of the empty log when there is none."""
    origin = chain.checkpoint_origin(box, epoch)
    row = connection.execute(
        "SELECT size, CAST(note AS BLOB), frontier, log.chain"
        " FROM checkpoints LEFT JOIN log ON log.seq = size ORDER BY size DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return Head(epoch, 0, chain.chain_start(box, epoch), Frontier(), 0, 0)
    size, note, stored_frontier, stored_chain = row
    try:
        verifier = chain.SignerKey(origin, key).verifier()
        checkpoint = chain.parse_checkpoint(chain.open_note(note or b"", verifier))
        frontier = Frontier.from_bytes(stored_frontier or b"")
    except ValueError as error:
        raise _TailBroken(f"the checkpoint at seq {size} does not hold: {error}") from error
    if checkpoint != chain.Checkpoint(origin, size, frontier.root(), stored_chain) or frontier.size != size:
        raise _TailBroken(f"seq {size}: the log is not at the head that its checkpoint signs")
    return Head(epoch, size, stored_chain, frontier, size, 0)


def _stopped_cleanly(connection: database.Connection, head: Head) -> bool:
    """Whether nothing was appended since the last `close`. An epoch that is still empty counts as clean."""
    row = connection.execute("SELECT seq, chain FROM clean_stop").fetchone()
    return head.seq == 0 or row == (head.seq, head.chain)


def _last_at(connection: database.Connection, head: Head) -> str | None:
    """The wall time of the last record, as it says itself."""
    row = connection.execute("SELECT CAST(line AS BLOB) FROM log WHERE seq = ?", (head.seq,)).fetchone()
    return None if row is None else record.decode(row[0] or b"").at


def _previous(connection: database.Connection) -> record.PreviousEpoch | None:
    row = connection.execute("SELECT previous_epoch, previous_seq, previous_chain FROM epochs").get
    return None if row[0] is None else record.PreviousEpoch(epoch=row[0], seq=row[1], chain=row[2])


def _as_previous(head: Head) -> record.PreviousEpoch:
    return record.PreviousEpoch(epoch=head.epoch, seq=head.seq, chain=head.chain.hex())


# --- beginning and setting aside --------------------------------------------------------------------------


def _begin(folder: Path, box: str, previous: record.PreviousEpoch | None) -> None:
    """Make the file of a new epoch beside the old one, closed and on the disk."""
    path = folder / _MAKING
    _remove(path)
    epoch = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    connection = database.open_writer(path)
    try:
        schema.migrate(connection)
        with database.transaction(connection):
            names = (previous.epoch, previous.seq, previous.chain) if previous else (None, None, None)
            connection.execute("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", (epoch, box, *names))
    finally:
        connection.close()
    if path.with_name(path.name + "-wal").exists():
        raise apsw.FullError(f"{path} could not be written: make room on the disk of {folder}")
    path.rename(folder / _NEXT)
    durable.sync_folder(folder)


def _set_aside(folder: Path, previous: record.PreviousEpoch | None) -> Path:
    """Move the damaged file, then its WAL, to the name of its epoch."""
    path = folder / DATABASE
    aside = _free_name(folder, previous)
    path.rename(aside)
    durable.sync_folder(folder)
    _move_sides(folder, aside)
    return aside


def _finish_setting_aside(folder: Path) -> None:
    """Put a new epoch in place that was made while the old one could not be used; else do nothing."""
    path, successor = folder / DATABASE, folder / _NEXT
    if path.exists():
        _remove(successor)  # the power went before the old file was moved: it will be looked at again
        return
    if any((folder / (DATABASE + side)).exists() for side in _SIDES):
        _move_sides(folder, _newest_aside(folder))
    if successor.exists():
        successor.rename(path)
        durable.sync_folder(folder)


def _move_sides(folder: Path, aside: Path) -> None:
    """A WAL left beside a new database would be replayed into it."""
    for side in _SIDES:
        stray = folder / (DATABASE + side)
        if stray.exists():
            stray.rename(aside.with_name(aside.name + side))
    durable.sync_folder(folder)


def _free_name(folder: Path, previous: record.PreviousEpoch | None) -> Path:
    plain = previous is not None and _PLAIN_EPOCH.fullmatch(previous.epoch)
    stem = f"box.{previous.epoch if previous and plain else 'unknown'}.damaged"
    names = (folder / f"{stem}{f'-{again}' if again else ''}.db" for again in range(10_000))
    return next(name for name in names if not name.exists())


def _newest_aside(folder: Path) -> Path:
    asides = sorted(folder.glob("box.*.damaged*.db"), key=lambda found: found.stat().st_mtime_ns)
    return asides[-1] if asides else _free_name(folder, None)


def _remove(path: Path) -> None:
    for name in (path.name, *(path.name + side for side in _SIDES)):
        path.with_name(name).unlink(missing_ok=True)


def _last_known_head(path: Path, box: str, key: Ed25519PrivateKey) -> record.PreviousEpoch | None:
    """The highest head that a damaged file still tells and its chain supports; None if it tells nothing."""
    try:
        with database.reading(path) as connection:
            return _follow(connection, *_last_signed(connection, box, key))
    except (apsw.Error, ValueError):
        return None


def _last_signed(connection: database.Connection, box: str, key: Ed25519PrivateKey) -> tuple[str, int, bytes]:
    """Epoch, seq and head of the newest checkpoint whose signature holds; else the beginning of the log."""
    prefix = chain.checkpoint_origin(box, "")
    for (stored,) in connection.execute("SELECT CAST(note AS BLOB) FROM checkpoints ORDER BY size DESC"):
        note = stored or b""
        try:
            origin = chain.parse_checkpoint(chain.note_body(note)).origin
            signed = chain.parse_checkpoint(chain.open_note(note, chain.SignerKey(origin, key).verifier()))
        except chain.NoteError:
            continue
        if origin.startswith(prefix):
            return origin.removeprefix(prefix), signed.size, signed.head
    ((epoch,),) = connection.execute("SELECT epoch FROM epochs").fetchall()
    return str(epoch), 0, chain.chain_start(box, str(epoch))


def _follow(connection: database.Connection, epoch: str, seq: int, head: bytes) -> record.PreviousEpoch:
    """Step along the stored records for as long as they fit."""
    rows = connection.execute(
        "SELECT seq, CAST(line AS BLOB), chain FROM log WHERE seq > ? ORDER BY seq", (seq,)
    )
    while True:
        try:
            row = next(rows, None)
        except apsw.Error:
            row = None  # the damage starts here: what was read so far is the last that is known
        step = b"" if row is None else chain.chain_step(head, chain.leaf_hash(row[1] or b""))
        if row is None or (row[0], row[2]) != (seq + 1, step):
            return record.PreviousEpoch(epoch=epoch, seq=seq, chain=head.hex())
        seq, head = row[0], step
