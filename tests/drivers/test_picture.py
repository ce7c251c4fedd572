import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.picture import MAX_PIXELS, NotAPicture, decode_picture

PICTURE = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 3)
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()
PROGRESSIVE = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
PNG = cv2.imencode(".png", PICTURE)[1].tobytes()
BMP = cv2.imencode(".bmp", PICTURE)[1].tobytes()


@pytest.mark.parametrize("octets", [JPEG, PROGRESSIVE, PNG, BMP], ids=["jpeg", "progressive", "png", "bmp"])
def test_a_whole_picture_is_decoded_to_bgr(octets: bytes) -> None:
    image = decode_picture(octets)
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert cv2.absdiff(image, PICTURE).mean() < 5


def test_a_grey_picture_comes_out_in_three_channels() -> None:
    grey = cv2.imencode(".png", PICTURE[:, :, 0])[1].tobytes()
    assert decode_picture(grey).shape == (60, 80, 3)


@pytest.mark.parametrize("octets", [JPEG, PROGRESSIVE, PNG], ids=["jpeg", "progressive", "png"])
def test_a_picture_that_is_cut_off_anywhere_is_refused(octets: bytes) -> None:
    for length in range(1, len(octets) - 1):
        with pytest.raises(NotAPicture):
            decode_picture(octets[:length])


def test_what_a_camera_puts_after_a_picture_does_no_harm() -> None:
    assert decode_picture(JPEG + b"\r\n\0\0").shape == (60, 80, 3)


def test_an_end_inside_an_embedded_thumbnail_is_not_the_pictures_end() -> None:
    thumbnail = b"\xff\xe1" + (2 + len(JPEG)).to_bytes(2) + JPEG
    with_thumbnail = JPEG[:2] + thumbnail + JPEG[2:]
    assert decode_picture(with_thumbnail).shape == (60, 80, 3)
    with pytest.raises(NotAPicture, match="without its end"):
        decode_picture(with_thumbnail[:-2])


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"", "empty"),
        (b"<html>", "not a picture"),
        (b"\xff\xd8\xff", "cut off"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
    ],
)
def test_what_is_no_picture_says_why(octets: bytes, sentence: str) -> None:
    with pytest.raises(NotAPicture, match=sentence):
        decode_picture(octets)


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = PNG[:12] + header + zlib.crc32(header).to_bytes(4) + PNG[33:]
    with pytest.raises(NotAPicture, match=str(MAX_PIXELS)):
        decode_picture(bomb)
    frame_header = JPEG.index(b"\xff\xc0")
    large = JPEG[: frame_header + 5] + struct.pack(">HH", 65_000, 65_000) + JPEG[frame_header + 9 :]
    with pytest.raises(NotAPicture, match=str(MAX_PIXELS)):
        decode_picture(large)


@given(st.binary(max_size=300), st.sampled_from([b"", JPEG[:2], JPEG[:20], PNG[:8], PNG[:40], BMP[:14]]))
def test_any_bytes_are_a_picture_or_refused(octets: bytes, start: bytes) -> None:
    try:
        image = decode_picture(start + octets)
    except NotAPicture:
        return
    assert image.ndim == 3
