"""The configuration is checked as a whole: every mistake, with where it stands and what to do."""

import json
import re
from pathlib import Path

import pytest

import appliance
from appliance import mistakes
from appliance.config import BoxConfig, ConfigErrors, load

_PROFILE = (Path(appliance.__file__).parent / "profiles" / "surface.toml").read_text()


def _load(folder: Path, text: str) -> BoxConfig:
    path = folder / "box.toml"
    path.write_text(text)
    return load(path)


def _problems(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigErrors) as raised:
        _load(folder, text)
    return {problem.where: f"{problem.what}. {problem.next_step}" for problem in raised.value.problems}


def _changed(*changes: tuple[str, str]) -> str:
    text = _PROFILE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def test_the_shipped_profile_has_no_mistake(tmp_path: Path) -> None:
    config = _load(tmp_path, _PROFILE)
    assert config.box.id == "line-1"
    assert [camera.name for camera in config.cameras] == ["top"]
    assert len(config.digest) == 64


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    problems = _problems(
        tmp_path,
        _changed(
            ('id = "line-1"', 'id = "Line 1!"'),
            ("ng = 0.60 ", "ng = 1.50 "),
            ("port = 5020", 'port = "5020x"'),
            ('lot_tag = "coil_id"', 'lot_tag = "coil_idd"'),
            ("high = 48.0", "hihg = 48.0"),
            ('tag = "line_speed"', 'tag = "speed"'),
            ('listen = "127.0.0.1:8440"', 'listen = "0.0.0.0:8440"'),
        ),
    )
    assert set(problems) >= {
        "box.id",
        "recipe.ng",
        "devices[plc].port",
        "line.lot_tag",
        "alarms[coolant-hot].hihg",
        "alarms[speed-stale].tag",
        "console.listen",
    }
    assert "Did you mean 'coil_id'?" in problems["line.lot_tag"]
    assert "log-in" in problems["console.listen"]


def test_a_missing_section_and_an_unknown_one_are_both_named(tmp_path: Path) -> None:
    problems = _problems(tmp_path, _changed(("[recipe]", "[recipes]")))
    assert "is missing" in problems["recipe"]
    assert "Did you mean 'recipe'?" in problems["recipes"]


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="alumiguard init"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("text", ["[box\n", "\x00", "box = 1\nbox = 2"])
def test_what_is_not_toml_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigErrors, match="is not TOML"):
        _load(tmp_path, text)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigErrors, match="is not TOML"):
        load(tmp_path / "box.toml")


@pytest.mark.parametrize(
    "text", ["", "version = 2", "devices = 3", "cameras = [1]", "box = []", "alarms = {}"]
)
def test_odd_shapes_are_mistakes_and_no_crash(tmp_path: Path, text: str) -> None:
    assert _problems(tmp_path, text)


def test_an_output_may_only_name_tags_that_are_writable(tmp_path: Path) -> None:
    problems = _problems(tmp_path, _changed(('ng_tag = "out_ng"', 'ng_tag = "encoder_m"')))
    assert "writable = true" in problems["output.ng_tag"]


def test_two_tags_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    problems = _problems(tmp_path, _changed(('name = "mill_load"', 'name = "line_speed"')))
    assert "used twice" in problems["devices.tags[line_speed]"]


def test_check_above_ng_is_a_mistake(tmp_path: Path) -> None:
    assert "CHECK lies below NG" in _problems(tmp_path, _changed(("check = 0.45", "check = 0.9")))["recipe"]


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = _changed(
        ('folder = "/var/lib/alumiguard"', 'folder = "state"'), ('package = "demo"', 'package = "m.agmodel"')
    )
    config = _load(tmp_path, text)
    assert config.storage.folder == tmp_path / "state"
    assert config.model.package == str(tmp_path / "m.agmodel")


def test_a_storage_path_too_long_for_its_sockets_is_a_mistake(tmp_path: Path) -> None:
    problems = _problems(tmp_path, _changed(("/var/lib/alumiguard", "/var/lib/" + "a" * 100)))
    assert "at most 80 bytes" in problems["storage.folder"]


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ('id = "line-1"', 'id = "Line 1!"', "box.id", "for example 'line-1'"),
        ('id = "line-1"', "id = 1", "box.id", "1 is not a text. Write it in quotes"),
        ("version = 1", "version = 2", "version", "2 is not known. Write 1"),
        (
            "ng = 0.60 ",
            "ng = 1.50 ",
            "recipe.ng",
            "1.5 is outside its range. Write a number that is at most 1",
        ),
        ("ng = 0.60 ", 'ng = "a" ', "recipe.ng", "'a' is not a number. Write a number, without quotes"),
        ("port = 5020", 'port = "x"', "devices[plc].port", "'x' is not a whole number"),
        ('driver = "http"', 'driver = "htp"', "cameras[top]", "Did you mean 'http'? Allowed are: http, rtsp"),
        ('driver = "http"', "", "cameras[top]", "does not say which driver"),
        ('driver = "modbus"', 'driver = "modbsu"', "devices[plc]", "Did you mean 'modbus'?"),
        ('site = "my-plant"', 'site = ""', "box.site", "is empty. Write at least 1 character"),
        ("/var/lib/alumiguard", r"a\u0000b", "storage.folder", "holds a NUL character"),
    ],
)
def test_a_mistake_is_said_in_words_with_what_to_write(
    tmp_path: Path, old: str, new: str, where: str, said: str
) -> None:
    assert said in _problems(tmp_path, _changed((old, new)))[where]


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "model" + ".a" * 4_000 + " = 1"])
def test_endless_nesting_is_a_mistake_and_no_crash(tmp_path: Path, text: str) -> None:
    assert _problems(tmp_path, text)


def test_every_pattern_of_a_section_has_its_words() -> None:
    patterns = set(re.findall(r'"pattern": "([^"]*)"', json.dumps(BoxConfig.model_json_schema())))
    assert {json.loads(f'"{pattern}"') for pattern in patterns} == set(mistakes._SHAPES)
