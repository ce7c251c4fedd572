import pytest

from drivers.modbus import ModbusConfig, ModbusTag
from drivers.modbus_words import Table, WordType
from tests.support.driver_contract import TIMEOUT_SECONDS, DriverContract
from tests.support.plant_process import PlantProcess


class TestModbusKeepsTheContract(DriverContract):
    @pytest.fixture
    def device_port(self, plant: PlantProcess) -> int:
        return plant.modbus_port

    def config(self, port: int) -> ModbusConfig:
        return ModbusConfig(
            name="plc",
            host="127.0.0.1",
            port=port,
            poll_seconds=0.05,
            timeout_seconds=TIMEOUT_SECONDS,
            tags=(
                ModbusTag(name="coolant", table=Table.INPUT, address=10, type=WordType.INT16, scale=0.1),
                ModbusTag(name="encoder", table=Table.HOLDING, address=0, type=WordType.UINT32, unit="mm"),
                ModbusTag(
                    name="heartbeat", table=Table.HOLDING, address=100, type=WordType.UINT16, writable=True
                ),
            ),
        )
