"""`alumiguard init` writes a configuration that is right as it stands, and overwrites nothing unasked."""

from pathlib import Path

import pytest

from tests.support.command import alumiguard


def test_what_init_writes_passes_check(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    assert alumiguard("init", path).status == 0
    assert path.read_text().startswith("# AlumiGuard Edge")
    ended = alumiguard("check", "--config", path, "--offline")
    assert (ended.status, ended.err) == (0, "")


def test_a_folder_gets_a_box_toml(tmp_path: Path) -> None:
    ended = alumiguard("init", tmp_path, "--json")
    assert ended.answer == {"written": str(tmp_path / "box.toml"), "profile": "surface"}
    assert (tmp_path / "box.toml").is_file()


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    path.write_text("mine")
    ended = alumiguard("init", path, "--json")
    assert ended.status == 1
    assert ended.answer["problems"][0]["next"] == "name another file, or give --force to replace it"
    assert path.read_text() == "mine"


def test_force_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    path.write_text("mine")
    assert alumiguard("init", path, "--force").status == 0
    assert path.read_text() != "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["box.toml"]


@pytest.mark.parametrize("name", ["surfaces", "../surface", ""])
def test_a_profile_that_does_not_exist_is_refused_with_the_ones_that_do(tmp_path: Path, name: str) -> None:
    ended = alumiguard("init", tmp_path / "box.toml", "--profile", name)
    assert ended.status == 1
    assert "take one of: surface" in ended.err
    assert not (tmp_path / "box.toml").exists()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    ended = alumiguard("init", tmp_path / "no" / "box.toml")
    assert ended.status == 1
    assert "No such file or directory" in ended.err
