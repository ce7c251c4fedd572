"""`alumiguard run`: the appliance and its console, where systemd does not keep them running."""

import asyncio
import signal
from pathlib import Path

from appliance.config import BoxConfig, load
from appliance.log_setup import set_up_log
from appliance.supervisor import CannotStart, OnCannotStart, SupervisedProcess, python


def main(config_path: Path) -> None:
    """Run a box until SIGTERM or Ctrl-C; every process of it that ends is started again.

    Raises:
        ConfigErrors: if the configuration cannot be used; then nothing was started.
        CannotStart: if the appliance says that starting it again would not help.
    """
    config = load(config_path)
    set_up_log("run")
    try:
        asyncio.run(_run(config, config_path.resolve()))
    except* CannotStart as group:
        raise group.exceptions[0] from None


async def _run(config: BoxConfig, config_path: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    appliance = SupervisedProcess("appliance", python("appliance", "--config", config_path))
    console = SupervisedProcess(
        "console", _console(config), on_cannot_start=OnCannotStart.TRY_AGAIN
    )  # the line never waits for the console
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(process.keep(), name=process.name) for process in (appliance, console)]
        await stopping.wait()
        for task in reversed(running):
            task.cancel()
            await asyncio.wait([task])


def _console(config: BoxConfig) -> list[str]:
    storage = config.storage
    return python(
        "ui.console",
        "--control",
        storage.control_socket,
        "--storage",
        storage.folder,
        "--listen",
        config.console.listen,
    )
