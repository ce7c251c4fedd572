import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import pytest

from drivers.camera_http import HttpCameraConfig
from drivers.errors import DeviceError, ProtocolViolation
from drivers.modbus import ModbusConfig, ModbusTag
from drivers.modbus_words import Table, WordType
from drivers.picture import decode_picture
from drivers.simulated.faults import BadFaultPlan, Fault, FaultKind, FaultPlan, read_fault_plan
from drivers.simulated.line import Line
from drivers.simulated.plant import running_plant
from drivers.simulated.strip import FRAME_PITCH_MM, Strip
from tests.support.plant_process import PlantProcess


def _camera(port: int) -> HttpCameraConfig:
    return HttpCameraConfig(name="top", url=f"http://127.0.0.1:{port}/stream.mjpg", timeout_seconds=2.0)


# --- the line ---------------------------------------------------------------------------------------------


def test_the_position_is_the_integral_of_the_speed() -> None:
    line = Line(speed_m_per_s=1.3)
    step = 0.001
    travelled = sum(line.speed_m_per_s(i * step) * step * 1000 for i in range(20_000))
    assert line.position_mm(20.0) == pytest.approx(travelled, rel=1e-4)


def test_a_line_that_has_not_been_started_stands_still() -> None:
    assert Line().seconds() == 0.0


def test_the_coil_changes_every_so_many_metres_and_never_repeats() -> None:
    line = Line(speed_m_per_s=1.0, coil_m=50.0)
    assert line.coil_id(0.0) == "AL-2041-07"
    assert line.coil_id(49.0) == "AL-2041-07"
    assert line.coil_id(52.0) == "AL-2041-08"
    coils = [line.coil_id(float(seconds)) for seconds in range(2000)]
    assert len(set(coils)) == sum(a != b for a, b in pairwise(coils)) + 1


def test_the_coolant_is_too_warm_for_some_seconds_every_twenty_five() -> None:
    line = Line()
    for start in range(0, 250, 25):
        hot = [at for at in range(25) if line.coolant_celsius(float(start + at)) > 48.0]
        assert 3 <= len(hot) <= 6
        assert set(hot) <= set(range(8, 15))
        assert line.coolant_celsius(start + 20.0) < 46.0


# --- the plant --------------------------------------------------------------------------------------------


async def test_the_frames_are_the_strips_and_the_encoder_agrees(plant: PlantProcess) -> None:
    tag = ModbusTag(name="encoder", table=Table.HOLDING, address=0, type=WordType.UINT32)
    plc = ModbusConfig(name="plc", host="127.0.0.1", port=plant.modbus_port, tags=(tag,))

    def newest() -> tuple[int, float]:
        with _camera(plant.camera_port).open() as camera:
            frame = next(iter(camera.frames()))
        expected = strip.picture(frame.number)
        return frame.number, float(np.abs(frame.image.astype(int) - expected).mean())

    strip = await asyncio.to_thread(Strip, 7)
    number, difference = await asyncio.to_thread(newest)
    async with plc.open() as driver:
        reading = await anext(driver.readings())
    assert difference < 4  # what JPEG changes
    assert isinstance(reading.value, int)
    assert 0 <= reading.value - number * FRAME_PITCH_MM < 3000


async def test_a_snapshot_is_a_picture_and_another_path_is_not_there(plant: PlantProcess) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{plant.camera_port}", trust_env=False) as client:
        snapshot = await client.get("/snapshot.jpg")
        missing = await client.get("/nothing")
    assert snapshot.status_code == 200
    assert decode_picture(snapshot.content).shape == (1024, 1280, 3)
    assert missing.status_code == 404


async def test_several_clients_see_the_same_frames(plant: PlantProcess) -> None:
    def numbers() -> set[int]:
        with _camera(plant.camera_port).open() as camera:
            frames = camera.frames()
            return {next(frames).number for _ in range(6)}

    first, second = await asyncio.gather(asyncio.to_thread(numbers), asyncio.to_thread(numbers))
    assert first & second


async def test_a_running_plant_knows_what_was_written_to_it() -> None:
    block = (
        ModbusTag(name="verdict", table=Table.HOLDING, address=102, type=WordType.UINT16, writable=True),
        ModbusTag(name="ng", table=Table.COIL, address=0, type=WordType.BOOL, writable=True),
        ModbusTag(name="encoder", table=Table.HOLDING, address=0, type=WordType.UINT32),
    )
    before = asyncio.all_tasks()
    async with running_plant(7) as plant:
        plc = ModbusConfig(name="plc", host="127.0.0.1", port=plant.modbus_port, tags=block)
        async with plc.open() as driver:
            await driver.write({"verdict": 2, "ng": True})
        writes = [(write.function_code, write.address, write.values) for write in plant.written]
    assert writes == [(6, 102, (2,)), (5, 0, (1,))]
    assert asyncio.all_tasks() <= before


async def test_an_error_inside_a_running_plant_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError):
        async with running_plant(7):
            raise LookupError


# --- faults -----------------------------------------------------------------------------------------------


async def test_faults_happen_when_planned_and_the_plant_comes_back() -> None:
    faults = FaultPlan(
        (
            Fault(what=FaultKind.CAMERA_GONE, at_seconds=0.0, for_seconds=1.0),
            Fault(what=FaultKind.GARBAGE, at_seconds=1.5, for_seconds=60.0),
            Fault(what=FaultKind.MODBUS_GONE, at_seconds=0.0, for_seconds=1.0),
        )
    )
    tag = ModbusTag(name="encoder", table=Table.HOLDING, address=0, type=WordType.UINT32)

    async def opens(port: int) -> bool:
        try:
            async with ModbusConfig(name="plc", host="127.0.0.1", port=port, tags=(tag,)).open():
                return True
        except DeviceError:
            return False

    def cause_of_death(port: int) -> DeviceError | None:
        try:
            with _camera(port).open() as camera:
                for _ in camera.frames():
                    pass
        except DeviceError as error:
            return error
        return None

    async with running_plant(7, line=Line(speed_m_per_s=3.0), faults=faults) as plant, asyncio.timeout(30):
        while await opens(plant.modbus_port):
            await asyncio.sleep(0.02)
        while not await opens(plant.modbus_port):
            await asyncio.sleep(0.02)
        seen: set[type[DeviceError] | None] = set()
        while ProtocolViolation not in seen:
            error = await asyncio.to_thread(cause_of_death, plant.camera_port)
            seen.add(type(error) if error else None)


def test_a_fault_plan_is_read_from_toml(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[faults]]\nwhat = "camera_frozen"\nat_seconds = 5\nfor_seconds = 2.5\n', encoding="utf-8"
    )
    faults = read_fault_plan(plan)
    assert [faults.active(FaultKind.CAMERA_FROZEN, at) for at in (4.9, 5.0, 7.4, 7.5)] == [
        False,
        True,
        True,
        False,
    ]
    assert not faults.active(FaultKind.GARBAGE, 6.0)


@pytest.mark.parametrize(
    "text", ["[[faults]]\nwhat = 'fire'\nat_seconds = 1\nfor_seconds = 1\n", "not toml", "fault = 1"]
)
def test_a_fault_plan_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(BadFaultPlan, match=r"plan\.toml"):
        read_fault_plan(plan)


# --- the program ------------------------------------------------------------------------------------------


def test_the_program_says_its_ports_and_stops_on_sigterm() -> None:
    command = [sys.executable, "-m", "drivers.simulated.plant", "--seed", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert ready["pid"] == process.pid
    assert ready["seed"] == 5
    assert len({ready["modbus_port"], ready["opcua_port"], ready["camera_port"], 0}) == 4


def test_the_program_stops_when_its_parent_dies() -> None:
    program = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-m', 'drivers.simulated.plant'], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while _runs(pid):
        assert time.monotonic() < deadline, "the plant outlives its parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("port", ["--modbus-port", "--opcua-port"])
def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(plant: PlantProcess, port: str) -> None:
    command = [sys.executable, "-m", "drivers.simulated.plant", port, str(plant.modbus_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Choose ports that are free" in done.stderr
