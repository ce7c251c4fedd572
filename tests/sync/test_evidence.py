import os
from hashlib import sha256
from pathlib import Path

import pytest

from sync import durable, evidence

JPEG = b"\xff\xd8 a picture \xff\xd9"
DIGEST = sha256(JPEG).hexdigest()


def test_a_kept_picture_is_read_back_by_its_digest(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    assert evidence.keep(folder, JPEG) == DIGEST
    assert (folder / DIGEST[:2] / f"{DIGEST}.jpg").read_bytes() == JPEG
    assert evidence.read(folder, DIGEST) == JPEG


def test_keeping_a_picture_again_leaves_the_file_alone(tmp_path: Path) -> None:
    evidence.keep(tmp_path, JPEG)
    path = tmp_path / DIGEST[:2] / f"{DIGEST}.jpg"
    inode = path.stat().st_ino
    assert evidence.keep(tmp_path, JPEG) == DIGEST
    assert path.stat().st_ino == inode
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_keeping_a_picture_mends_a_damaged_file(tmp_path: Path) -> None:
    evidence.keep(tmp_path, JPEG)
    (tmp_path / DIGEST[:2] / f"{DIGEST}.jpg").write_bytes(b"")
    evidence.keep(tmp_path, JPEG)
    assert evidence.read(tmp_path, DIGEST) == JPEG


def test_a_picture_that_is_not_kept_is_none(tmp_path: Path) -> None:
    assert evidence.read(tmp_path, DIGEST) is None


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "..", "A" * 64, "ab", DIGEST + "\n", f"{DIGEST[:-1]}/", "ä" * 64]
)
def test_what_is_no_digest_reads_nothing(tmp_path: Path, digest: str) -> None:
    evidence.keep(tmp_path, JPEG)
    assert evidence.read(tmp_path, digest) is None


def test_a_changed_picture_is_never_shown_as_evidence(tmp_path: Path) -> None:
    evidence.keep(tmp_path, JPEG)
    (tmp_path / DIGEST[:2] / f"{DIGEST}.jpg").write_bytes(JPEG + b"!")
    with pytest.raises(evidence.EvidenceDamaged, match="restore it"):
        evidence.read(tmp_path, DIGEST)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def fsynced(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsynced)
    monkeypatch.setattr(Path, "replace", renamed)
    durable.write_file(tmp_path / "a", b"content", 0o600)
    assert steps == ["file", "rename", "folder"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        durable.write_file(tmp_path / "a", b"new", 0o600)
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"old"]
