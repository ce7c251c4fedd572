"""The `alumiguard` command as a caller has it: exit status, stdout and stderr; and things to call it with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from typer.testing import CliRunner

from inference.model_package import pack
from provisioning.cli import app
from tests.support import packages
from tests.support.tiny_network import constant_network


@dataclass(frozen=True)
class Ended:
    """What a call left behind."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on stdout; anything else there fails."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer


def alumiguard(*arguments: object, stdin: str = "") -> Ended:
    """Call the command in this process; an exception that is no failure of the CLI's own is raised."""
    ended = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, prog_name="alumiguard")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    assert "Traceback" not in ended.stderr
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


def model_answering(folder: Path, rows: "np.typing.NDArray[np.float32]") -> list[object]:
    """Options for a model that gives this answer to every picture."""
    package, key = folder / "tiny.agmodel", folder / "tiny.vkey"
    package.write_bytes(pack(packages.tiny_files(constant_network(rows)), packages.signed))
    key.write_text(f"{packages.KEY.verifier()}\n")
    return ["--model", package, "--key", key]


def picture(path: Path, height_px: int = 120, width_px: int = 160) -> Path:
    """A grey picture file, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(path.suffix, np.full((height_px, width_px, 3), 120, np.uint8))
    assert done
    path.write_bytes(encoded.tobytes())
    return path
