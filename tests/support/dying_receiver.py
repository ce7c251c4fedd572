"""The real server, killed by SIGKILL at a chosen moment of its first ingest. The tests run it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection

from cloud_receiver import cli
from cloud_receiver.database import Database
from cloud_receiver.landing import Landing
from cloud_receiver.receiver import Now, Receiver, Settings, open_receiver, utc_now

MOMENTS = ("before-landing", "after-landing", "before-commit", "after-commit")


def die_if(moment: str) -> None:
    """Die at once, without a clean-up of any kind, if this is the moment."""
    if moment == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingLanding(Landing):
    """Dies around landing a batch."""

    def put(self, path: str, packed: bytes) -> None:
        """As Landing does it, if it lives."""
        die_if("before-landing")
        Landing.put(self, path, packed)
        die_if("after-landing")
        DyingDatabase.landed = True


class DyingDatabase(Database):
    """Dies around the commit that follows a landing."""

    landed = False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As Database does it, if it lives."""
        with Database.write(self) as connection:
            yield connection
            if DyingDatabase.landed:
                die_if("before-commit")
        if DyingDatabase.landed:
            die_if("after-commit")


def _open_dying(settings: Settings, now: Now = utc_now) -> Receiver:
    real = open_receiver(settings, now)
    return replace(
        real,
        landing=DyingLanding(real.landing.store, real.landing.folder),
        database=DyingDatabase(real.database.engine),
    )


if __name__ == "__main__":
    if sys.argv[1] not in MOMENTS:
        sys.exit(f"no such moment; give one of {', '.join(MOMENTS)}")
    cli.open_receiver = _open_dying  # type: ignore[attr-defined]  # the one place where the CLI opens it
    cli.app(["serve", *sys.argv[2:]])
