"""Files that are wholly there, on the disk, or not there at all."""

import os
import tempfile
from pathlib import Path


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that a power cut leaves the old one or the new one, never a part.

    Temp file beside it, fsync, rename, fsync of the folder. The folder must be there.

    Raises:
        OSError: if the disk refuses; nothing is left behind then.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Make a folder and those above it, each of them on the disk. One that is there stays as it is.

    Raises:
        OSError: if it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (files made, renamed, removed) to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
