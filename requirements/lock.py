"""Rebuild the pinned requirement files from pyproject.toml: every platform, every hash, no host.

    python3 requirements/lock.py            keep the versions that still fit
    python3 requirements/lock.py --upgrade  take the newest that fit

Everything after the file's name goes to `uv pip compile` as it is.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "tools.txt": ["requirements/tools.in"],
    "box.txt": ["pyproject.toml"],
    "receiver.txt": ["pyproject.toml", "--extra", "receiver"],
    "dev.txt": ["pyproject.toml", "--extra", "receiver", "--group", "dev"],
    "train.txt": ["pyproject.toml", "--extra", "train"],
}
# uv emits no index by default: a requirement file has to work behind any mirror.
FORM = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--quiet"]


def main(options: list[str]) -> None:
    """Compile each file in place; the versions already in it are kept unless `--upgrade` says otherwise."""
    for name, sources in FILES.items():
        output = ["--output-file", f"requirements/{name}"]
        command = ["uv", "pip", "compile", *FORM, *sources, *output, *options]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            sys.exit(
                f"error: requirements/{name} could not be compiled; uv's own words are above\n"
                "next: mend the versions in pyproject.toml that it names, then run `just lock` again"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
