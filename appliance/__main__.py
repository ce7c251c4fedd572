"""The appliance process: `python -m appliance --config FILE`."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from appliance.config import BoxConfig, ConfigErrors, load
from appliance.log_setup import set_up_log
from appliance.supervisor import CANNOT_START
from appliance.wiring import StorageInUse, StorageUnusable, run_box
from sync.audit_log import LogInUse, LogUnwritable
from sync.epoch import WrongBox
from sync.identity import IdentityError
from sync.schema import SchemaTooNew

_CANNOT_START = (
    ConfigErrors,
    StorageUnusable,
    StorageInUse,
    LogInUse,
    WrongBox,
    SchemaTooNew,
    IdentityError,
)


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m appliance", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    config_path: Path = parser.parse_args().config
    os.umask(0o077)  # the log, the pictures and the keys are the box's own
    set_up_log("appliance")
    try:
        config = load(config_path)
        asyncio.run(_until_signalled(config_path, config))
    except _CANNOT_START as error:
        sys.stderr.write(f"error: {error}\n")
        return CANNOT_START
    except (LogUnwritable, OSError) as error:  # the disk: started again, it may work
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


async def _until_signalled(config_path: Path, config: BoxConfig) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run_box(config, config_path, stopping)


if __name__ == "__main__":
    sys.exit(main())
