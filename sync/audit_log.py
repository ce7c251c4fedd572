"""The log's one writer: what `append` accepted is on the disk, in order, without a hole, for ever.

A thread of its own owns the connection and takes records in groups from its `intake`. Projections and due
checkpoints are part of a group's transaction.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import apsw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import chain, database, epoch, projections, record, wire
from sync.epoch import Head
from sync.errors import LogClosed, LogDamaged, LogError, LogInUse, LogUnwritable
from sync.intake import Append, Intake, Job

__all__ = ["AuditLog", "Head", "LogClosed", "LogDamaged", "LogError", "LogInUse", "LogUnwritable"]

_WAL_PAGES = 1_000
_DISK_ERRORS = (
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.ProtocolError,
)


_Result = TypeVar("_Result")


class AuditLog:
    """The log of one box. Make one with `AuditLog.open`; close it in the end.

    Attributes:
        path: the database.
        after_unclean_stop: whether records were appended since the last `close`; for `BoxStarted`.
        previous: the epoch before, when this one is new because of a break; for its first `BoxStarted`.
        set_aside: where the damaged file was put at this start, if one was.
        break_reason: what was found damaged at this start, or "".
        last_at: wall time of the last record at this start; None for an empty log.
    """

    def __init__(
        self,
        opened: epoch.OpenedEpoch,
        lock: int,
        box: str,
        key: Ed25519PrivateKey,
        clock: record.Clock,
    ) -> None:
        self.box = box
        self.path = Path(opened.connection.filename)
        self.after_unclean_stop = opened.after_unclean_stop
        self.previous = opened.previous
        self.set_aside = opened.set_aside
        self.break_reason = opened.break_reason
        self.last_at = opened.last_at
        self._signer = chain.SignerKey(chain.checkpoint_origin(box, opened.head.epoch), key)
        self._connection = opened.connection
        self._lock_file = lock
        self._head = opened.head
        self._receipted_through = opened.receipted_through
        self._trouble = ""
        self._reopen = False
        self._wal_pages = 0
        self._intake = Intake()
        self._closing: Future[int] | None = None
        self._watching = threading.Lock()
        self._watchers: list[tuple[int, Future[int]]] = []
        self._clock = clock
        self._thread = threading.Thread(target=self._write_until_closed, name="log-writer", daemon=True)

    @classmethod
    def open(cls, folder: Path, box: str, key: Ed25519PrivateKey, clock: record.Clock) -> "AuditLog":
        """Open the folder's log, or begin it. Blocks while it verifies what followed the last checkpoint.

        A damaged file is set aside and a new epoch begun: see `set_aside`, `break_reason` and `previous`. The
        caller appends `BoxStarted` first.

        Raises:
            LogInUse: if another process has it open.
            WrongBox: if it is another box's log.
            SchemaTooNew: if a newer version of this program wrote it.
            LogUnwritable: if the disk refuses.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
        except OSError as error:
            raise _unwritable(error, folder) from error
        try:
            opened = epoch.open_epoch(folder, box, key)
        except (OSError, apsw.Error) as error:
            os.close(lock)
            raise _unwritable(error, folder) from error
        except BaseException:
            os.close(lock)
            raise
        log = cls(opened, lock, box, key, clock)
        log._watch_wal()
        log._thread.start()
        return log

    # --- what anybody may ask -----------------------------------------------------------------------------

    @property
    def head(self) -> Head:
        """Where the log stands: `epoch`, `seq`, `chain` of the last record on the disk."""
        return self._head

    @property
    def receipted_through(self) -> int:
        """The cursor of the way out: the receiver has signed that it holds everything up to this seq."""
        return self._receipted_through

    @property
    def trouble(self) -> str:
        """Why the log cannot be written now, with the next step; "" while all is well."""
        return self._trouble

    def submit(self, body: record.Body) -> Future[int]:
        """Hand over a record from any thread; its time is now. Never blocks on the disk.

        The result is the record's seq, set after the commit is durable; or LogUnwritable (also when
        MAX_WAITING records wait already), LogDamaged, LogClosed, RecordError (too long, or a body that is not
        what its kind says). It cannot be cancelled: what was handed over is written.
        """
        return self._intake.put(lambda done: Append(body, self._clock.stamp(), done), urgent=body.AT_ONCE)

    async def append(self, body: record.Body) -> int:
        """Append a record; returns its seq once it is on the disk.

        Raises:
            LogError, RecordError: as told at `submit`.
        """
        return await asyncio.wrap_future(self.submit(body))

    async def checkpoint(self) -> int:
        """Sign the log where it stands; returns the size that is signed, 0 for an empty log.

        Raises:
            LogUnwritable: if the disk refuses.
            LogClosed: after `close`.
        """
        return await self._do(self._checkpoint_now)

    async def accept_receipt(self, size: int, receipt: bytes) -> int:
        """Keep the receiver's cosigned note for the checkpoint at `size` and move the cursor there.

        The caller has verified the cosignature, and that the note is that of our checkpoint. Returns the
        cursor. A second receipt for the same checkpoint changes nothing.

        Raises:
            LogUnwritable: if the disk refuses.
            LogClosed: after `close`.
        """
        return await self._do(lambda: self._keep_receipt(size, receipt))

    async def wait_beyond(self, seq: int) -> int:
        """Wait until the log holds more than `seq` records; returns how many.

        Raises:
            LogClosed: if it is closed meanwhile.
        """
        watcher: Future[int] = Future()
        with self._watching:
            if self._head.seq > seq:
                return self._head.seq
            if self._closing is not None:
                raise LogClosed
            self._watchers.append((seq, watcher))
        return await asyncio.wrap_future(watcher)

    def close(self) -> None:
        """Write what waits, sign a last checkpoint, mark the stop as clean. Blocks; a second call is idle.

        Raises:
            LogUnwritable, LogDamaged: if that could not be written. The log is closed all the same.
        """
        with self._watching:
            if self._closing is None:
                self._closing = Future()
        self._intake.close()
        self._thread.join()
        self._closing.result()

    async def _do(self, job: Callable[[], int]) -> int:
        return await asyncio.wrap_future(self._intake.put(lambda done: Job(job, done), urgent=True))

    # --- the writer's thread ------------------------------------------------------------------------------

    def _write_until_closed(self) -> None:
        while (work := self._intake.take()) is not None:
            if isinstance(work, Job):
                self._settle(work.done, work.run)
            else:
                self._append_group(work)
            self._checkpoint_wal()
        self._finish()

    def _append_group(self, group: list[Append]) -> None:
        """Commit a group. When a record in it cannot be written for what it is, each is tried on its own."""
        if len(group) == 1:
            self._settle(group[0].done, lambda: self._write(group)[0])
            return
        try:
            seqs = self._guarded(lambda: self._write(group))
        except LogError as error:
            _fail([item.done for item in group], error)
        except Exception:  # noqa: BLE001 - one of them is at fault: alone, it gets its own error
            for item in group:
                self._append_group([item])
        else:
            _resolve([item.done for item in group], seqs)

    def _settle(self, done: Future[int], work: Callable[[], int]) -> None:
        try:
            result = self._guarded(work)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the result
            done.set_exception(error)
        else:
            done.set_result(result)

    def _guarded(self, work: Callable[[], _Result]) -> _Result:
        """Run a transaction; turn what the disk says into what the caller should do, and remember it."""
        try:
            if self._reopen:
                self._open_again()
            results = work()
        except _DISK_ERRORS as error:
            # After "full" and "busy" the connection is as it was; after an I/O error nobody knows.
            self._reopen = self._reopen or not isinstance(error, (apsw.FullError, apsw.BusyError))
            failure: LogError = _unwritable(error, self.path.parent)
        except (apsw.CorruptError, apsw.NotADBError, epoch.EpochBroken) as error:
            self._reopen = True
            failure = LogDamaged(
                f"{self.path} was damaged while it was open ({error}): restart the appliance, "
                "which sets the file aside and goes on in a new one"
            )
        else:
            self._trouble = ""
            self._tell_watchers()
            return results
        self._trouble = str(failure)
        raise failure

    def _write(self, group: list[Append]) -> list[int]:
        head = self._head
        rows: list[tuple[int, str, str, bytes]] = []
        with database.transaction(self._connection):
            for item in group:
                stamp = item.stamp
                line = record.encode(
                    head.seq + 1, stamp.at, stamp.boot, stamp.mono_ns, stamp.clock, item.body
                )
                if _is_checkpoint_due(head, len(line)):
                    head = self._sign(head)
                leaf = chain.leaf_hash(line)
                head = Head(
                    head.epoch,
                    head.seq + 1,
                    chain.chain_step(head.chain, leaf),
                    head.frontier.append(leaf),
                    head.checkpoint_seq,
                    head.bytes_since_checkpoint + len(line),
                )
                rows.append((head.seq, item.body.KIND, line.decode(), head.chain))
                if projections.is_projected(item.body.KIND):
                    projections.project(self._connection, record.decode(line))
            self._connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
        self._head = head
        return [row[0] for row in rows]

    def _sign(self, head: Head) -> Head:
        """Insert the checkpoint of this head, in the transaction that is open."""
        checkpoint = chain.Checkpoint(self._signer.name, head.seq, head.frontier.root(), head.chain)
        note = chain.sign_note(checkpoint.body(), self._signer)
        self._connection.execute(
            "UPDATE checkpoints SET frontier = NULL WHERE size = ?", (head.checkpoint_seq,)
        )
        self._connection.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?, NULL)",
            (head.seq, note.decode(), head.frontier.to_bytes()),
        )
        return replace(head, checkpoint_seq=head.seq, bytes_since_checkpoint=0)

    def _checkpoint_now(self) -> int:
        if self._head.seq > self._head.checkpoint_seq:
            with database.transaction(self._connection):
                head = self._sign(self._head)
            self._head = head
        return self._head.checkpoint_seq

    def _keep_receipt(self, size: int, receipt: bytes) -> int:
        with database.transaction(self._connection):
            if not self._connection.execute("SELECT 1 FROM checkpoints WHERE size = ?", (size,)).fetchone():
                raise ValueError(f"there is no checkpoint at seq {size} that this receipt could be for")
            self._connection.execute(
                "UPDATE checkpoints SET cosigned = ? WHERE size = ? AND cosigned IS NULL",
                (receipt.decode(), size),
            )
        self._receipted_through = max(self._receipted_through, size)
        return self._receipted_through

    def _finish(self) -> None:
        """The last checkpoint and the mark of a clean stop; then everything is let go."""
        closing = self._closing
        if closing is None:
            raise RuntimeError("the writer ended before the log was closed")
        closing.set_running_or_notify_cancel()
        self._settle(closing, self._mark_clean_stop)
        self._connection.close(force=True)
        os.close(self._lock_file)
        with self._watching:
            watchers, self._watchers = self._watchers, []
        _fail([watcher for _, watcher in watchers if watcher.set_running_or_notify_cancel()], LogClosed())

    def _mark_clean_stop(self) -> int:
        size = self._checkpoint_now()
        if size:
            with database.transaction(self._connection):
                self._connection.execute(
                    "INSERT OR REPLACE INTO clean_stop VALUES (1, ?, ?)", (size, self._head.chain)
                )
        return size

    def _tell_watchers(self) -> None:
        seq = self._head.seq
        with self._watching:
            due = [watcher for beyond, watcher in self._watchers if seq > beyond]
            self._watchers = [(beyond, watcher) for beyond, watcher in self._watchers if seq <= beyond]
        for watcher in due:
            if watcher.set_running_or_notify_cancel():
                watcher.set_result(seq)

    # --- the disk -----------------------------------------------------------------------------------------

    def _open_again(self) -> None:
        """After an I/O error: only what the disk tells now is known to be in the log."""
        self._connection.close(force=True)
        self._connection, head = epoch.open_head(self.path, self.box, self._signer.private_key)
        self._watch_wal()
        if head.epoch != self._head.epoch or head.seq < self._head.seq:
            raise epoch.EpochBroken(f"it ends at seq {head.seq} and held {self._head.seq}", None)
        self._head = head
        self._reopen = False

    def _watch_wal(self) -> None:
        self._connection.set_wal_hook(self._note_wal_pages)

    def _note_wal_pages(self, _connection: database.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint_wal(self) -> None:
        """Bring the WAL into the database once it is long; between commits, so that none waits for it."""
        if self._wal_pages < _WAL_PAGES or self._reopen:
            return
        self._wal_pages = 0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # another process checkpoints; the next commit tells again how long the WAL is
        except apsw.Error as error:  # nothing is lost: the records are in the WAL
            self._trouble = str(_unwritable(error, self.path.parent))


def _is_checkpoint_due(head: Head, line_bytes: int) -> bool:
    """Whether one more record would make the stretch too long for a batch."""
    waiting = head.seq - head.checkpoint_seq
    too_long = head.bytes_since_checkpoint + line_bytes > wire.MAX_RAW_BYTES
    return waiting > 0 and (waiting >= wire.MAX_RECORDS or too_long)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "box.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LogInUse(f"another process writes the log in {folder}: stop that appliance first") from error
    return descriptor


def _resolve(waiting: list[Future[int]], results: list[int]) -> None:
    for done, result in zip(waiting, results, strict=True):
        done.set_result(result)


def _fail(waiting: list[Future[int]], error: Exception) -> None:
    for done in waiting:
        done.set_exception(error)


def _unwritable(error: Exception, folder: Path) -> LogUnwritable:
    return LogUnwritable(
        f"the log in {folder} cannot be written ({error}): make room on that disk or replace it; "
        "the log goes on by itself once it can be written"
    )
