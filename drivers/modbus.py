"""Modbus TCP: polls a map of registers and bits, and writes the ones that are configured as writable.

pymodbus carries the requests; which requests to make and what the words mean is in modbus_words.py. There is
one request under way per connection, and a request that is not answered in time closes the connection, so
that its late answer is never taken for the answer to the next one.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from drivers.errors import (
    DeviceError,
    DeviceMisconfigured,
    DeviceRefused,
    DeviceUnreachable,
    ProtocolViolation,
)
from drivers.modbus_words import (
    NotEncodable,
    NoValue,
    ReadRequest,
    Table,
    WordOrder,
    Words,
    WordType,
    WriteRequest,
    decode,
    encode,
    halve,
    plan_reads,
    plan_writes,
)
from drivers.reading import Quality, Reading, TagValue
from drivers.settings import Name, PeriodSeconds, Settings, TimeoutSeconds, Unit

if TYPE_CHECKING:  # importing it takes 0.2 s, which a process that only reads the configuration saves
    from pymodbus.pdu import ModbusPDU

_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_ABOUT_THE_ADDRESS = frozenset({1, 2, 3, 4})
"""4 as well: some devices answer so to addresses that they do not have."""
_GATEWAY = frozenset({10, 11})


class ModbusTag(Settings):
    """One tag: where it lies, what its words mean, and whether the box may write it.

    `address` counts from 0, as on the wire. value = raw * scale + offset. `bit` (0 is the least significant)
    picks one bit of a register. `invalid` lists raw words by which the device says that it has no value.
    """

    name: Name
    table: Table
    address: Annotated[int, Field(ge=0, le=65_535)]
    type: WordType
    word_order: WordOrder = WordOrder.BIG
    scale: float = Field(1.0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    invalid: tuple[int, ...] = ()
    unit: Unit = ""
    writable: bool = False

    @property
    def words(self) -> Words:
        """The tag's words."""
        return Words(
            self.table,
            self.address,
            self.type,
            self.word_order,
            self.scale,
            self.offset,
            self.bit,
            self.invalid,
        )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        is_bool = self.type is WordType.BOOL
        if self.table.is_bits and not is_bool:
            raise ValueError(f"a {self.table} is one bit: its type is bool")
        if self.bit is not None and (self.table.is_bits or not is_bool):
            raise ValueError("bit picks a bit of a register: use it with a register table and type bool")
        if self.scale == 0 or (is_bool and (self.scale, self.offset) != (1, 0)):
            raise ValueError("scale must not be 0, and a bool has neither scale nor offset")
        if self.writable and (self.table in {Table.INPUT, Table.DISCRETE} or self.bit is not None):
            raise ValueError("only a coil or a whole holding register can be written")
        if self.address + self.words.count > 65_536:
            raise ValueError(f"{self.type} at {self.address} goes past the last address, 65535")
        return self


class ModbusConfig(Settings):
    """A Modbus TCP device. Its own factory: `async with config.open() as driver`.

    `max_gap` is how many addresses that no tag asks for a request may read across: 0 suits every device,
    more saves requests with devices that answer for the gaps as well.
    """

    driver: Literal["modbus"] = "modbus"
    name: Name
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    poll_seconds: PeriodSeconds = 1.0
    timeout_seconds: TimeoutSeconds = 1.0
    max_gap: Annotated[int, Field(ge=0, le=100)] = 0
    tags: Annotated[tuple[ModbusTag, ...], Field(min_length=1)]

    @property
    def tag_units(self) -> Mapping[str, str]:
        """Every tag with its unit; writable ones are read back and so are among them."""
        return {tag.name: tag.unit for tag in self.tags}

    @property
    def writable_tags(self) -> frozenset[str]:
        """The tags that may be written."""
        return frozenset(tag.name for tag in self.tags if tag.writable)

    def load_library(self) -> None:
        """Import what `open` needs. See TagDriverConfig."""
        import pymodbus.client  # noqa: F401 - for its effect

    @asynccontextmanager
    async def open(self) -> AsyncIterator["ModbusDriver"]:
        """Connect.

        Raises:
            DeviceUnreachable: if nobody accepts the connection in time.
        """
        driver = ModbusDriver(self)
        try:
            await driver.connect()
            yield driver
        finally:
            driver.close()


class ModbusDriver:
    """An open connection to a Modbus TCP device."""

    def __init__(self, config: ModbusConfig) -> None:
        from pymodbus.client import AsyncModbusTcpClient

        self._config = config
        self._words = [tag.words for tag in config.tags]
        self._plan = plan_reads(self._words, config.max_gap)
        self._writable = {tag.name: tag.words for tag in config.tags if tag.writable}
        self._turn = asyncio.Lock()
        self._write_turn = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        self._died: DeviceError | None = None
        self._answer_bytes = 0
        self._client = AsyncModbusTcpClient(
            config.host,
            port=config.port,
            timeout=config.timeout_seconds,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._connection_changed,
            trace_packet=self._count_packet,
        )

    async def connect(self) -> None:
        """Connect; raises DeviceUnreachable."""
        if not await self._client.connect():
            host, port, seconds = self._config.host, self._config.port, self._config.timeout_seconds
            raise DeviceUnreachable(
                f"nobody accepts a connection at {host}:{port} within {seconds} s",
                hint="Check that the device is on, its address and port, and the cable and firewall between.",
            )

    def close(self) -> None:
        """Close the connection at once, also when the device no longer takes what was sent."""
        self._died = self._died or DeviceUnreachable(f"{self._config.name}: the connection is closed")
        transport = self._client.ctx.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        self._client.close()

    async def readings(self) -> AsyncIterator[Reading]:
        """Poll all tags every `poll_seconds`. See TagDriver.

        A tag that the device refuses is BAD with the device's exception as its status.

        Raises:
            DeviceRefused: if the device refuses every tag.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for reading in await self._poll():
                yield reading
            due = max(due + self._config.poll_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def write(self, values: Mapping[str, TagValue]) -> None:
        """Write in the order given, neighbouring registers in one request. See TagDriver.

        Raises:
            DeviceRefused: if the device answers with an exception; what came before it is written.
        """
        names = list(values)
        requests = plan_writes([self._encoded(name, value) for name, value in values.items()])
        async with self._write_turn:
            for request in requests:
                await self._write(request, ", ".join(names[i] for i in request.items))

    # --- reading ------------------------------------------------------------------------------------------

    async def _poll(self) -> list[Reading]:
        readings: list[Reading] = []
        todo, kept, refused = deque(self._plan), [], 0
        while todo:
            request = todo.popleft()
            answer = await self._ask(self._read_call(request))
            received_mono_ns = time.monotonic_ns()
            if answer.isError():
                code = self._exception_code(answer)
                if code in _ABOUT_THE_ADDRESS and len(request.items) > 1:
                    todo.extendleft(reversed(halve(request, self._words, self._config.max_gap)))
                    continue
                refused += len(request.items) if code in _ABOUT_THE_ADDRESS else 0
                readings += [self._bad(i, _exception_name(code), received_mono_ns) for i in request.items]
            else:
                readings += self._decoded(request, answer, received_mono_ns)
            kept.append(request)
        self._plan = kept  # a request that the device refuses as a whole stays divided
        if refused == len(self._words):
            raise DeviceRefused(
                f"the device refuses every tag; the last with {readings[-1].status}",
                hint=f"Check unit_id {self._config.unit_id}, the tables and the addresses (from 0 on).",
            )
        return readings

    def _read_call(self, request: ReadRequest) -> Callable[[], Awaitable["ModbusPDU"]]:
        client = self._client
        read = {
            Table.HOLDING: client.read_holding_registers,
            Table.INPUT: client.read_input_registers,
            Table.COIL: client.read_coils,
            Table.DISCRETE: client.read_discrete_inputs,
        }[request.table]
        return lambda: read(request.address, count=request.count, device_id=self._config.unit_id)

    def _decoded(self, request: ReadRequest, answer: "ModbusPDU", received_mono_ns: int) -> list[Reading]:
        raw: Sequence[int] = answer.bits if request.table.is_bits else answer.registers
        whole_bytes = (request.count + 7) // 8 * 8  # bits come padded to bytes
        if len(raw) != (whole_bytes if request.table.is_bits else request.count):
            raise self._died_of(
                ProtocolViolation(f"{request.count} {request.table} asked for and {len(raw)} received")
            )
        readings = []
        for i in request.items:
            words = self._words[i]
            start = words.address - request.address
            try:
                value = decode(words, raw[start : start + words.count])
            except NoValue as error:
                readings.append(self._bad(i, str(error), received_mono_ns))
            else:
                name = self._config.tags[i].name
                readings.append(Reading(name, value, Quality.GOOD, received_mono_ns))
        return readings

    def _bad(self, item: int, status: str, received_mono_ns: int) -> Reading:
        return Reading(self._config.tags[item].name, None, Quality.BAD, received_mono_ns, status=status)

    # --- writing ------------------------------------------------------------------------------------------

    def _encoded(self, name: str, value: TagValue) -> tuple[Words, list[int] | list[bool]]:
        words = self._writable.get(name)
        if words is None:
            raise DeviceMisconfigured(
                f"{name!r} is not a writable tag of {self._config.name}",
                hint="Set `writable = true` on the tag if the box is meant to write it.",
            )
        try:
            return words, encode(words, value)
        except NotEncodable as error:
            raise DeviceMisconfigured(
                f"{name}: {error}", hint="Give the tag a wider type, or another scale."
            ) from error

    async def _write(self, request: WriteRequest, names: str) -> None:
        answer = await self._ask(self._write_call(request))
        if answer.isError():
            status = _exception_name(self._exception_code(answer))
            raise DeviceRefused(
                f"the device did not take {names}: {status}",
                hint="Check the tag's address, and that the device's program allows the box to write there.",
            )
        wrote = len(request.values)
        # one value comes back as it was written, several as their number
        expected = list(request.values) if wrote == 1 else [wrote]
        echoed = [*answer.bits[:1], *answer.registers] if wrote == 1 else [answer.count]
        if answer.address != request.address or echoed != expected:
            raise self._died_of(ProtocolViolation(f"the acknowledgement of {names} is for something else"))

    def _write_call(self, request: WriteRequest) -> Callable[[], Awaitable["ModbusPDU"]]:
        client, at, unit = self._client, request.address, self._config.unit_id
        values = list(request.values)
        if request.table.is_bits and len(values) == 1:
            return lambda: client.write_coil(at, bool(values[0]), device_id=unit)
        if request.table.is_bits:
            return lambda: client.write_coils(at, [bool(value) for value in values], device_id=unit)
        if len(values) == 1:
            return lambda: client.write_register(at, values[0], device_id=unit)
        return lambda: client.write_registers(at, values, device_id=unit)

    # --- one request at a time ----------------------------------------------------------------------------

    async def _ask(self, call: Callable[[], Awaitable["ModbusPDU"]]) -> "ModbusPDU":
        """One request and its answer; whatever else happens, the connection is closed afterwards."""
        from pymodbus.exceptions import ModbusException

        async with self._turn:
            if self._died is not None:
                raise self._died
            self._answer_bytes = 0
            try:
                async with asyncio.timeout(self._config.timeout_seconds) as self._patience:
                    return await call()
            except (TimeoutError, ModbusException) as error:
                raise self._died_of(self._why_no_answer()) from error
            except BaseException:
                self.close()
                raise
            finally:
                self._patience = None

    def _why_no_answer(self) -> DeviceError:
        if self._answer_bytes:
            return ProtocolViolation(
                f"{self._answer_bytes} bytes came that are no answer to the request",
                hint="Check that the port is a Modbus TCP one (not RTU over TCP), and the unit id.",
            )
        if self._client.connected:
            return DeviceUnreachable(
                f"no answer within {self._config.timeout_seconds} s",
                hint=f"Check that unit_id {self._config.unit_id} exists and the device is not overloaded.",
            )
        return DeviceUnreachable("the device closed the connection", hint="Check the device and its network.")

    def _died_of(self, error: DeviceError) -> DeviceError:
        self._died = self._died or error
        self.close()
        return error

    def _exception_code(self, answer: "ModbusPDU") -> int:
        code: int = answer.exception_code
        if code in _GATEWAY:
            raise self._died_of(
                DeviceUnreachable(
                    f"the gateway says: {_exception_name(code)}",
                    hint=f"Check the device with unit_id {self._config.unit_id} behind the gateway.",
                )
            )
        return code

    def _connection_changed(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        if not connected and self._patience is not None and not self._patience.expired():
            # pymodbus 3.16 would wait out the time-out for an answer that can no longer come
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _count_packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - pymodbus calls it so
        if not sending:
            self._answer_bytes = max(self._answer_bytes, len(data))
        return data


def _exception_name(code: int) -> str:
    return f"{_EXCEPTIONS.get(code, 'unknown')} (Modbus exception {code})"
