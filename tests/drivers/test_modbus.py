import asyncio
import ctypes.util
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from drivers.errors import DeviceMisconfigured, DeviceRefused, DeviceUnreachable, ProtocolViolation
from drivers.modbus import ModbusConfig, ModbusDriver, ModbusTag
from drivers.modbus_words import Table, WordType
from drivers.reading import Quality, Reading
from tests.support.link import link

SUPPORT = Path(__file__).parents[1] / "support"


def tag(name: str, table: Table, address: int, kind: WordType = WordType.UINT16, **more: object) -> ModbusTag:
    return ModbusTag.model_validate({"name": name, "table": table, "address": address, "type": kind, **more})


def config(port: int, *tags: ModbusTag, **more: object) -> ModbusConfig:
    settings = {
        "name": "plc",
        "host": "127.0.0.1",
        "port": port,
        "poll_seconds": 0.02,
        "timeout_seconds": 0.5,
    }
    return ModbusConfig.model_validate({**settings, "tags": tags, **more})


async def poll(driver: ModbusDriver) -> dict[str, Reading]:
    """One reading of every tag."""
    found: dict[str, Reading] = {}
    wanted = len(driver._words)
    async with asyncio.timeout(5):
        async for reading in driver.readings():
            found[reading.tag] = reading
            if len(found) == wanted:
                return found
    raise AssertionError("the readings ended in silence")


# --- a peer that nobody here wrote ------------------------------------------------------------------------

needs_libmodbus = pytest.mark.skipif(
    ctypes.util.find_library("modbus") is None, reason="libmodbus is not installed (Debian: libmodbus5)"
)
needs_mbpoll = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")


@pytest.fixture
def libmodbus_port() -> Iterator[int]:
    command = [sys.executable, str(SUPPORT / "libmodbus_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@needs_libmodbus
async def test_libmodbus_is_read_as_it_holds_it(libmodbus_port: int) -> None:
    tags = (
        tag("first", Table.HOLDING, 0),
        tag("wide", Table.HOLDING, 4, WordType.UINT32),
        tag("input", Table.INPUT, 7),
        tag("on", Table.DISCRETE, 3, WordType.BOOL),
        tag("off", Table.DISCRETE, 4, WordType.BOOL),
        tag("coil", Table.COIL, 0, WordType.BOOL),
    )
    async with config(libmodbus_port, *tags).open() as driver:
        values = {name: reading.value for name, reading in (await poll(driver)).items()}
    wide = (1004 << 16) + 1005
    assert values == {"first": 1000, "wide": wide, "input": 2007, "on": True, "off": False, "coil": False}


@needs_libmodbus
@needs_mbpoll
async def test_what_is_written_to_libmodbus_is_there_for_mbpoll(libmodbus_port: int) -> None:
    block = (
        tag("a", Table.HOLDING, 100, writable=True),
        tag("b", Table.HOLDING, 101, WordType.INT32, writable=True),
        tag("c", Table.COIL, 5, WordType.BOOL, writable=True),
        tag("d", Table.COIL, 6, WordType.BOOL, writable=True),
    )
    async with config(libmodbus_port, *block).open() as driver:
        await driver.write({"a": 7, "b": -2, "c": True, "d": True})
        await driver.write({"a": 8, "d": False})
    assert await _mbpoll(libmodbus_port, "-t4", "-r100", "-c3") == [8, 65535, 65534]
    assert await _mbpoll(libmodbus_port, "-t0", "-r5", "-c2") == [1, 0]


async def _mbpoll(port: int, *arguments: str) -> list[int]:
    process = await asyncio.create_subprocess_exec(
        *("mbpoll", "-mtcp", f"-p{port}", "-a1", "-1", "-0", "-q", *arguments, "127.0.0.1"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    lines = [line for line in output.decode().splitlines() if line.startswith("[")]
    return [int(line.split(":")[1].split("(")[0]) for line in lines]


@needs_libmodbus
async def test_one_address_that_is_missing_makes_its_tag_bad_and_no_other(libmodbus_port: int) -> None:
    tags = [tag(f"t{i}", Table.HOLDING, i) for i in range(190, 203)]
    async with config(libmodbus_port, *tags).open() as driver:
        for _ in range(2):
            found = await poll(driver)
            bad = {name for name, reading in found.items() if reading.quality is Quality.BAD}
            assert bad == {"t200", "t201", "t202"}
            assert found["t199"].value == 1199
            assert found["t200"].status == "illegal data address (Modbus exception 2)"
            assert found["t200"].value is None


@needs_libmodbus
async def test_a_device_that_has_none_of_the_addresses_refuses(libmodbus_port: int) -> None:
    tags = [tag("x", Table.HOLDING, 900), tag("y", Table.INPUT, 901)]
    async with config(libmodbus_port, *tags).open() as driver:
        with pytest.raises(DeviceRefused, match="refuses every tag"):
            await poll(driver)


@needs_libmodbus
async def test_a_refused_write_names_the_tag_and_the_driver_lives_on(libmodbus_port: int) -> None:
    tags = [tag("ok", Table.HOLDING, 0, writable=True), tag("gone", Table.HOLDING, 900, writable=True)]
    async with config(libmodbus_port, *tags).open() as driver:
        with pytest.raises(DeviceRefused, match="gone"):
            await driver.write({"ok": 5, "gone": 6})
        assert (await poll(driver))["ok"].value == 5


# --- a device that misbehaves -----------------------------------------------------------------------------

Answer = Callable[[bytes], bytes]
"""From the request's ADU to the bytes that come back."""


@asynccontextmanager
async def _device(answer: Answer) -> AsyncIterator[int]:
    talking: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking[writer] = asyncio.current_task()
        try:
            while True:
                head = await reader.readexactly(7)
                rest = await reader.readexactly(int.from_bytes(head[4:6]) - 1)
                writer.write(answer(head + rest))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in talking:
            writer.transport.abort()
        await asyncio.gather(*(task for task in talking.values() if task))


def _adu(request: bytes, pdu: bytes, *, transaction: int | None = None) -> bytes:
    number = request[:2] if transaction is None else transaction.to_bytes(2)
    return number + b"\0\0" + (len(pdu) + 1).to_bytes(2) + request[6:7] + pdu


def _registers(*registers: int) -> bytes:
    octets = b"".join(register.to_bytes(2) for register in registers)
    return bytes([3, len(octets)]) + octets


ONE = tag("one", Table.HOLDING, 0)
TWO = tag("two", Table.HOLDING, 0, WordType.UINT32)
OUT = tag("out", Table.HOLDING, 8, writable=True)


async def test_a_late_answer_is_never_taken_for_the_next_request() -> None:
    requests: list[bytes] = []

    def late(request: bytes) -> bytes:
        requests.append(request)
        return b"" if len(requests) == 1 else _adu(requests[-2], _registers(len(requests) - 1))

    async with _device(late) as port, config(port, ONE).open() as driver:
        with pytest.raises(DeviceUnreachable):
            await poll(driver)
        with pytest.raises(DeviceUnreachable):
            await poll(driver)
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda request: _adu(request, _registers(1, 2, 3)), "2 holding asked for and 3 received"),
        (lambda request: _adu(request, _registers(1)), "2 holding asked for and 1 received"),
        (lambda request: _adu(request, _registers(1, 2), transaction=4711), "no answer to the request"),
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "no answer to the request"),
        (lambda request: _adu(request, b"\x2b\x99"), "2 holding asked for and 0 received"),
    ],
    ids=["too many", "too few", "another transaction", "http", "another function"],
)
async def test_an_answer_that_is_none_is_a_protocol_violation(answer: Answer, sentence: str) -> None:
    async with _device(answer) as port, config(port, TWO).open() as driver:
        with pytest.raises(ProtocolViolation, match=sentence):
            await poll(driver)


async def test_a_busy_device_makes_bad_readings_and_is_asked_again() -> None:
    answers = iter([bytes([0x83, 6]), _registers(0, 9)])
    async with (
        _device(lambda request: _adu(request, next(answers))) as port,
        config(port, TWO).open() as driver,
    ):
        readings = driver.readings()
        busy = await anext(readings)
        assert (busy.quality, busy.status) == (Quality.BAD, "server device busy (Modbus exception 6)")
        assert (await anext(readings)).value == 9


async def test_a_gateway_whose_device_is_off_is_unreachable() -> None:
    async with (
        _device(lambda request: _adu(request, bytes([0x83, 11]))) as port,
        config(port, ONE).open() as driver,
    ):
        with pytest.raises(DeviceUnreachable, match="gateway target device failed to respond"):
            await poll(driver)


async def test_an_acknowledgement_of_something_else_is_a_protocol_violation() -> None:
    def other(request: bytes) -> bytes:
        return _adu(request, request[7:8] + (9).to_bytes(2) + request[10:12])

    async with _device(other) as port, config(port, OUT).open() as driver:
        with pytest.raises(ProtocolViolation, match="out"):
            await driver.write({"out": 3})


async def test_a_value_that_does_not_fit_is_refused_before_anything_is_sent() -> None:
    requests: list[bytes] = []

    def note(request: bytes) -> bytes:
        requests.append(request)
        return request

    async with _device(note) as port, config(port, OUT).open() as driver:
        with pytest.raises(DeviceMisconfigured, match="70000"):
            await driver.write({"out": 70_000})
    assert requests == []


async def test_the_unit_id_is_the_configured_one() -> None:
    async with (
        _device(lambda request: _adu(request, _registers(request[6]))) as port,
        config(port, ONE, unit_id=17).open() as driver,
    ):
        assert (await poll(driver))["one"].value == 17


async def test_a_write_waits_for_at_most_the_request_under_way() -> None:
    order: list[int] = []

    def note(request: bytes) -> bytes:
        order.append(request[7])
        return request if request[7] == 6 else _adu(request, _registers(0))

    tags = [tag(f"t{i}", Table.HOLDING, 2 * i) for i in range(50)]
    async with (
        _device(note) as port,
        config(port, *tags, OUT).open() as driver,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(poll(driver))
        while not order:
            await asyncio.sleep(0)
        before = len(order)
        await driver.write({"out": 1})
        assert order.index(6) - before <= 1


async def test_fifty_polls_are_no_faster_than_configured() -> None:
    count = 0

    def note(request: bytes) -> bytes:
        nonlocal count
        count += 1
        return _adu(request, _registers(0))

    loop = asyncio.get_running_loop()
    async with _device(note) as port, config(port, ONE, poll_seconds=0.01).open() as driver:
        began = loop.time()
        async for _ in driver.readings():
            if count == 20:
                break
        assert loop.time() - began >= 19 * 0.01 * 0.95


async def test_a_host_that_does_not_exist_is_unreachable() -> None:
    async with link(None) as unused:
        port = unused.port
    with pytest.raises(DeviceUnreachable, match=str(port)):
        async with config(port, ONE).open():
            pass


# --- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"table": "coil"}, "its type is bool"),
        ({"table": "input", "writable": True}, "can be written"),
        ({"bit": 3}, "bit picks a bit"),
        ({"scale": 0}, "scale must not be 0"),
        ({"address": 65535, "type": "uint32"}, "past the last address"),
        ({"address": -1}, "greater than or equal to 0"),
        ({"adress": 1}, "Extra inputs"),
        ({"type": "uint8"}, "uint8"),
        ({"type": "bool", "bit": 1, "writable": True}, "can be written"),
    ],
)
def test_a_tag_that_cannot_be_is_refused_without_a_device(changes: dict[str, object], sentence: str) -> None:
    given = {"name": "x", "table": "holding", "address": 1, "type": "uint16"}
    with pytest.raises(ValidationError, match=sentence):
        ModbusTag.model_validate({**given, **changes})
