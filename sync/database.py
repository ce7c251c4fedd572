"""The only place that opens a database: its settings are what makes the log durable."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import apsw

Connection: TypeAlias = apsw.Connection  # noqa: TID251 - the one name under which the others may mention it

OLDEST_SQLITE = (3, 51, 3)
"""3.7.0 to 3.51.2 can corrupt a database when a WAL is reset while another connection checkpoints."""

_BUSY_MILLISECONDS = 5_000


class SqliteTooOld(RuntimeError):
    """The SQLite that was loaded must not be trusted with the log."""


def open_writer(path: Path) -> Connection:
    """Open (or create) a database for its one writer: WAL, every commit on disk when it returns.

    The WAL is never checkpointed behind the writer's back: it calls `wal_checkpoint` when it has time.

    Raises:
        SqliteTooOld: for a SQLite before OLDEST_SQLITE.
        apsw.Error: if the file cannot be opened, is no database, or lies where WAL does not work.
    """
    refuse_old_sqlite(apsw.sqlite_lib_version())
    connection = Connection(str(path))
    try:
        _harden(connection)
        _demand_wal(connection)
        connection.pragma("synchronous", "full")
        connection.wal_autocheckpoint(0)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def open_reader(path: Path) -> Connection:
    """Open a database to read only, beside its writer or without one.

    Keep read transactions short: while one lasts, the WAL cannot be reset and grows.

    Raises:
        SqliteTooOld: for a SQLite before OLDEST_SQLITE.
        apsw.Error: if there is no such file, or it is no database.
    """
    refuse_old_sqlite(apsw.sqlite_lib_version())
    connection = Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        _harden(connection)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def open_memory() -> Connection:
    """An empty database in memory."""
    return Connection(":memory:")


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A reader for the length of a `with` block. Raises as `open_reader` does."""
    connection = open_reader(path)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing: commits at the end of the block, rolls back if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on some disk errors
            connection.execute("ROLLBACK")
        raise


def refuse_old_sqlite(version: str) -> None:
    """Let a SQLite version such as "3.54.1" pass, or raise SqliteTooOld."""
    if tuple(int(part) for part in version.split(".")) < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise SqliteTooOld(
            f"SQLite {version} can corrupt a log (WAL reset, fixed in {oldest}): "
            f"install apsw {oldest} or newer, which brings its own"
        )


def _harden(connection: Connection) -> None:
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.pragma("trusted_schema", "off")
    connection.pragma("cell_size_check", "on")
    connection.pragma("foreign_keys", "on")


def _demand_wal(connection: Connection) -> None:
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise apsw.CantOpenError(
            f"{connection.filename}: journal mode {mode!r} instead of WAL; put it on a local disk"
        )
