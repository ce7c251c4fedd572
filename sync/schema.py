"""The tables of `box.db`, and how a database of an older version becomes one of this version.

`log`, `checkpoints`, `epochs` and `clean_stop` are the truth; the others are projections of it and can be
rebuilt by `sync.projections`. `checkpoints.cosigned` is the receipt: the cursor of the uplink is the largest
`size` that has one. Only the last checkpoint keeps its frontier, which is all that appending needs.
"""

import apsw

from sync.database import Connection, transaction

APPLICATION_ID = 0x416C4731
"""Marks the file as a box's log ("AlG1")."""

_FIRST = """
CREATE TABLE epochs (
  epoch TEXT NOT NULL,
  box TEXT NOT NULL,
  previous_epoch TEXT,
  previous_seq INTEGER,
  previous_chain TEXT
) STRICT;
CREATE TABLE log (
  seq INTEGER PRIMARY KEY CHECK (seq >= 1),
  kind TEXT NOT NULL,
  line TEXT NOT NULL,
  chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY CHECK (size >= 1),
  note TEXT NOT NULL,
  frontier BLOB,
  cosigned TEXT
) STRICT;
CREATE TABLE clean_stop (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL,
  chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;
CREATE TABLE inspections (
  seq INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  camera TEXT NOT NULL,
  frame INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  recipe TEXT NOT NULL,
  lot TEXT,
  position_m REAL,
  evidence_sha256 TEXT,
  judgement TEXT,
  judged_by TEXT
) STRICT;
CREATE TABLE detections (
  inspection_seq INTEGER NOT NULL,
  label TEXT NOT NULL,
  confidence REAL NOT NULL,
  x_px REAL NOT NULL,
  y_px REAL NOT NULL,
  width_px REAL NOT NULL,
  height_px REAL NOT NULL,
  position_m REAL
) STRICT;
CREATE INDEX detections_by_inspection ON detections (inspection_seq);
CREATE TABLE alarms (
  raised_seq INTEGER PRIMARY KEY,
  alarm TEXT NOT NULL,
  priority TEXT NOT NULL,
  text TEXT NOT NULL,
  action TEXT NOT NULL,
  raised_at TEXT NOT NULL,
  value TEXT,
  unit TEXT NOT NULL,
  acknowledged_by TEXT,
  acknowledged_at TEXT,
  cleared_at TEXT
) STRICT;
CREATE INDEX alarms_open ON alarms (raised_seq) WHERE cleared_at IS NULL OR acknowledged_at IS NULL;
CREATE TABLE lots (
  started_seq INTEGER PRIMARY KEY,
  lot TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT
) STRICT;
CREATE INDEX lots_open ON lots (lot) WHERE ended_at IS NULL;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Step n leads from `user_version` n to n + 1."""


class SchemaTooNew(RuntimeError):
    """The database was written by a newer version of this program."""


def migrate(connection: Connection) -> None:
    """Bring a database, also an empty one, to this version: each step in a transaction of its own.

    Raises:
        SchemaTooNew: if it is ahead of this version. Nothing was changed then.
        apsw.CorruptError: if it is some other program's database.
    """
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise SchemaTooNew(
            f"box.db has schema {version} and this version knows {len(MIGRATIONS)}: "
            "install the version that wrote it, or a newer one"
        )
    if version and connection.pragma("application_id") != APPLICATION_ID:
        raise apsw.CorruptError("the file's application id is not that of a box's log")
    for step in range(version, len(MIGRATIONS)):
        with transaction(connection):
            connection.execute(MIGRATIONS[step])
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", step + 1)
