"""Decoding pictures, and refusing the ones that are not whole.

A picture that was cut off decodes, with some decoders, to one with a grey rest and without a word; grey metal
would then be inspected and found good. So a file is walked to its end before OpenCV sees it.
"""

import struct

import numpy as np

from drivers.frame import Image

MAX_PIXELS = 100_000_000
"""A larger picture is refused before it is decoded; this one takes 300 MB."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_START_OF_SCAN = 0xDA
_NOT_A_FRAME_HEADER = frozenset({0xC4, 0xC8, 0xCC})
"""Markers 0xC0 to 0xCF are frame headers but for these (ITU-T T.81, table B.1)."""


class NotAPicture(ValueError):
    """The bytes are no whole picture; the message says why."""


def decode_picture(octets: bytes) -> Image:
    """Decode a picture file of any kind that OpenCV knows: height x width x 3, BGR.

    Raises:
        NotAPicture: if it is empty, cut off, too large, or none at all.
    """
    import cv2  # 0.5 s and 40 MB, which a process that only reads the configuration saves

    if not octets:
        raise NotAPicture("it is empty")
    if octets.startswith(_JPEG_START):
        _check_jpeg(octets)
    elif octets.startswith(_PNG_START):
        _check_png(octets)
    try:
        image = cv2.imdecode(np.frombuffer(octets, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise NotAPicture(f"it cannot be decoded ({error.err})") from error
    if image is None:
        raise NotAPicture("it is not a picture of a kind that can be read")
    return np.ascontiguousarray(image, np.uint8)


def _check_jpeg(octets: bytes) -> None:
    """Walk the segments up to the scan, whose data holds no 0xFFD9 before its end (ITU-T T.81, B.1)."""
    at = 2
    try:
        while (marker := octets[at + 1]) != _START_OF_SCAN:
            if octets[at] != 0xFF:
                raise NotAPicture("its structure is broken (a JPEG marker is missing)")
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            if 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME_HEADER:
                _check_size(*struct.unpack_from(">HH", octets, at + 5))
            at += 2 + int(struct.unpack_from(">H", octets, at + 2)[0])
    except (IndexError, struct.error) as error:
        raise NotAPicture("it is cut off (a JPEG without a picture)") from error
    if octets.rfind(_JPEG_END, at) < 0:
        raise NotAPicture("it is cut off (a JPEG without its end)")


def _check_png(octets: bytes) -> None:
    if len(octets) < 24 or octets.rfind(_PNG_END) < 0:
        raise NotAPicture("it is cut off (a PNG without its end)")
    width_px, height_px = struct.unpack_from(">II", octets, 16)
    _check_size(height_px, width_px)


def _check_size(height_px: int, width_px: int) -> None:
    if height_px * width_px > MAX_PIXELS:
        raise NotAPicture(f"it is too large ({width_px} x {height_px}; the limit is {MAX_PIXELS} pixels)")
