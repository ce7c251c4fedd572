"""A plant without a plant: `python -m drivers.simulated.plant`.

It speaks Modbus TCP, OPC UA and MJPEG over HTTP on 127.0.0.1, so that a box reads it through the drivers that
it reads a real one with. One line of JSON on standard output says when it is ready and on which ports; it
stops on SIGTERM or SIGINT, and when the process that started it dies.
"""

import argparse
import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.simulated.camera_side import CameraSide
from drivers.simulated.faults import BadFaultPlan, Fault, FaultKind, FaultPlan, read_fault_plan
from drivers.simulated.line import Line
from drivers.simulated.modbus_side import ModbusSide, Written
from drivers.simulated.opcua_side import OpcUaSide
from drivers.simulated.strip import Strip

_PR_SET_PDEATHSIG = 1

Serving = Callable[[int], AbstractAsyncContextManager[int]]


@dataclass(frozen=True, slots=True)
class Plant:
    """A running plant: its ports, and what it knows. `written` are the last write requests to its PLC."""

    modbus_port: int
    opcua_port: int
    camera_port: int
    line: Line
    strip: Strip
    written: deque[Written]

    @property
    def camera_url(self) -> str:
        """The camera's stream."""
        return f"http://127.0.0.1:{self.camera_port}/stream.mjpg"

    @property
    def opcua_url(self) -> str:
        """The OPC UA server."""
        return f"opc.tcp://127.0.0.1:{self.opcua_port}/"


@asynccontextmanager
async def running_plant(
    seed: int = 1,
    *,
    modbus_port: int = 0,
    opcua_port: int = 0,
    camera_port: int = 0,
    line: Line | None = None,
    faults: FaultPlan | None = None,
) -> AsyncIterator[Plant]:
    """Run a plant in this process until the block ends. The system chooses a port that is 0."""
    line, faults = line or Line(), faults or FaultPlan()
    strip = await asyncio.to_thread(Strip, seed)
    modbus, opcua, camera = ModbusSide(line), OpcUaSide(line), CameraSide(line, strip, faults)
    sides: list[tuple[Serving, int, list[Fault]]] = [
        (modbus.serving, modbus_port, faults.of(FaultKind.MODBUS_GONE)),
        (opcua.serving, opcua_port, faults.of(FaultKind.OPCUA_GONE)),
        (camera.serving, camera_port, faults.of(FaultKind.CAMERA_GONE)),
    ]
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        ports = [loop.create_future() for _ in sides]
        tasks = [
            group.create_task(_keep_serving(serving, port, outages, line, found))
            for (serving, port, outages), found in zip(sides, ports, strict=True)
        ]
        plant = Plant(await ports[0], await ports[1], await ports[2], line, strip, modbus.written)
        line.start()
        tasks.append(group.create_task(camera.keep_taking()))
        try:
            yield plant
        except Exception as error:  # noqa: BLE001 - raised below, as it was and not as a group
            failure = error
        for task in tasks:
            task.cancel()
    if failure is not None:
        raise failure


async def _keep_serving(
    serving: Serving, port: int, outages: list[Fault], line: Line, found: "asyncio.Future[int]"
) -> None:
    """Serve until cancelled, but for the outages; on the same port after each."""
    for outage in [*outages, None]:
        async with serving(found.result() if found.done() else port) as bound:
            if not found.done():
                found.set_result(bound)
            if outage is None:
                await asyncio.Event().wait()
                return
            await _sleep_until(line, outage.at_seconds)
        await _sleep_until(line, outage.at_seconds + outage.for_seconds)


async def _sleep_until(line: Line, seconds: float) -> None:
    while (missing := seconds - line.seconds()) > 0:  # noqa: ASYNC110 - a line that stands tells nobody
        await asyncio.sleep(min(missing, 0.1))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drivers.simulated.plant", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the strip and its defects follow from it")
    parser.add_argument("--modbus-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--opcua-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--camera-port", type=int, default=0, help="0: any free one")
    parser.add_argument("--speed", type=float, default=1.0, metavar="M_PER_S", help="of the strip")
    parser.add_argument("--coil-metres", type=float, default=60.0, help="length of a coil")
    parser.add_argument("--fault-plan", type=Path, help="a TOML file; see drivers/simulated/README.md")
    return parser.parse_args(arguments)


async def _run(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_plant(
        arguments.seed,
        modbus_port=arguments.modbus_port,
        opcua_port=arguments.opcua_port,
        camera_port=arguments.camera_port,
        line=Line(arguments.speed, arguments.coil_metres),
        faults=read_fault_plan(arguments.fault_plan) if arguments.fault_plan else FaultPlan(),
    ) as plant:
        ready = {
            "modbus_port": plant.modbus_port,
            "opcua_port": plant.opcua_port,
            "camera_port": plant.camera_port,
            "camera_url": plant.camera_url,
            "opcua_url": plant.opcua_url,
            "seed": arguments.seed,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: list[str] | None = None) -> int:
    """Run until stopped. Returns the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    logging.getLogger("asyncua").setLevel(logging.ERROR)  # it warns that this server has no security
    status = 0
    try:
        asyncio.run(_run(_arguments(arguments)))
    except* BadFaultPlan as errors:
        sys.stderr.write(f"{errors.exceptions[0]}\n")
        status = 2
    except* OSError as errors:
        sys.stderr.write(
            f"the plant cannot listen: {errors.exceptions[0]}. Choose ports that are free, or 0.\n"
        )
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
