"""Pictures out of an endless multipart body (multipart/x-mixed-replace), as MJPEG cameras send it.

Bounded: a part may have `max_part_bytes`, its headers `_MAX_HEADER_BYTES`; nothing else is ever kept.
Framing is RFC 2046 section 5.1; a Content-Length in a part's headers is believed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MAX_HEADER_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, names in lower case, and its content."""

    headers: Mapping[str, str]
    content: bytes


class MalformedStream(ValueError):
    """The bytes are no multipart stream; the message says what is wrong with them."""


def boundary_of(content_type: str) -> bytes | None:
    """The delimiter that a Content-Type header announces, None where it is not multipart.

    Many cameras announce the boundary with the two dashes that RFC 2046 puts before it; both are understood.
    """
    kind, *parameters = (piece.strip() for piece in content_type.split(";"))
    if not kind.lower().startswith("multipart/"):
        return None
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "boundary" and (name := value.strip().strip('"')):
            return b"--" + name.removeprefix("--").encode("latin-1")
    return None


class PartReader:
    """Cuts the bytes of a stream, as they come, into parts."""

    def __init__(self, boundary: bytes, max_part_bytes: int) -> None:
        """Args: `boundary` with its leading dashes, as `boundary_of` gives it."""
        self._boundary = boundary
        self._max_part_bytes = max_part_bytes
        self._buffer = bytearray()
        self._headers: Mapping[str, str] | None = None
        self._searched = 0

    def feed(self, octets: bytes) -> Iterator[Part]:
        """Take the next bytes and yield the parts that they complete.

        Raises:
            MalformedStream: if they cannot belong to a multipart stream, or a part is too large.
        """
        self._buffer += octets
        while True:
            if self._headers is None and not self._take_headers():
                return
            content = self._take_content()
            if content is None:
                return
            headers, self._headers = self._headers or {}, None
            yield Part(headers, content)

    def _take_headers(self) -> bool:
        start = self._buffer.find(self._boundary)
        end = self._buffer.find(b"\r\n\r\n", start) if start >= 0 else -1
        if end < 0:
            if len(self._buffer) > _MAX_HEADER_BYTES:
                raise MalformedStream(f"no part begins within {_MAX_HEADER_BYTES} bytes")
            return False
        if end - start > _MAX_HEADER_BYTES:
            raise MalformedStream(f"the headers of a part are longer than {_MAX_HEADER_BYTES} bytes")
        lines = bytes(self._buffer[start:end]).decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        self._headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        del self._buffer[: end + 4]
        self._searched = 0
        return True

    def _take_content(self) -> bytes | None:
        length = self._announced_length()
        if length is None:
            return self._take_to_boundary()
        if len(self._buffer) < length:
            return None
        # Some cameras count wrong: a content that holds the next boundary was cut off and ends there.
        cut = self._buffer.find(b"\r\n" + self._boundary, 0, length)
        content = bytes(self._buffer[: cut if cut >= 0 else length])
        del self._buffer[: len(content)]
        return content

    def _announced_length(self) -> int | None:
        text = (self._headers or {}).get("content-length", "")
        if not (text.isascii() and text.isdigit()):
            return None
        if len(text) > 12 or int(text) > self._max_part_bytes:
            raise MalformedStream(f"a part of {text[:20]} bytes; the limit is {self._max_part_bytes}")
        return int(text)

    def _take_to_boundary(self) -> bytes | None:
        end = self._buffer.find(b"\r\n" + self._boundary, self._searched)
        if end < 0:
            if len(self._buffer) > self._max_part_bytes:
                raise MalformedStream(f"a part is longer than the limit, {self._max_part_bytes} bytes")
            self._searched = max(0, len(self._buffer) - len(self._boundary) - 2)
            return None
        content = bytes(self._buffer[:end])
        del self._buffer[:end]
        return content
