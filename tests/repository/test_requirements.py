"""The pinned requirement files are whole, fit pyproject.toml, and work behind any mirror."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tree import ROOT, tracked

FILES = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def entries(file: Path) -> list[str]:
    """Each requirement with its hashes, on one line."""
    text = re.sub(r"(?m)^\s*#.*\n?", "", file.read_text()).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_pin_is_exact_and_has_hashes(file: Path) -> None:
    assert len(entries(file)) > 1
    for entry in entries(file):
        requirement, *hashes = re.split(r"\s+--hash=", entry)
        assert re.match(r"^[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+( ; .+)?$", requirement), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", one) for one in hashes), requirement


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_pin_names_a_host_or_a_path(file: Path) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links|(^|\s)/", file.read_text())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("box.txt", []),
        ("receiver.txt", EXTRAS["receiver"]),
        ("dev.txt", EXTRAS["receiver"] + PROJECT["dependency-groups"]["dev"]),
        ("train.txt", EXTRAS["train"]),
    ],
)
def test_every_pin_fits_what_the_project_wants(name: str, wanted: list[str]) -> None:
    pinned: dict[str, list[str]] = {}
    for entry in entries(ROOT / "requirements" / name):
        found = Requirement(re.split(r"\s+--hash=", entry)[0])
        pinned.setdefault(canonicalize_name(found.name), []).append(str(found.specifier).removeprefix("=="))
    for text in PROJECT["project"]["dependencies"] + wanted:
        requirement = Requirement(text)
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not pinned in {name}: run `just lock`"
        for version in versions:
            assert requirement.specifier.contains(version), (
                f"{requirement} is pinned to {version}: `just lock`"
            )


def test_training_is_in_no_other_environment() -> None:
    for file in FILES:
        names = {re.split(r"[=\[ ]", entry)[0] for entry in entries(file)}
        assert ("torch" in names, "ultralytics" in names) == (file.name == "train.txt",) * 2


def test_there_is_no_lock_file_that_names_hosts() -> None:
    assert tracked("*uv.lock") == []
