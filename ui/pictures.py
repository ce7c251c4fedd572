"""The pictures that pages show, as the browser fetches them: live previews and evidence."""

import asyncio
from collections import OrderedDict
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from ui.backend import ConsoleBackend, LogUnreadable
from ui.thumbnails import marked_thumbnail
from ui.watch import Watch

_THUMBNAILS_KEPT = 48

log = structlog.get_logger()

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


def picture_routes(backend: ConsoleBackend, watch: Watch) -> APIRouter:
    """`/preview/{camera}.jpg?n=` and `/evidence/{sha256}/marked.jpg`."""
    router = APIRouter()
    thumbnails: OrderedDict[str, bytes] = OrderedDict()

    @router.get("/preview/{camera}.jpg", response_class=Response)
    async def preview(camera: str, n: Annotated[int, Query()]) -> Response:
        picture = watch.picture(camera, n)
        if picture is None:  # it went out of date while it was being asked for
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return Response(picture.jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @router.get("/evidence/{sha256}/marked.jpg", response_class=Response)
    async def marked(sha256: Sha256) -> Response:
        if sha256 not in thumbnails:
            try:
                made = await _thumbnail(backend, watch, sha256)
            except LogUnreadable as error:
                log.warning("evidence.unreadable", sha256=sha256, reason=str(error))
                return Response(status_code=HTTPStatus.NOT_FOUND)
            if made is None:
                return Response(status_code=HTTPStatus.NOT_FOUND)
            thumbnails[sha256] = made
            while len(thumbnails) > _THUMBNAILS_KEPT:
                thumbnails.popitem(last=False)
        # named by its content, so it never changes
        kept = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(thumbnails[sha256], media_type="image/jpeg", headers=kept)

    return router


async def _thumbnail(backend: ConsoleBackend, watch: Watch, sha256: str) -> bytes | None:
    """The evidence first: the log is only searched for a picture that is there."""
    jpeg = await backend.evidence(sha256)
    if jpeg is None:
        return None
    # a page may still ask for a picture that has just slid off the newest ones
    defect = watch.defect_by_evidence(sha256) or await backend.defect_by_evidence(sha256)
    if defect is None:
        return None
    return await asyncio.to_thread(marked_thumbnail, jpeg, defect.marks)
