"""The line as its tags tell it."""

from pathlib import Path

import pytest

import appliance
from appliance.config import load
from appliance.line import Line
from drivers.reading import Quality, Reading

_CONFIG = load(Path(appliance.__file__).parent / "profiles" / "surface.toml")
_SECOND = 1_000_000_000


def _line(*positions: tuple[float, float]) -> Line:
    line = Line(_CONFIG)
    for seconds, metres in positions:
        line.take(Reading("encoder_m", metres, Quality.GOOD, int(seconds * _SECOND)))
    return line


@pytest.mark.parametrize(
    ("seconds", "metres"),
    [(100.0, 5.0), (100.5, 5.5), (101.0, 6.0), (102.5, 9.0), (104.0, 12.0), (99.0, 5.0)],
)
def test_a_position_between_readings_is_interpolated_and_a_little_beyond_goes_on(
    seconds: float, metres: float
) -> None:
    line = _line((100, 5.0), (101, 6.0), (103, 10.0))
    assert line.position_m(int(seconds * _SECOND)) == pytest.approx(metres, abs=1e-6)


def test_a_position_is_not_known_without_a_reading_nearby() -> None:
    assert _line().position_m(0) is None
    assert _line((100, 5.0), (101, 6.0)).position_m(200 * _SECOND) is None


def test_a_bad_reading_moves_nothing() -> None:
    line = _line((100, 5.0), (101, 6.0))
    line.take(Reading("encoder_m", None, Quality.BAD, 102 * _SECOND))
    assert line.position_m(102 * _SECOND) == pytest.approx(7.0)


def test_a_tag_is_stale_before_its_first_reading_and_when_it_is_bad() -> None:
    line = _line()
    assert line.view("coolant_celsius").stale
    line.take(Reading("coolant_celsius", None, Quality.BAD, 0))
    assert line.view("coolant_celsius").stale


def test_what_the_box_writes_is_no_process_value() -> None:
    names = {view.name for view in _line().views()}
    assert "coolant_celsius" in names
    assert "out_ng" not in names


def test_readings_are_counted_by_driver() -> None:
    line = _line((1, 1.0), (2, 2.0))
    line.take(Reading("coil_id", "A-1", Quality.GOOD, 0))
    assert line.readings == {"modbus": 2, "opcua": 1}
    assert line.lot() == "A-1"
