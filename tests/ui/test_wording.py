import pytest

from ui import wording


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "never"),
        (0.0, "now"),
        (1.99, "now"),
        (2.0, "2 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3_600, "1 h ago"),
        (90_000, "1 d ago"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds: float | None, said: str) -> None:
    assert wording.age(seconds) == said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "—"),
        (True, "on"),
        (False, "off"),
        (12_345, "12,345"),
        (0.0, "0.000"),
        (0.0351, "0.035"),
        (41.25, "41.25"),
        (-273.15, "-273.1"),
        (8123.0, "8,123.0"),
        (48_250.7, "48,251"),
        (0.00001, "1e-05"),
        (2.5e9, "2.5e+09"),
        (float("nan"), "not a number"),
        (float("inf"), "not a number"),
        ("C-4711", "C-4711"),
    ],
)
def test_a_value_is_told_to_about_four_digits(raw: wording.Value, said: str) -> None:
    assert wording.value(raw) == said


def test_a_position_is_told_to_the_centimetre() -> None:
    assert wording.metres(1234.567) == "1,234.57 m"
    assert wording.metres(None) == "—"


def test_a_clock_that_was_set_back_gives_no_negative_age() -> None:
    assert wording.seconds_between("2026-01-01T00:00:10Z", "2026-01-01T00:00:09Z") == 0.0
    assert wording.seconds_between("2026-01-01T00:00:09Z", "2026-01-01T00:00:10.5Z") == 1.5


def test_a_class_is_named_as_people_say_it() -> None:
    assert wording.label("edge_crack") == "edge crack"
