"""The simulated plant in a process of its own, that a test can freeze and kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class PlantProcess:
    """A running plant."""

    process: "subprocess.Popen[str]"
    modbus_port: int
    opcua_port: int
    camera_port: int

    def freeze(self) -> None:
        """As if its cables had been pulled."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """As if they had been plugged in again."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """As if its power had failed."""
        self.process.kill()
        self.process.wait()


@contextmanager
def plant_process(*arguments: str) -> Iterator[PlantProcess]:
    """Start a plant and wait until it is ready."""
    command = [sys.executable, "-m", "drivers.simulated.plant", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield PlantProcess(process, ready["modbus_port"], ready["opcua_port"], ready["camera_port"])
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
