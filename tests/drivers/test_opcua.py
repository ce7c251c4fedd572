import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.status_codes import StatusCodes

from drivers.driver import TagDriver
from drivers.errors import DeviceError, DeviceMisconfigured, DeviceRefused, DeviceUnreachable
from drivers.opcua import OpcUaConfig, OpcUaTag
from drivers.reading import Quality, Reading
from tests.support.plant_process import PlantProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")


def config(port: int, *tags: OpcUaTag, **more: object) -> OpcUaConfig:
    given = {
        "name": "line",
        "url": f"opc.tcp://127.0.0.1:{port}/",
        "publishing_seconds": 0.05,
        "timeout_seconds": 3.0,
        "tags": tags or (OpcUaTag(name="value", node="ns=2;s=Value"),),
    }
    return OpcUaConfig.model_validate({**given, **more})


class _Users(UserManager):
    """Anybody may come without a name; who gives one must know the password."""

    def get_user(
        self,
        iserver: object,  # noqa: ARG002 - asyncua's signature
        username: str | None = None,
        password: str | None = None,
        certificate: object = None,  # noqa: ARG002 - asyncua's signature
    ) -> User | None:
        known = username is None or (username, password) == ("box", "se:cret")
        return User(role=UserRole.User) if known else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    """One server for the whole file: making one takes two seconds."""
    server = Server(user_manager=_Users())
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    assert await server.register_namespace("urn:test") == 2
    async with server:
        yield server


async def _add(server: Server, values: dict[str, Any]) -> list[OpcUaTag]:
    """Make nodes, and tags of the same names for them."""
    for name, value in values.items():
        node = await server.nodes.objects.add_variable(_node_id(name), name, value)
        await node.set_writable()
    return [OpcUaTag(name=name, node=f"ns=2;s={name}", writable=len(values) == 1) for name in values]


def _node_id(name: str) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(2))


def _port(server: Server) -> int:
    assert server.bserver is not None
    return server.bserver.port


async def _first(driver: TagDriver, count: int) -> dict[str, Reading]:
    found: dict[str, Reading] = {}
    async with asyncio.timeout(10):
        async for reading in driver.readings():
            found[reading.tag] = reading
            if len(found) == count:
                return found
    raise AssertionError("the readings ended in silence")


# --- values -----------------------------------------------------------------------------------------------


async def test_values_keep_the_servers_quality_status_and_time(server: Server) -> None:
    at = ua.DateTime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    given = {
        "good": (ua.Variant(1.5), 0),
        "uncertain": (ua.Variant(2.5), StatusCodes.UncertainLastUsableValue),
        "bad": (ua.Variant(3.5), StatusCodes.BadSensorFailure),
        "nan": (ua.Variant(math.nan), 0),
        "text": (ua.Variant(ua.LocalizedText("Walzwerk")), 0),
        "flag": (ua.Variant(True), 0),  # noqa: FBT003 - the value under test
        "array": (ua.Variant([1, 2]), 0),
        "overflow": (ua.Variant(7), 0x480),  # Good, with the bits that say "the queue overflowed"
    }
    tags = await _add(server, {name: variant.Value for name, (variant, _) in given.items()})
    for name, (variant, status) in given.items():
        data = ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), SourceTimestamp=at)
        await server.write_attribute_value(_node_id(name), data)
    async with config(_port(server), *tags).open() as driver:
        found = await _first(driver, len(given))
    qualities = {name: (reading.value, reading.quality) for name, reading in found.items()}
    assert qualities == {
        "good": (1.5, Quality.GOOD),
        "uncertain": (2.5, Quality.UNCERTAIN),
        "bad": (None, Quality.BAD),
        "nan": (None, Quality.BAD),
        "text": ("Walzwerk", Quality.GOOD),
        "flag": (True, Quality.GOOD),
        "array": (None, Quality.BAD),
        "overflow": (7, Quality.GOOD),
    }
    assert found["good"].status == ""
    assert found["uncertain"].status == "UncertainLastUsableValue (0x40900000)"
    assert found["overflow"].status.endswith("(0x00000480)")
    assert {reading.source_time_ns for reading in found.values()} == {1_935_817_689_123_456_000}


async def test_eleven_hundred_tags_lose_no_first_value(server: Server) -> None:
    # asyncua's own queue holds 1000 and drops the oldest without a word
    tags = await _add(server, {f"v{i}": i for i in range(1100)})
    async with config(_port(server), *tags, timeout_seconds=20.0).open() as driver:
        found = await _first(driver, 1100)
    assert {name: reading.value for name, reading in found.items()} == {f"v{i}": i for i in range(1100)}


async def test_a_value_that_does_not_change_is_as_young_as_the_server_s_last_word(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.opcua.CONFIRM_SECONDS", 0.6)  # the server says that it is alive every 0.5 s
    (tag,) = await _add(server, {"still": 3.5})
    async with config(_port(server), tag).open() as driver, asyncio.timeout(10):
        readings = driver.readings()
        told = [await anext(readings) for _ in range(3)]
    assert [reading.value for reading in told] == [3.5, 3.5, 3.5]
    ages = [later.received_mono_ns - told[0].received_mono_ns for later in told]
    assert ages[2] > ages[1] >= 0.6e9


async def test_every_change_arrives_in_order_when_the_server_publishes_seldom(server: Server) -> None:
    tags = await _add(server, {"Often": 0})
    settings = {"publishing_seconds": 0.5, "sampling_seconds": 0.01}
    async with config(_port(server), *tags, **settings).open() as driver:
        readings = driver.readings()
        assert (await anext(readings)).value == 0
        for value in range(1, 21):
            await server.get_node(_node_id("Often")).write_value(value)
        assert [(await anext(readings)).value for _ in range(20)] == list(range(1, 21))


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (ua.VariantType.UInt16, 42, 42),
        (ua.VariantType.UInt16, True, 1),
        (ua.VariantType.Double, 3, 3.0),
        (ua.VariantType.Boolean, 1, True),
        (ua.VariantType.String, "NG", "NG"),
    ],
)
async def test_a_write_takes_the_nodes_type(
    server: Server, kind: ua.VariantType, value: Any, held: Any
) -> None:
    first = {"String": "", "Boolean": False, "Double": 0.0}.get(kind.name, 0)
    name = f"{kind.name}{value}"
    tags = await _add(server, {name: ua.Variant(first, kind)})
    async with config(_port(server), *tags).open() as driver:
        await driver.write({name: value})
    written = await server.get_node(_node_id(name)).read_data_value()
    assert written.Value is not None
    assert (written.Value.Value, written.Value.VariantType) == (held, kind)


async def test_a_value_that_does_not_fit_the_node_is_refused(server: Server) -> None:
    tags = await _add(server, {"Narrow": ua.Variant(0, ua.VariantType.UInt16)})
    async with config(_port(server), *tags).open() as driver:
        for value in (70_000, -1, "seven", math.nan, math.inf):
            with pytest.raises(DeviceMisconfigured, match="UInt16"):
                await driver.write({"Narrow": value})


# --- when it goes wrong -----------------------------------------------------------------------------------


async def test_a_node_that_does_not_exist_is_named_with_its_tag(plant: PlantProcess) -> None:
    tags = (
        OpcUaTag(name="speed", node="ns=2;s=Line.Speed"),
        OpcUaTag(name="typo", node="ns=2;s=Line.Sped"),
        OpcUaTag(name="elsewhere", node="ns=7;i=1"),
    )
    with pytest.raises(DeviceMisconfigured) as raised:
        async with config(plant.opcua_port, *tags).open():
            pass
    assert "typo (ns=2;s=Line.Sped): BadNodeIdUnknown" in str(raised.value)
    assert "elsewhere (ns=7;i=1)" in str(raised.value)
    assert "speed" not in str(raised.value)


async def test_log_in_is_by_user_and_password_file(server: Server, tmp_path: Path) -> None:
    tags = await _add(server, {"Locked": 5})
    password = tmp_path / "password"
    password.write_text("se:cret\n", encoding="utf-8")
    known = config(_port(server), *tags, username="box", password_file=password)
    async with known.open() as driver:
        assert (await _first(driver, 1))["Locked"].value == 5
    password.write_text("wrong\n", encoding="utf-8")
    with pytest.raises(DeviceRefused, match="refuses"):
        async with known.open():
            pass


async def test_a_server_that_stops_in_good_order_ends_the_readings_with_an_error(server: Server) -> None:
    tags = await _add(server, {"Last": 5})
    async with config(_port(server), *tags).open() as driver:
        await _first(driver, 1)
        await server.stop()
        with pytest.raises(DeviceUnreachable):
            await _first(driver, 2)
    await server.start()


async def test_a_server_that_speaks_something_else_raises(plant: PlantProcess) -> None:
    with pytest.raises(DeviceError):
        async with config(plant.camera_port, timeout_seconds=1.0).open():
            pass
