"""Landing: the batches as they came, one immutable object each, named by what it holds.

An object store's create-only put makes landing idempotent. The same interface (obstore) serves a folder, S3
and Azure. A folder needs one thing more: obstore's LocalStore links the file in place without an fsync.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore

from sync.wire import BatchHeader

_PROBE = "health.probe"


class LandingError(Exception):
    """An object that is not what the index says it is. The message names it."""


@dataclass(frozen=True, slots=True)
class Landing:
    """An object store for batches; `folder` is set if it is a local one."""

    store: ObjectStore
    folder: Path | None = None

    def put(self, path: str, packed: bytes) -> None:
        """Keep the bytes durably under `path`, whose name holds their digest. Doing it twice is harmless.

        Raises:
            obstore.exceptions.BaseError, OSError: if the store cannot take them.
        """
        try:
            obstore.put(self.store, path, packed, mode="create", use_multipart=False)
        except AlreadyExistsError:
            # Left by a run that died before its commit. After a power cut the name may outlive the content.
            if self._read(path) != packed:
                obstore.put(self.store, path, packed, use_multipart=False)
        if self.folder is not None:
            _make_durable(self.folder / path, self.folder)

    def get(self, path: str, digest: str) -> bytes:
        """The bytes at `path`, checked against their SHA-256 in hex.

        Raises:
            LandingError: if they are gone or were changed.
        """
        try:
            packed = self._read(path)
        except FileNotFoundError as error:
            raise LandingError(f"landing object {path} is gone; restore it from a backup") from error
        if sha256(packed).hexdigest() != digest:
            raise LandingError(f"landing object {path} was changed; restore it from a backup")
        return packed

    def probe(self) -> None:
        """Write a small object, to tell whether a batch could be landed now.

        Raises:
            obstore.exceptions.BaseError, OSError: if it could not.
        """
        obstore.put(self.store, _PROBE, b"ok\n", use_multipart=False)

    def _read(self, path: str) -> bytes:
        return bytes(obstore.get(self.store, path).bytes())


def local_landing(folder: Path) -> Landing:
    """Land into a folder, which is made if need be."""
    return Landing(LocalStore(folder, mkdir=True), folder)


def batch_path(header: BatchHeader, digest: str, day: str) -> str:
    """Where a batch received on `day` (YYYY-MM-DD) lies. Box and epoch are checked names, never paths."""
    return f"{day}/{header.box}/{header.epoch}/{header.first}-{header.last}-{digest}.batch.zst"


def _make_durable(path: Path, root: Path) -> None:
    for made in (path, *path.parents):
        descriptor = os.open(made, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if made == root:
            break
