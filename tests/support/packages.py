"""Model packages made for a test, with a key of its own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inference.model_package import Description, ModelPackage, pack
from sync.chain import SignerKey, VerifierKey, open_note, sign_note
from tests.support.tiny_network import CLASSES, HEIGHT_PX, WIDTH_PX

KEY = SignerKey("alumiguard/test", Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))

PACKAGE_TOML = f"""\
format = 1
name = "tiny"
version = "1.2.3"
licence = "Apache-2.0"
classes = {json.dumps(CLASSES)}
[input]
height_px = {HEIGHT_PX}
width_px = {WIDTH_PX}
[thresholds]
ng = 0.5
check = 0.35
[golden]
confidence = 0.05
box_px = 4.0
[dataset]
sha256 = "00"
[training]
epochs = 1
[metrics]
map50 = 0.5
"""


def trusting(key: VerifierKey) -> Callable[[bytes], bytes]:
    """A verifier that trusts one key."""
    return lambda note: open_note(note, key)


def signed(body: bytes) -> bytes:
    """The note, signed with the test's key."""
    return sign_note(body, KEY)


def tiny_files(model: bytes) -> dict[str, bytes]:
    """What a package holds besides its manifest: one golden picture on which nothing is found."""
    _, jpeg = cv2.imencode(".jpg", np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8))
    return {
        "package.toml": PACKAGE_TOML.encode(),
        "model.onnx": model,
        "golden/grey.jpg": jpeg.tobytes(),
        "golden/expected.json": b'{"grey.jpg": []}',
    }


def opened(folder: Path, files: Mapping[str, bytes]) -> ModelPackage:
    """Pack, write, and open again as a box does."""
    path = folder / "tiny.agmodel"
    path.write_bytes(pack(files, signed))
    return ModelPackage.open(path, trusting(KEY.verifier()))


def unpacked(model: bytes, classes: tuple[str, ...] = CLASSES) -> ModelPackage:
    """A package that never was a file, for tests of what runs it."""
    description = Description.model_validate(
        {
            "format": 1,
            "name": "tiny",
            "version": "1.2.3",
            "licence": "Apache-2.0",
            "classes": classes,
            "input": {"height_px": HEIGHT_PX, "width_px": WIDTH_PX},
            "thresholds": {"ng": 0.5, "check": 0.35},
            "golden": {"confidence": 0.05, "box_px": 4.0},
            "dataset": {},
            "training": {},
            "metrics": {},
        }
    )
    return ModelPackage(description, "", model, ())
