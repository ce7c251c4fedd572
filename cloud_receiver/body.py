"""A request's body, read no further than its limit and no longer than the sender keeps sending."""

import asyncio

from fastapi import Request

from cloud_receiver.problems import Problem

_IDLE_SECONDS = 30
_DRAIN_FACTOR = 4
"""A body over the limit is read on, and thrown away, up to this many times the limit: a sender that is still
writing when the connection closes may lose the answer that tells it why."""


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 too-large over `limit_bytes`; 408 too-slow if nothing came for half a minute.
    """
    taken, total_bytes = bytearray(), 0
    stream = request.stream()
    while total_bytes <= _DRAIN_FACTOR * limit_bytes:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            detail = f"nothing came for {_IDLE_SECONDS} s; check the link and send it again"
            raise Problem(408, "too-slow", detail) from error
        if chunk is None:
            break
        total_bytes += len(chunk)
        if total_bytes <= limit_bytes:
            taken += chunk
    if total_bytes > limit_bytes:
        raise Problem(413, "too-large", f"the body is over {limit_bytes} bytes; send smaller batches")
    return bytes(taken)
