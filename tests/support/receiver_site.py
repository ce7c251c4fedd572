"""A receiver in a folder with a client to it over ASGI, and a clock to turn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Table, select

from cloud_receiver import boxes, keys
from cloud_receiver.app import create_app
from cloud_receiver.auth import Role
from cloud_receiver.receiver import Receiver, Settings, open_receiver
from sync import wire
from tests.support.log_builder import BoxKeys

SITE = "plant-7"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class TurnedClock:
    """A clock that stands still until it is turned."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> int:
        """Now, in seconds since 1970."""
        return int(self.now.timestamp())

    def turn(self, **span: float) -> None:
        """Move on by a timedelta's arguments."""
        self.now += timedelta(**span)


@dataclass
class SiteUnderTest:
    """A receiver with its HTTP client, clock and API keys."""

    receiver: Receiver
    http: httpx.AsyncClient
    clock: TurnedClock
    reader: dict[str, str]
    admin: dict[str, str]

    async def enrolled(self, box: str = "line-1") -> BoxKeys:
        """A box that has enrolled."""
        box_keys = BoxKeys(box)
        answer = await self.enrol(box_keys)
        assert answer.status_code == 201, answer.text
        return box_keys

    async def enrol(self, box_keys: BoxKeys, token: str | None = None, **changes: str) -> httpx.Response:
        """Ask for enrolment, with a new token for any box unless one is given."""
        if token is None:
            token = boxes.create_token(self.receiver, SITE, None, timedelta(hours=1)).token
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.post("/v1/enrol", headers=headers, json=box_keys.introduction(SITE, **changes))

    async def send(self, box_keys: BoxKeys, packed: bytes, **claims: Any) -> httpx.Response:
        """Post a batch with a new token of the box, of now unless told otherwise."""
        headers = box_keys.bearer(claims.pop("issued_at", self.clock.seconds()), **claims)
        headers["Content-Type"] = wire.MEDIA_TYPE
        return await self.http.post("/v1/batches", headers=headers, content=packed)

    async def read(self, path: str, **query: Any) -> Any:
        """What a reader gets."""
        answer = await self.http.get(path, headers=self.reader, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Everything in a table."""
        with self.receiver.database.read() as connection:
            return [dict(row) for row in connection.execute(select(table)).mappings()]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which must be a problem document with a next step in it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert len(problem["detail"]) > 20
    return answer.status_code, problem["type"].removeprefix("urn:alumiguard:problem:")


@asynccontextmanager
async def site_in(folder: Path) -> AsyncIterator[SiteUnderTest]:
    """A receiver in this process, over ASGI."""
    clock = TurnedClock()
    receiver = open_receiver(Settings(folder), clock)
    reader, admin = (
        {"Authorization": f"Bearer {keys.create_key(receiver, role.value, role)}"}
        for role in (Role.READER, Role.ADMIN)
    )
    transport = httpx.ASGITransport(create_app(receiver))
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as http:
        yield SiteUnderTest(receiver, http, clock, reader, admin)
    receiver.database.close()
