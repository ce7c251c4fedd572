from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.multipart import MalformedStream, Part, PartReader, boundary_of

LIMIT_BYTES = 4096


def _stream(contents: list[bytes], *, length: bool) -> bytes:
    parts = []
    for number, content in enumerate(contents):
        header = f"Content-Length: {len(content)}\r\n" if length else ""
        parts.append(f"--b\r\nX-Frame-Id: {number}\r\n{header}\r\n".encode() + content + b"\r\n")
    return b"".join(parts)


def _pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def _read(pieces: list[bytes]) -> list[Part]:
    reader = PartReader(b"--b", LIMIT_BYTES)
    return [part for piece in pieces for part in reader.feed(piece)]


CONTENTS = st.lists(st.binary(max_size=200).filter(lambda content: b"--b" not in content), max_size=6)
CUTS = st.lists(st.integers(0, 10_000), max_size=20)


@given(CONTENTS, CUTS)
def test_parts_with_a_length_come_out_however_the_stream_is_cut(
    contents: list[bytes], cuts: list[int]
) -> None:
    parts = _read(_pieces(_stream(contents, length=True), cuts))
    assert [part.content for part in parts] == contents
    assert [part.headers["x-frame-id"] for part in parts] == [str(i) for i in range(len(contents))]


@given(CONTENTS, CUTS)
def test_parts_without_a_length_come_out_when_the_next_one_begins(
    contents: list[bytes], cuts: list[int]
) -> None:
    parts = _read(_pieces(_stream([*contents, b"last"], length=False), cuts))
    assert [part.content for part in parts] == contents


@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_any_bytes_are_parts_or_malformed_and_memory_is_bounded(pieces: list[bytes]) -> None:
    reader = PartReader(b"--b", LIMIT_BYTES)
    try:
        for piece in pieces:
            list(reader.feed(piece))
            assert len(reader._buffer) <= 3 * LIMIT_BYTES + 3000
    except MalformedStream:
        pass


def test_a_part_that_counted_wrong_ends_where_the_next_one_begins() -> None:
    stream = b"--b\r\nContent-Length: 60\r\n\r\nshort\r\n--b\r\nContent-Length: 4\r\n\r\nnext\r\n" + bytes(40)
    assert [part.content for part in _read([stream])] == [b"short", b"next"]


@pytest.mark.parametrize("length", ["99999", "9" * 13, "9" * 5000])
def test_a_part_over_the_limit_is_refused_by_its_length(length: str) -> None:
    with pytest.raises(MalformedStream):
        _read([f"--b\r\nContent-Length: {length}\r\n\r\n".encode()])


def test_headers_that_never_end_are_refused() -> None:
    with pytest.raises(MalformedStream, match="8192"):
        _read([b"--b\r\n" + b"x" * 5000, b"x" * 5000])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", b"--frame"),
        ('Multipart/x-mixed-replace;boundary="my frame"', b"--my frame"),
        ("multipart/x-mixed-replace; boundary=--myboundary", b"--myboundary"),
        ("image/jpeg", None),
        ("multipart/x-mixed-replace", None),
        ("", None),
    ],
)
def test_the_boundary_is_read_as_cameras_write_it(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
