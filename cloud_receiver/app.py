"""The receiver's HTTP API. Nothing but `/healthz` answers without a credential; every refusal is kept."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from sqlalchemy import select

from cloud_receiver import boxes, ingest, records
from cloud_receiver.answers import (
    BoxList,
    Enrolled,
    EnrolRequest,
    Health,
    RecordPage,
    SecurityEventPage,
    SecurityEventView,
)
from cloud_receiver.body import read_body
from cloud_receiver.database import security_events
from cloud_receiver.openapi import describe, reference
from cloud_receiver.problems import Problem
from cloud_receiver.receiver import Receiver
from cloud_receiver.refusals import add_refusals, documented, first_error
from cloud_receiver.serving import Admin, BoxCalling, Here, Reader, Serving, TokenHolder
from sync import wire

_MAX_ENROL_BYTES = 16 * 1024
_RETRY_AFTER_SECONDS = 10

log = structlog.get_logger()
routes = APIRouter()


def create_app(receiver: Receiver) -> FastAPI:
    """The app over an open receiver."""
    app = FastAPI(
        title="AlumiGuard receiver",
        version="1",
        description="Takes in the signed logs of boxes, and gives their records back.",
        openapi_url=None,  # the document needs a credential too; `/openapi.json` is a route of ours
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.serving = Serving(receiver)
    app.include_router(routes)
    add_refusals(app)
    return app


# --- boxes ------------------------------------------------------------------------------------------------


@routes.post(
    "/v1/enrol",
    status_code=201,
    responses=documented(400, 401, 403, 408, 409, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(EnrolRequest)}},
        }
    },
)
async def enrol(request: Request, here: Here, token: TokenHolder) -> Enrolled:
    """Take a box in, for a one-use token: its request becomes its certificate."""
    body = await read_body(request, _MAX_ENROL_BYTES)
    try:
        asked = EnrolRequest.model_validate_json(body)
    except ValidationError as error:
        raise Problem(400, "malformed", f"{first_error(error)}; see /openapi.json for the fields") from error
    return await run_in_threadpool(boxes.enrol, here.receiver, token, asked)


@routes.post(
    "/v1/batches",
    response_class=Response,
    responses={
        200: {
            "description": "the receipt: the batch's checkpoint with the receiver's cosignature",
            "content": {wire.RECEIPT_MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        **documented(400, 401, 403, 408, 409, 413, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {wire.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def post_batch(request: Request, here: Here, box: BoxCalling) -> Response:
    """Take in the next stretch of a box's log. Sending one again gives the same receipt again."""
    packed = await read_body(request, ingest.MAX_PACKED_BYTES)
    with here.metrics.ingest_seconds.time():
        accepted = await run_in_threadpool(ingest.accept, here.receiver, box, packed)
    here.metrics.batches.labels("accepted" if accepted.new_records else "held").inc()
    if accepted.new_records:
        here.metrics.records.inc(accepted.new_records)
        here.metrics.batch_bytes.inc(len(packed))
    log.info("batch", box=box.box, bytes=len(packed), new_records=accepted.new_records)
    # given as a header: starlette adds a charset to `media_type`s that begin with text/
    return Response(accepted.receipt, headers={"Content-Type": wire.RECEIPT_MEDIA_TYPE})


# --- readers ----------------------------------------------------------------------------------------------


@routes.get("/v1/boxes", responses=documented(401, 403))
def get_boxes(here: Here, _caller: Reader) -> BoxList:
    """Every box, when it was last heard, and how far each of its logs is held."""
    return BoxList(boxes=boxes.list_boxes(here.receiver))


@routes.get("/v1/records", response_model=RecordPage, responses=documented(400, 401, 403))
def get_records(
    here: Here,
    _caller: Reader,
    box: str | None = None,
    kind: str | None = None,
    epoch: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=records.MAX_PAGE_RECORDS)] = 100,
) -> Response:
    """Records in the order of their acceptance. Give `next` as `after` to go on, now or any time later."""
    page = records.read_page(here.receiver, records.Filter(box, epoch, kind), after, limit)
    return Response(page, media_type="application/json")


@routes.get("/v1/security-events", responses=documented(400, 401, 403))
def get_security_events(
    here: Here,
    _caller: Admin,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SecurityEventPage:
    """What was refused or changed, oldest first."""
    row = security_events.c
    with here.receiver.database.read() as connection:
        found = connection.execute(
            select(security_events).where(row.id > after).order_by(row.id).limit(limit)
        ).mappings()
        events = tuple(SecurityEventView.model_validate(dict(event)) for event in found)
    return SecurityEventPage(events=events, next=events[-1].id if events else after)


# --- operation --------------------------------------------------------------------------------------------


@routes.get("/healthz", response_model=Health, responses={503: {"model": Health}})
def get_health(here: Here) -> Response:
    """200 when a batch could be accepted now. The only route that needs no credential."""
    health = here.health()
    return Response(
        health.model_dump_json(exclude_defaults=True),
        200 if health.status == "ok" else 503,
        media_type="application/json",
    )


@routes.get("/metrics", response_class=Response, responses=documented(401, 403))
def get_metrics(here: Here, _caller: Reader) -> Response:
    """Figures in Prometheus' text format."""
    return Response(generate_latest(here.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@routes.get("/openapi.json", responses=documented(401, 403))
def get_openapi(request: Request, _caller: Reader) -> dict[str, Any]:
    """This API, described."""
    return describe(request.app)
