import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from drivers.camera_http import HttpCameraConfig
from drivers.catalog import AnyCameraConfig, TagDeviceConfig
from drivers.modbus import ModbusConfig
from drivers.opcua import OpcUaConfig

PROFILES = sorted((Path(__file__).parents[2] / "appliance" / "profiles").glob("*.toml"))
DEVICES: TypeAdapter[list[Any]] = TypeAdapter(list[TagDeviceConfig])
CAMERAS: TypeAdapter[list[Any]] = TypeAdapter(list[AnyCameraConfig])


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_that_ships_names_drivers_that_exist(profile: Path) -> None:
    raw = tomllib.loads(profile.read_text(encoding="utf-8"))
    assert DEVICES.validate_python(raw.get("devices", []))
    assert CAMERAS.validate_python(raw.get("cameras", []))


def test_the_surface_profile_is_read_as_it_is_meant() -> None:
    [profile] = [path for path in PROFILES if path.stem == "surface"]
    raw = tomllib.loads(profile.read_text(encoding="utf-8"))
    plc, line = DEVICES.validate_python(raw["devices"])
    [camera] = CAMERAS.validate_python(raw["cameras"])
    assert isinstance(plc, ModbusConfig)
    assert isinstance(line, OpcUaConfig)
    assert isinstance(camera, HttpCameraConfig)
    assert plc.writable_tags == {
        "out_heartbeat",
        "out_sequence",
        "out_verdict",
        "out_position_mm",
        "out_ng",
    }
    assert plc.tag_units["encoder_m"] == "m"
    assert line.writable_tags == frozenset()


@pytest.mark.parametrize("driver", ["bacnet", None])
def test_a_driver_that_does_not_exist_is_refused_with_those_that_do(driver: str | None) -> None:
    with pytest.raises(ValidationError, match="driver"):
        DEVICES.validate_python([{"driver": driver, "name": "x"}])


def test_reading_a_configuration_loads_no_protocol_library() -> None:
    # asyncua alone takes 1 s and 70 MB, which the vision process and the CLI save
    heavy = ("asyncua", "pymodbus", "av", "cv2", "httpx")
    program = f"import sys, drivers.catalog; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "http://plc:4840/"}, "opc.tcp"),
        ({"url": "opc.tcp://"}, "opc.tcp"),
        ({"url": "opc.tcp://user:password@plc:4840/"}, "password_file"),
        ({"username": "box"}, "belong together"),
        ({"tags": [{"name": "a", "node": "Line.Speed"}]}, "pattern"),
        ({"tags": [{"name": "a", "node": "i=1"}, {"name": "b", "node": "i=1"}]}, "same node"),
        ({"tags": []}, "at least 1"),
        ({"publishing_second": 1}, "Extra inputs"),
    ],
)
def test_an_opcua_config_that_cannot_be_is_refused_without_a_device(
    changes: dict[str, object], sentence: str
) -> None:
    given = {"name": "line", "url": "opc.tcp://plc:4840/", "tags": [{"name": "a", "node": "i=2258"}]}
    OpcUaConfig.model_validate(given)
    with pytest.raises(ValidationError, match=sentence):
        OpcUaConfig.model_validate({**given, **changes})
