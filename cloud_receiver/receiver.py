"""What a receiver is made of: a folder (or a database and a bucket), its keys and its clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cloud_receiver.ca import Identity, open_identity
from cloud_receiver.database import Database, open_database
from cloud_receiver.landing import Landing, local_landing

Now = Callable[[], datetime]
"""The receiver's clock, injected: aware, in UTC."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a receiver keeps things. `database_url` is SQLAlchemy's; empty means SQLite in the folder."""

    data: Path
    database_url: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """The parts that every route uses."""

    database: Database
    landing: Landing
    quarantine: Landing
    identity: Identity
    now: Now


def utc_now() -> datetime:
    """The clock of the machine that the receiver runs on."""
    return datetime.now(UTC)


def open_receiver(settings: Settings, now: Now = utc_now) -> Receiver:
    """Open the folder, making whatever is not there yet. Safe beside a running server.

    Raises:
        OSError: if the folder cannot be made or written.
    """
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = settings.database_url or f"sqlite:///{settings.data.resolve() / 'receiver.db'}"
    return Receiver(
        database=open_database(url),
        landing=local_landing(settings.data / "landing"),
        quarantine=local_landing(settings.data / "quarantine"),
        identity=open_identity(settings.data / "identity", now()),
        now=now,
    )
