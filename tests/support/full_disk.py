"""A log on a disk that fills up and is emptied again, in a process that tells how it went as JSON.

`python -m tests.support.full_disk limit FOLDER`: the process may not write beyond a size (RLIMIT_FSIZE).
`python -m tests.support.full_disk tmpfs FOLDER`: a small tmpfs that another file fills (needs mount rights).
"""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sync.audit_log import AuditLog, LogUnwritable
from sync.verify import verify_log
from tests.support.box_log import LOG_VERIFIER, lines, long_record, open_log

_TMPFS_BYTES = 4 * 1024 * 1024


async def fill_and_empty(folder: Path, fill: Callable[[AuditLog], None], empty: Callable[[], None]) -> None:
    """Append before, while and after the disk refuses; print what was accepted and what the log holds."""
    log = open_log(folder)
    accepted = [await log.append(long_record(1000)) for _ in range(10)]
    fill(log)
    refusals: list[str] = []
    while len(refusals) < 20:
        outcomes = await asyncio.gather(
            *(log.append(long_record(20_000)) for _ in range(5)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, LogUnwritable):
                refusals.append(str(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                accepted.append(outcome)
    trouble = log.trouble
    empty()
    accepted += [await log.append(long_record(1000)) for _ in range(10)]
    told = {
        "accepted": accepted,
        "refusal": refusals[0],
        "trouble": trouble,
        "trouble_after": log.trouble,
        "held": len(lines(log.path)),
    }
    log.close()
    report = verify_log(log.path, LOG_VERIFIER)
    print(json.dumps(told | {"problems": [str(problem) for problem in report.problems]}))  # noqa: T201 - the answer


async def limited(folder: Path) -> None:
    """The disk is full when a file would grow beyond 100 kB more than the WAL has now."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(log: AuditLog) -> None:
        wal_bytes = log.path.with_name("box.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes + 100_000, unlimited[1]))

    await fill_and_empty(folder, fill, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, unlimited))


async def on_tmpfs(folder: Path) -> None:
    """The disk is a tmpfs of 4 MiB, and another file takes what the log leaves."""
    subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop yet
        ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS_BYTES}", "none", str(folder)],
        check=True,
    )
    other = folder / "other"

    def fill(_log: AuditLog) -> None:
        other.write_bytes(bytes(3 * 1024 * 1024))

    await fill_and_empty(folder, fill, other.unlink)


if __name__ == "__main__":
    way = {"limit": limited, "tmpfs": on_tmpfs}[sys.argv[1]]
    asyncio.run(way(Path(sys.argv[2])))
