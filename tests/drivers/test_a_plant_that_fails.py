"""All drivers at once against a plant in its own process that is frozen, thawed and killed."""

import asyncio
import time
from collections.abc import AsyncIterator

from drivers.camera_http import HttpCameraConfig
from drivers.driver import TagDriverConfig
from drivers.errors import DeviceUnreachable
from drivers.modbus import ModbusConfig, ModbusTag
from drivers.modbus_words import Table, WordType
from drivers.opcua import OpcUaConfig, OpcUaTag
from tests.support.plant_process import PlantProcess, plant_process

TIMEOUT_SECONDS = 1.0
NOTICED_SECONDS = 6.0
"""For all of them: time-outs, the OPC UA keep-alive of one second, and a busy machine."""


def _tag_devices(plant: PlantProcess) -> list[TagDriverConfig]:
    encoder = ModbusTag(name="encoder", table=Table.HOLDING, address=0, type=WordType.UINT32)
    speed = OpcUaTag(name="speed", node="ns=2;s=Line.Speed")
    return [
        ModbusConfig(
            name="plc",
            host="127.0.0.1",
            port=plant.modbus_port,
            tags=(encoder,),
            poll_seconds=0.1,
            timeout_seconds=TIMEOUT_SECONDS,
        ),
        OpcUaConfig(
            name="line",
            url=f"opc.tcp://127.0.0.1:{plant.opcua_port}/",
            tags=(speed,),
            publishing_seconds=0.1,
            timeout_seconds=TIMEOUT_SECONDS,
        ),
    ]


async def _cause_of_death(config: TagDriverConfig, alive: asyncio.Event) -> Exception:
    """Why it ended, once it had been alive: a machine under load may take several tries."""
    while True:
        try:
            async with config.open() as driver:
                async for _ in driver.readings():
                    alive.set()
        except DeviceUnreachable as error:
            if alive.is_set():
                return error
        else:
            raise AssertionError("the readings ended in silence")


def _camera_cause_of_death(
    config: HttpCameraConfig, alive: asyncio.Event, loop: asyncio.AbstractEventLoop
) -> Exception:
    while True:
        try:
            with config.open() as camera:
                for _ in camera.frames():
                    loop.call_soon_threadsafe(alive.set)
        except DeviceUnreachable as error:
            if alive.is_set():
                return error
        else:
            raise AssertionError("the frames ended in silence")


async def _all_running(plant: PlantProcess) -> AsyncIterator[None]:
    """Opens everything; goes on once all are alive; then everything must die of the same trouble in time."""
    camera = HttpCameraConfig(
        name="top",
        url=f"http://127.0.0.1:{plant.camera_port}/stream.mjpg",
        timeout_seconds=TIMEOUT_SECONDS,
    )
    loop = asyncio.get_running_loop()
    alive = [asyncio.Event() for _ in range(3)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for config, event in zip(_tag_devices(plant), alive, strict=False):
            group.create_task(_cause_of_death(config, event))
        group.create_task(asyncio.to_thread(_camera_cause_of_death, camera, alive[2], loop))
        for event in alive:
            await event.wait()
        yield
        began = time.monotonic()
    assert time.monotonic() - began < NOTICED_SECONDS


async def test_every_driver_notices_a_frozen_plant_comes_back_with_it_and_notices_its_death() -> None:
    with plant_process("--seed", "3") as plant:
        async for _ in _all_running(plant):
            plant.freeze()
        plant.thaw()
        async for _ in _all_running(plant):
            plant.kill()
