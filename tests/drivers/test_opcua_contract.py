import pytest

from drivers.opcua import OpcUaConfig, OpcUaTag
from tests.support.driver_contract import TIMEOUT_SECONDS, DriverContract
from tests.support.plant_process import PlantProcess


class TestOpcUaKeepsTheContract(DriverContract):
    SILENCE_SECONDS = TIMEOUT_SECONDS + 10 * 0.1  # ten publishing intervals between keep-alives

    @pytest.fixture
    def device_port(self, plant: PlantProcess) -> int:
        return plant.opcua_port

    def config(self, port: int) -> OpcUaConfig:
        return OpcUaConfig(
            name="line",
            url=f"opc.tcp://127.0.0.1:{port}/",
            publishing_seconds=0.1,
            timeout_seconds=TIMEOUT_SECONDS,
            tags=(
                OpcUaTag(name="coil", node="ns=2;s=Line.CoilId"),
                OpcUaTag(name="speed", node="ns=2;s=Line.Speed", unit="m/min"),
                OpcUaTag(name="verdict", node="ns=2;s=Box.Verdict", writable=True),
            ),
        )
