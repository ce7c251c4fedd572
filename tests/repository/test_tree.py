"""Rules of the tree that no other tool watches."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT, tracked

MAX_FILE_BYTES = 11 * 1024 * 1024
TRAINER = Path("cloud_receiver/training/yolo_trainer.py")
ONLY_IN_TRAINING = {"ultralytics", "torch", "torchvision", "onnxslim"}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(file: Path) -> set[str]:
    """The top-level packages that a file imports from."""
    return {name.partition(".")[0] for name in imported(file)}


def test_every_top_level_folder_says_what_it_is() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    missing = [
        name for name in sorted(folders) if name != ".ci" and not (ROOT / name / "README.md").is_file()
    ]
    assert missing == []


def test_no_file_is_too_large_to_clone() -> None:
    assert [path for path in tracked() if path.stat().st_size > MAX_FILE_BYTES] == []


def test_nothing_but_the_trainer_imports_what_is_agpl_or_huge() -> None:
    users = {path.relative_to(ROOT) for path in tracked("*.py") if packages(path) & ONLY_IN_TRAINING}
    assert users == {TRAINER}


def test_nobody_imports_the_trainer() -> None:
    module = ".".join(TRAINER.with_suffix("").parts)
    assert [path for path in tracked("*.py") if module in imported(path)] == []


def test_no_file_names_a_package_registry_or_a_home_folder() -> None:
    hosts = "|".join(["python" + "hosted", "pypi" + r"\.org", "registry" + r"\.npmjs", "/home" + "/[a-z]"])
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            assert not re.search(hosts.encode(), content), path


@pytest.mark.parametrize(("name", "shell"), [("justw", "sh"), (".ci/run", "bash")])
def test_the_way_in_is_executable_and_parses(name: str, shell: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    assert subprocess.run([shell, "-n", str(ROOT / name)], check=False).returncode == 0


def test_the_wrapper_works_from_anywhere_and_in_a_path_with_spaces(tmp_path: Path) -> None:
    if not (ROOT / ".tools").is_dir():
        pytest.skip("these tests were not started by ./justw, so it has brought no tools to try it with")
    there = tmp_path / "a path with spaces"
    (there / "requirements").mkdir(parents=True)
    for name in ("justw", "justfile", "requirements/tools.txt"):
        shutil.copy2(ROOT / name, there / name)
    (there / ".tools").symlink_to(ROOT / ".tools")
    listed = subprocess.run([str(there / "justw")], cwd="/", capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    assert "demo" in listed.stdout


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert len(text) > 11_000
