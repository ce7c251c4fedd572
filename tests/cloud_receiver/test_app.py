import json
from dataclasses import replace
from typing import Any, NoReturn

import httpx
import pytest
from obstore.store import MemoryStore
from sqlalchemy.exc import OperationalError

from cloud_receiver import serving
from cloud_receiver.answers import Health
from cloud_receiver.app import create_app
from cloud_receiver.database import Database
from cloud_receiver.landing import Landing
from cloud_receiver.receiver import Receiver
from tests.support.log_builder import LogBuilder
from tests.support.receiver_site import SiteUnderTest, code_of


class FullDisk(Landing):
    """A landing whose disk is full."""

    def put(self, path: str, packed: bytes) -> None:
        raise OSError(28, f"No space left on device: {path}, {len(packed)} bytes")

    def probe(self) -> None:
        raise OSError(28, "No space left on device")


class LockedDatabase(Database):
    """A database that somebody else holds for writing."""

    def write(self) -> NoReturn:
        raise OperationalError("BEGIN IMMEDIATE", None, Exception("database is locked"))


def client_of(site: SiteUnderTest, **parts: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(replace(site.receiver, **parts)))
    return httpx.AsyncClient(transport=transport, base_url="http://receiver")


async def test_healthz_is_ok_only_while_database_and_landing_take_writes(site: SiteUnderTest) -> None:
    answer = await site.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    async with client_of(site, landing=FullDisk(MemoryStore())) as http:
        answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "failing": ["landing"]})
    async with client_of(site, database=LockedDatabase(site.receiver.database.engine)) as http:
        answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "failing": ["database"]})


async def test_healthz_asks_the_disk_once_for_many_callers(
    site: SiteUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(receiver: Receiver) -> Health:
        asked.append(receiver)
        return Health(status="ok")

    monkeypatch.setattr(serving, "_check_health", counted)
    for _ in range(20):
        await site.http.get("/healthz")
    assert len(asked) == 1


async def test_a_batch_on_a_full_disk_is_asked_for_again_later_and_nothing_is_held(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch().packed
    async with client_of(site, landing=FullDisk(MemoryStore())) as http:
        answer = await http.post("/v1/batches", headers=box.bearer(site.clock.seconds()), content=batch)
    assert code_of(answer) == (503, "storage")
    assert int(answer.headers["retry-after"]) > 0
    assert (await site.read("/v1/boxes"))["boxes"][0]["records"] == 0
    assert (await site.send(box, batch)).status_code == 200


async def test_a_batch_lands_in_any_object_store(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    async with client_of(site, landing=Landing(MemoryStore())) as http:
        for _ in range(2):
            answer = await http.post(
                "/v1/batches", headers=box.bearer(site.clock.seconds()), content=log.batch().packed
            )
            assert answer.status_code == 200
        page = (await http.get("/v1/records", headers=site.reader)).json()
    assert [stored["record"]["seq"] for stored in page["records"]] == [1, 2, 3, 4, 5, 6]


async def test_metrics_count_what_was_accepted_held_and_refused(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch(4).packed
    for body in (batch, batch, b"no batch"):
        await site.send(box, body)
    answer = await site.http.get("/metrics", headers=site.reader)
    lines = answer.text.splitlines()
    assert 'alumiguard_receiver_batches_total{outcome="accepted"} 1.0' in lines
    assert 'alumiguard_receiver_batches_total{outcome="held"} 1.0' in lines
    assert 'alumiguard_receiver_refused_total{code="malformed"} 1.0' in lines
    assert "alumiguard_receiver_records_total 4.0" in lines


async def test_boxes_are_listed_with_their_epochs_and_when_they_were_last_heard(site: SiteUnderTest) -> None:
    box = await site.enrolled("line-1")
    await site.enrolled("line-2")
    log = LogBuilder(box)
    await site.send(box, log.batch(3).packed)
    site.clock.turn(hours=1)
    await site.send(box, log.batch(2).packed)
    await site.send(box, LogBuilder(box, "second-epoch").batch(1).packed)
    first, second = (await site.read("/v1/boxes"))["boxes"]
    assert (first["box"], first["records"], first["revoked_at"]) == ("line-1", 6, None)
    assert first["last_contact"] == "2026-03-01T13:00:00.000000Z"
    assert first["epochs"][0] == {
        "epoch": "first-epoch",
        "seq": 5,
        "head": log.head.hex(),
        "began_at": "2026-03-01T12:00:00.000000Z",
        "advanced_at": "2026-03-01T13:00:00.000000Z",
    }
    assert (second["box"], second["last_contact"], second["epochs"]) == ("line-2", None, [])


async def test_unknown_paths_and_methods_are_problems_too(site: SiteUnderTest) -> None:
    assert code_of(await site.http.get("/v1/nothing")) == (404, "not-found")
    assert code_of(await site.http.delete("/v1/boxes")) == (405, "method-not-allowed")


async def test_every_reference_in_the_openapi_document_leads_somewhere(site: SiteUnderTest) -> None:
    document = await site.read("/openapi.json")
    assert await site.read("/openapi.json") == document
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    referred = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert referred == names
    assert {"ProblemView", "EnrolRequest", "RecordPage", "BoxList"} <= names
    assert text.count('"#/') == text.count('"#/components/schemas/')


async def test_every_operation_is_described_and_all_but_health_need_a_credential(site: SiteUnderTest) -> None:
    document = await site.read("/openapi.json")
    operations = [
        (path, operation) for path, methods in document["paths"].items() for operation in methods.values()
    ]
    assert len(operations) == 8
    assert [path for path, operation in operations if not operation.get("security")] == ["/healthz"]
    assert all(operation["description"] for _, operation in operations)
