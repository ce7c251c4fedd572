"""Pictures beside the log, as `ab/<sha256>.jpg`: the record carries the digest, so none can be changed."""

import re
from hashlib import sha256
from pathlib import Path

from sync import durable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class EvidenceDamaged(ValueError):
    """The file is there and is not what the record says: it was changed, or its disk is failing."""


def keep(folder: Path, jpeg: bytes) -> str:
    """Put a picture on the disk; returns its SHA-256, hex, once it is durable. Keeping it again is idle.

    Args:
        folder: the evidence folder of the box; made if it is missing.
        jpeg: the file's bytes, kept verbatim.

    Raises:
        OSError: if the disk refuses.
    """
    digest = sha256(jpeg).hexdigest()
    path = _path(folder, digest)
    if _holds(path, jpeg):
        return digest
    durable.make_folder(path.parent)
    durable.write_file(path, jpeg, 0o644)
    return digest


def read(folder: Path, digest: str) -> bytes | None:
    """The picture with this SHA-256; None when it is not (or no longer) kept, or `digest` is not one.

    Raises:
        EvidenceDamaged: if the file's content does not have that digest.
        OSError: if the disk refuses.
    """
    if not _DIGEST.fullmatch(digest):
        return None
    try:
        jpeg = _path(folder, digest).read_bytes()
    except FileNotFoundError:
        return None
    if sha256(jpeg).hexdigest() != digest:
        raise EvidenceDamaged(
            f"evidence {digest} is not the picture that the log recorded: "
            "restore it from the backup, and check the disk"
        )
    return jpeg


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.jpg"


def _holds(path: Path, jpeg: bytes) -> bool:
    try:
        return path.read_bytes() == jpeg
    except FileNotFoundError:
        return False
