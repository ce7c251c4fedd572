"""Was SQLite's write-ahead log cut off by damage? SQLite itself passes over that in silence.

Recovery reads frames until the first whose checksum does not hold, and takes that for the end: right after a
power cut, wrong for a flipped byte with later commits behind it. Source: https://sqlite.org/fileformat2.html
section 4 (the WAL file format and its checksum).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">IIIIII")
_MAGIC = 0x377F0682
"""Its last bit tells the byte order of the words that are summed."""


@dataclass(frozen=True, slots=True)
class WalFinding:
    """`damage`: commits are lost behind it. `remark`: an unfinished write, as a power cut leaves one."""

    damage: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    is_commit: bool
    is_of_this_wal: bool
    is_whole: bool


def check(path: Path) -> WalFinding:
    """Look at a `-wal` file, also while it is being written; one that is missing or empty is fine.

    Raises:
        OSError: if it cannot be read.
    """
    finding = _check_once(path)
    return _check_once(path) if finding.damage else finding  # a writer may have restarted it meanwhile


def _check_once(path: Path) -> WalFinding:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return WalFinding()
    if len(content) < _HEADER.size:
        return WalFinding()
    header = _HEADER.unpack_from(content)
    order = ">" if header[0] & 1 else "<"
    if header[0] & ~1 != _MAGIC or _sum(content[:24], (0, 0), order) != header[6:]:
        return WalFinding(damage="the -wal file's header is damaged: what it holds is not read by SQLite")
    broken = [frame for frame in _frames(content, header, order) if frame.is_of_this_wal]
    first = next((frame for frame in broken if not frame.is_whole), None)
    if first is None:
        return WalFinding()
    if sum(frame.is_commit for frame in broken if frame.number >= first.number) > 1:
        return WalFinding(
            damage=f"frame {first.number} of the -wal file is damaged and commits lie behind it: "
            "the records in them are not read by SQLite"
        )
    # one commit alone may be the write that a power cut interrupted: its sectors reach the disk in any order
    return WalFinding(remark=f"the -wal file ends in an unfinished write (frame {first.number})")


def _frames(content: bytes, header: tuple[int, ...], order: str) -> Iterator[_Frame]:
    """The frames; the checksum of each builds on the one before, so none is whole after one that is not."""
    page_bytes, salts, total = header[2], header[4:6], header[6:8]
    size = _FRAME.size + page_bytes
    whole = True
    for number, at in enumerate(range(_HEADER.size, len(content) - size + 1, size), start=1):
        _, commit_pages, *rest = _FRAME.unpack_from(content, at)
        page = content[at + _FRAME.size : at + size]
        if whole:
            total = _sum(page, _sum(content[at : at + 8], total, order), order)
            whole = tuple(rest) == (*salts, *total)
        yield _Frame(number, commit_pages > 0, tuple(rest[:2]) == salts, whole)


def _sum(words: bytes, start: tuple[int, ...], order: str) -> tuple[int, int]:
    first, second = start
    for even, odd in struct.iter_unpack(f"{order}II", words):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
