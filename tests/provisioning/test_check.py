"""`alumiguard check` names every mistake at once, and then everything that does not answer."""

import os
from pathlib import Path

import pytest

from tests.support.command import alumiguard
from tests.support.plant_process import PlantProcess, plant_process
from tests.support.receiver_process import served


def change(path: Path, *changes: tuple[str, str]) -> None:
    """Change the text of a file, each old part of which has to be there."""
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def aim_at(path: Path, plant: PlantProcess) -> None:
    """Point the profile's devices at a running plant."""
    change(
        path,
        ("port = 5020", f"port = {plant.modbus_port}"),
        ("127.0.0.1:4840", f"127.0.0.1:{plant.opcua_port}"),
        ("127.0.0.1:8081", f"127.0.0.1:{plant.camera_port}"),
    )


def test_all_mistakes_are_named_at_once_with_their_place_and_the_next_step(box_toml: Path) -> None:
    change(
        box_toml,
        ('id = "line-1"', 'id = "Line 1"'),
        ("ng = 0.60", "ng = 5.0"),
        ('lot_tag = "coil_id"', 'lot_tag = "coil"'),
        ("dead_band", "deadband"),
    )
    ended = alumiguard("check", "--config", box_toml, "--offline", "--json")
    assert ended.status == 1
    places = {problem["where"] for problem in ended.answer["problems"]}
    assert {"box.id", "recipe.ng", "line.lot_tag", "alarms[coolant-hot].deadband"} <= places
    assert all(problem["what"] and problem["next"] for problem in ended.answer["problems"])
    assert ended.err.count("error: ") == ended.err.count("next: ") == len(ended.answer["problems"])


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is missing"), ("[box", "is not TOML"), ("\0", "is not TOML"), ("\udcff", "is not TOML")],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "box.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    ended = alumiguard("check", "--config", path, "--json")
    assert ended.status == 1
    assert said in ended.answer["problems"][0]["what"]


def test_a_file_that_is_not_there_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    ended = alumiguard("check", "--config", tmp_path / "box.toml")
    assert ended.status == 1
    assert "alumiguard init" in ended.err


def test_offline_touches_nothing(box_toml: Path) -> None:
    ended = alumiguard("check", "--config", box_toml, "--offline", "--json")
    assert ended.status == 0
    assert ended.answer == {"problems": [], "config": str(box_toml), "reached": []}


def test_a_model_that_cannot_be_used_is_a_mistake(box_toml: Path) -> None:
    change(box_toml, ('package = "demo"', 'package = "other.agmodel"'))
    ended = alumiguard("check", "--config", box_toml, "--offline", "--json")
    assert ended.status == 1
    assert ended.answer["problems"][0]["where"] == "model.package"
    assert "other.agmodel: No such file" in ended.answer["problems"][0]["what"]


def test_a_model_that_cannot_be_used_is_named_beside_the_other_mistakes(box_toml: Path) -> None:
    change(box_toml, ('package = "demo"', 'package = "other.agmodel"'), ('id = "line-1"', 'id = "Line 1"'))
    ended = alumiguard("check", "--config", box_toml, "--offline", "--json")
    assert ended.status == 1
    assert {problem["where"] for problem in ended.answer["problems"]} == {"box.id", "model.package"}


def test_a_recipe_for_a_class_that_the_model_does_not_know_is_a_mistake(box_toml: Path) -> None:
    change(
        box_toml, ("# [recipe.classes.pinhole] ", "[recipe.classes.pinhol] "), ("# ng = 0.70", "ng = 0.60")
    )
    change(box_toml, ("# check = 0.50", "check = 0.50"))
    ended = alumiguard("check", "--config", box_toml, "--offline", "--json")
    assert ended.status == 1
    assert ended.answer["problems"][0]["where"] == "recipe.classes.pinhol"
    assert "pinhole" in ended.answer["problems"][0]["next"]


def test_a_plant_that_answers_passes(box_toml: Path) -> None:
    with plant_process() as plant:
        aim_at(box_toml, plant)
        ended = alumiguard("check", "--config", box_toml, "--json")
    assert (ended.status, ended.err) == (0, "")
    reached = {thing["name"]: (thing["ok"], thing["detail"]) for thing in ended.answer["reached"]}
    assert reached["plc"] == (True, "7 of 7 tags good")
    assert reached["line"] == (True, "3 of 3 tags good")
    assert reached["top"][1].startswith("1280 x 1024 px")
    assert not Path(box_toml.parent / "storage").exists()


def test_everything_that_does_not_answer_is_named(box_toml: Path) -> None:
    ended = alumiguard("check", "--config", box_toml)
    assert ended.status == 2
    for where in ("devices[plc]", "devices[line]", "cameras[top]"):
        assert f"error: {where}: " in ended.err
    assert ended.err.count("\n") == 6, "three errors of two lines each, and nothing from the libraries"
    assert "no mistakes (1 camera, 2 devices, 2 alarms)" in ended.out


def test_nobody_is_told_to_take_over_a_folder_above_the_storage(
    box_toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning.reach.os.access", lambda _, mode, **__: not mode & os.W_OK)
    ended = alumiguard("check", "--config", box_toml)
    assert ended.status == 2
    assert "will be made" not in ended.out
    (told,) = [line for line in ended.err.splitlines() if "install -d" in line]
    assert told.endswith(f" {box_toml.parent}/storage")


def test_one_wrong_address_among_many_is_named(box_toml: Path) -> None:
    with plant_process() as plant:
        aim_at(box_toml, plant)
        change(box_toml, ("address = 10\n", "address = 9999\n"))
        ended = alumiguard("check", "--config", box_toml, "--json")
    assert ended.status == 2
    (problem,) = ended.answer["problems"]
    assert problem["where"] == "devices[plc].tags[coolant_celsius]"
    assert "illegal data address" in problem["what"]


def test_a_receiver_that_answers_and_a_box_that_is_not_enrolled_are_told_apart(
    box_toml: Path, tmp_path: Path
) -> None:
    with served(tmp_path / "receiver") as receiver:
        with box_toml.open("a") as file:
            file.write(f'[uplink]\nreceiver = "{receiver.url}"\n')
        up = alumiguard("check", "--config", box_toml, "--json")
    down = alumiguard("check", "--config", box_toml, "--json")
    said = [
        next(p["what"] for p in ended.answer["problems"] if p["where"] == "uplink.receiver")
        for ended in (up, down)
    ]
    assert "not enrolled" in said[0]
    assert "refused" in said[1] or "failed" in said[1]
