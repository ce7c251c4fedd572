"""The repository's own files, as git tracks them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked(pattern: str = "*") -> list[Path]:
    """The tracked files that match, and that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", pattern], cwd=ROOT, capture_output=True, check=True, text=True
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def documents() -> list[Path]:
    """Every document."""
    return tracked("*.md")


def code_in(document: Path) -> Iterator[str]:
    """What a document shows as code: lines of fenced and indented blocks, and what is in backticks."""
    fenced = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def recipes() -> set[str]:
    """The recipes of the justfile."""
    text = (ROOT / "justfile").read_text(encoding="utf-8")
    return set(re.findall(r"(?m)^([a-z][a-z-]*)(?: [*+]?[A-Z]+)*:", text))
