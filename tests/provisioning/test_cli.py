"""The command as a whole: it starts fast, explains itself, and a defect of ours is not hidden."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance import config
from tests.support.command import alumiguard

VERBS = ["init", "check", "demo", "run", "status", "enrol", "inspect", "audit verify"]


def test_every_verb_explains_itself_and_its_exit_status() -> None:
    for verb in VERBS:
        ended = alumiguard(*verb.split(), "--help")
        assert ended.status == 0
        assert "Exit status: 0" in " ".join(ended.out.split())


def test_help_names_every_verb() -> None:
    out = alumiguard("--help").out
    assert all(verb.split()[0] in out for verb in VERBS)


def test_the_version_is_one_line() -> None:
    ended = alumiguard("--version")
    assert ended.status == 0
    assert ended.out.startswith("alumiguard ")
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize(
    "line", ["bogus", "--bogus", "check --bogus", "audit bogus", "inspect", "inspect a --for x", ""]
)
def test_a_line_that_makes_no_sense_has_a_status_of_its_own(line: str) -> None:
    ended = alumiguard(*line.split())
    assert ended.status == 64


def test_help_loads_nothing_that_it_does_not_need() -> None:
    heavy = [
        "numpy",
        "cv2",
        "pydantic",
        "asyncua",
        "pymodbus",
        "onnxruntime",
        "rich",
        "httpx",
        "nicegui",
        "fastapi",
    ]
    code = f"""
import sys
from provisioning.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


def test_a_defect_of_ours_shows_its_traceback(box_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(config, "load", broken)
    with pytest.raises(ZeroDivisionError):
        alumiguard("check", "--config", box_toml)


@pytest.mark.parametrize("verb", ["check", "run", "status", "enrol", "audit verify"])
def test_every_verb_names_the_mistakes_of_a_configuration_alike(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "box.toml"
    path.write_text("version = 1\n[box]\nid = 'x'\n")
    ended = alumiguard(*verb.split(), "--config", path)
    assert ended.status == 1
    assert "error: box.site: is missing\nnext: Add it" in ended.err
