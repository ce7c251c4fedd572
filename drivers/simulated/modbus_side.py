"""The simulated plant's Modbus TCP server: the encoder, the coolant, and the block that the box writes.

Holding 0..1 is the encoder in millimetres (uint32, most significant word first), input 10 the coolant in
tenths of a degree (int16), holding 100..104 and coil 0 the verdict block of appliance/profiles/surface.toml.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.simulated.line import Line

_READ_HOLDING, _READ_INPUT = 3, 4
_COOLANT_ADDRESS, _VERDICT_ADDRESS, _VERDICT_REGISTERS = 10, 100, 5
_KEPT_WRITES = 1000


@dataclass(frozen=True, slots=True)
class Written:
    """One write request as the plant got it: Modbus function code, first address, values."""

    seconds: float
    function_code: int
    address: int
    values: tuple[int, ...]


class ModbusSide:
    """The server; `written` holds the last thousand write requests."""

    def __init__(self, line: Line) -> None:
        self.written: deque[Written] = deque(maxlen=_KEPT_WRITES)
        self._line = line

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[int]:
        """Serve on 127.0.0.1; yields the port, which is chosen by the system for 0."""
        server = ModbusTcpServer(self._device(), address=("127.0.0.1", port))
        if not await server.listen():
            raise OSError(f"port {port} is taken")
        try:
            yield server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined] # asyncio.Server, not the transport that pymodbus declares
        finally:
            await server.shutdown()  # type: ignore[no-untyped-call] # pymodbus leaves it so

    def _device(self) -> SimDevice:
        coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        discrete = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        holding = [
            SimData(0, values=0, datatype=DataType.UINT32, readonly=True),
            SimData(_VERDICT_ADDRESS, count=_VERDICT_REGISTERS, values=0, datatype=DataType.REGISTERS),
        ]
        inputs = [SimData(_COOLANT_ADDRESS, values=0, datatype=DataType.INT16)]
        return SimDevice(1, simdata=(coils, discrete, holding, inputs), action=self._touched)

    async def _touched(
        self,
        function_code: int,
        start_address: int,
        address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        seconds = self._line.seconds()
        if values is not None:
            self.written.append(Written(seconds, function_code, address, tuple(int(v) for v in values)))
        elif function_code == _READ_HOLDING:
            position_mm = int(self._line.position_mm(seconds)) % 2**32
            registers[0 - start_address : 2 - start_address] = divmod(position_mm, 2**16)
        elif function_code == _READ_INPUT:
            tenths = round(self._line.coolant_celsius(seconds) * 10)
            registers[_COOLANT_ADDRESS - start_address] = tenths % 2**16
        return None
