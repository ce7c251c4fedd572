"""A process that appends until it is killed, and tells each record on its standard output once accepted.

`python -m tests.support.log_writer FOLDER`: one line per accepted record, `seq lot`.
"""

import asyncio
import os
import sys
from pathlib import Path

from sync import record
from tests.support.box_log import coverage, open_log


async def write_for_ever(folder: Path) -> None:
    """Append from several tasks, some records at once, some in groups, with checkpoints between."""
    log = open_log(folder)

    async def lots(name: str) -> None:
        number = 0
        while True:
            lot = f"{name}-{log.head.epoch}-{os.getpid()}-{number}"
            seq = await log.append(record.LotStarted(lot=lot))
            os.write(1, f"{seq} {lot}\n".encode())
            number += 1

    async def intervals() -> None:
        while True:
            await asyncio.gather(*(log.append(coverage()) for _ in range(7)))
            await log.checkpoint()

    async with asyncio.TaskGroup() as group:
        group.create_task(lots("a"))
        group.create_task(lots("b"))
        group.create_task(intervals())


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1])))
