"""Make a virtual environment that holds exactly what a requirements file pins, and the project itself.

    python3 requirements/setup.py .venv dev.txt

`just` calls it before every recipe that needs the environment: what the environment was made from is stamped
into it, so that a call with nothing to do takes a few hundredths of a second. Standard library only, for it
runs before anything is installed; `uv` has to be on the PATH, `justw` puts it there.
"""

import shlex
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(environment: str, pins: str) -> None:
    """Bring `environment` up to date with requirements/`pins`, unless its stamp says that it is."""
    folder, requirements = ROOT / environment, ROOT / "requirements" / pins
    python, stamp = folder / "bin" / "python", folder / "made-from"
    where, what = place(), content(requirements)
    made_where, _, made_what = stamp.read_text().partition("\n") if stamp.exists() else ("", "", "")
    if (made_where, made_what) == (where, what) and python.exists():
        return
    print(f"setup: bringing {environment} up to date with requirements/{pins}", file=sys.stderr)
    if made_where != where or not python.exists():
        run("uv", "--quiet", "venv", "--clear", "--python", sys.executable, str(folder))
    pip = ["uv", "--quiet", "pip"]
    sync = [*pip, "sync", "--python", str(python), "--require-hashes", str(requirements)]
    # Every file is pinned by hash, so uv's cache is as good as the index: a moved checkout needs no network.
    if subprocess.run([*sync, "--offline"], check=False, capture_output=True).returncode:
        run(*sync)
    # uv carries the build backend that pyproject.toml asks for, so this fetches nothing.
    run(*pip, "install", "--offline", "--python", str(python), "--no-deps", "--editable", str(ROOT))
    stamp.write_text(f"{where}\n{what}")


def place() -> str:
    """What an environment cannot outlive: its interpreter and the folder that its scripts name."""
    return f"{ROOT} {sys.version}".replace("\n", " ")


def content(requirements: Path) -> str:
    """A digest of what decides the environment's content: the pins, and what the project installs itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    own = {table: project[table] for table in ("project", "build-system")}
    return sha256(requirements.read_bytes() + repr(own).encode()).hexdigest()


def run(*command: str) -> None:
    """Run a step; stop with its own words and the next step if it fails."""
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"error: `{shlex.join(command)}` failed; its own words are above\n"
            "next: check this machine's way to its package index (uv reads UV_DEFAULT_INDEX and "
            "SSL_CERT_FILE), then call this again"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
