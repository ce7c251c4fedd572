"""The receiver's database: who the boxes are, how far each log is held, and an index over the landing files.

SQLAlchemy Core, so that PostgreSQL serves by URL. SQLite keeps its rollback journal: the library inside
Python 3.11 (3.40) has the WAL-reset corruption bug of 3.7.0 to 3.51.2, which needs several connections, and
the CLI is a second one. `synchronous=EXTRA` because in that mode FULL may lose the last commit to a power
cut (the journal's removal is not synced), and a receipt has been given for it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    PoolProxiedConnection,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine.interfaces import DBAPIConnection

_BUSY_SECONDS = 30

metadata = MetaData()

# Times are text, RFC 3339 in UTC with microseconds: they sort as they read, in every database.
# SQLite numbers a row by itself only if the key's type is INTEGER, and never re-uses one with AUTOINCREMENT.
_Id = BigInteger().with_variant(Integer(), "sqlite")

boxes = Table(
    "boxes",
    metadata,
    Column("box", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("enrolled_at", Text, nullable=False),
    Column("last_contact", Text),
    Column("enrolment", _Id, nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("box", Text, nullable=False, index=True),
    Column("at", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("log_key", Text, nullable=False),
    Column("certificate_pem", Text, nullable=False),
    Column("not_after", Text, nullable=False),
    Column("revoked_at", Text),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("site", Text, nullable=False),
    Column("box", Text),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("enrolment", _Id, ForeignKey("enrolments.id")),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
)

marks = Table(
    "marks",
    metadata,
    Column("box", Text, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("began_at", Text, nullable=False),
    Column("advanced_at", Text, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("box", Text, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("packed_bytes", Integer, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("enrolment", _Id, ForeignKey("enrolments.id"), nullable=False),
    UniqueConstraint("box", "epoch", "first"),
    sqlite_autoincrement=True,
)

batch_kinds = Table(
    "batch_kinds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("batch", _Id, ForeignKey("batches.id"), primary_key=True),
    Column("records", Integer, nullable=False),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("batch", _Id, ForeignKey("batches.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("box", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
)

security_events = Table(
    "security_events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", Text, nullable=False),
    Column("last_at", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("times", Integer, nullable=False),
    sqlite_autoincrement=True,
)

health = Table(
    "health", metadata, Column("id", Integer, primary_key=True), Column("at", Text, nullable=False)
)


@dataclass(frozen=True, slots=True)
class Database:
    """Short transactions over one engine. One thread of a process writes at a time."""

    engine: Engine
    _writer: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Keep it short: on SQLite it holds up the writer's commit."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: durable when the block ends, undone when it raises."""
        with self._writer, self.engine.connect() as connection:
            writing = connection.execution_options(alumiguard_writes=True)
            with writing.begin():
                yield writing

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Connect, and make the tables that are not there yet."""
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else {})
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    database = Database(engine)
    with database.write() as connection:
        metadata.create_all(connection)
    return database


def as_text(moment: datetime) -> str:
    """A time as it is stored: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _set_up_sqlite(connection: DBAPIConnection, _record: PoolProxiedConnection) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in ("journal_mode=DELETE", "synchronous=EXTRA", "foreign_keys=ON", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes later would fail, not wait, when another one wrote
    writes = connection.get_execution_options().get("alumiguard_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
