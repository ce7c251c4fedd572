"""The box as the console sees it: its control socket for what is now, its log for what was."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import apsw
import httpx
from pydantic import BaseModel, ValidationError

from sync import evidence
from sync.database import Connection, reading
from ui.backend import (
    AcknowledgeCommand,
    BoxUnreachable,
    BoxView,
    CommandDone,
    CommandRefused,
    DefectView,
    JudgeCommand,
    LogUnreadable,
    MarkView,
)

STATUS_SECONDS = 1.5
"""A box that takes longer for its status is not answering: the page has to say so within two seconds."""

_Read = TypeVar("_Read")

COMMAND_SECONDS = 5.0
"""A command is answered when its record is on disk, and a busy disk takes its time."""


class BoxBackend:
    """`ui.backend.ConsoleBackend` over the control socket and the storage folder of a box on this machine."""

    def __init__(self, http: httpx.AsyncClient, storage: Path) -> None:
        self._http = http
        self._database = storage / "box.db"
        self._evidence = storage / "evidence"

    async def status(self) -> BoxView:
        """The box now. Raises BoxUnreachable."""
        response = await self._get("/v1/status")
        if response.status_code != HTTPStatus.OK:
            raise BoxUnreachable(f"It answers its status with {response.status_code}: look at the box's log")
        try:
            return BoxView.model_validate_json(response.content)
        except ValidationError as error:
            raise BoxUnreachable(
                "Its status is not one that this console knows: install the same version of both"
            ) from error

    async def preview(self, camera: str) -> tuple[int, bytes] | None:
        """The newest preview and its number, None when there is none. Raises BoxUnreachable."""
        response = await self._get(f"/v1/cameras/{quote(camera, safe='')}/preview.jpg")
        if response.status_code != HTTPStatus.OK:
            return None
        return int(response.headers["X-Preview"]), response.content

    async def last_defects(self, limit: int) -> Sequence[DefectView]:
        """The newest NG and CHECK inspections, newest first. Raises LogUnreadable."""
        return await asyncio.to_thread(_from_log, self._database, lambda log: _newest(log, limit))

    async def defect_by_evidence(self, sha256: str) -> DefectView | None:
        """The newest inspection with this evidence, None when there is none. Raises LogUnreadable."""
        return await asyncio.to_thread(_from_log, self._database, lambda log: _with_evidence(log, sha256))

    async def evidence(self, sha256: str) -> bytes | None:
        """An evidence JPEG, None when it is not (or no longer) kept. Raises LogUnreadable."""
        try:
            return await asyncio.to_thread(evidence.read, self._evidence, sha256)
        except (evidence.EvidenceDamaged, OSError) as error:
            raise LogUnreadable(str(error)) from error

    async def acknowledge(self, command: AcknowledgeCommand) -> int:
        """Acknowledge an alarm; returns the record's seq. Raises BoxUnreachable, CommandRefused."""
        return await self._post("/v1/alarms/acknowledge", command)

    async def judge(self, command: JudgeCommand) -> int:
        """Record a judgement; returns the record's seq. Raises BoxUnreachable, CommandRefused."""
        return await self._post("/v1/feedback", command)

    async def _get(self, path: str) -> httpx.Response:
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                return await self._http.get(path)
        except TimeoutError as error:
            raise BoxUnreachable(
                f"It took longer than {STATUS_SECONDS:g} s to answer: see the box's log for why it is slow"
            ) from error
        except httpx.TransportError as error:
            raise BoxUnreachable(
                "Nothing answers on its control socket: check that the box is running"
            ) from error

    async def _post(self, path: str, command: BaseModel) -> int:
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                response = await self._http.post(
                    path,
                    content=command.model_dump_json(),
                    headers={"Content-Type": "application/json"},
                )
        except (TimeoutError, httpx.TransportError) as error:
            raise BoxUnreachable(
                "The box did not answer. Look whether it is shown as done; if not, tap again"
            ) from error
        if response.status_code != HTTPStatus.OK:
            raise CommandRefused(_detail(response))
        return CommandDone.model_validate_json(response.content).seq


@asynccontextmanager
async def open_box(control: Path, storage: Path) -> AsyncIterator[BoxBackend]:
    """The backend of a box on this machine. Needs nothing to be running yet."""
    transport = httpx.AsyncHTTPTransport(uds=str(control))
    # The time limits are ours, on the whole exchange; httpx's are per read and would let a slow box drip.
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://box",
        timeout=None,  # noqa: S113 - see above
        trust_env=False,
    ) as http:
        yield BoxBackend(http, storage)


def _detail(response: httpx.Response) -> str:
    """What the box says was wrong: `detail` of its application/problem+json."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = None
    return (
        detail if isinstance(detail, str) else f"The box refused ({response.status_code}); see the box's log"
    )


def _from_log(database: Path, read: Callable[[Connection], _Read]) -> _Read:
    try:
        with reading(database) as connection:
            return read(connection)
    except apsw.Error as error:
        raise LogUnreadable(
            f"The log of this box cannot be read ({error}); check that the box has started once"
        ) from error


_INSPECTIONS = (
    "SELECT seq, at, camera, verdict, lot, position_m, evidence_sha256, judgement, judged_by FROM inspections"
)


def _newest(connection: Connection, limit: int) -> tuple[DefectView, ...]:
    rows = connection.execute(f"{_INSPECTIONS} WHERE verdict <> 'OK' ORDER BY seq DESC LIMIT ?", (limit,))
    return tuple(_defect(row, _marks(connection, row[0])) for row in list(rows))


def _with_evidence(connection: Connection, sha256: str) -> DefectView | None:
    """Newest first: a page asks for pictures that were on it a moment ago."""
    rows = list(
        connection.execute(
            f"{_INSPECTIONS} WHERE evidence_sha256 = ? ORDER BY seq DESC LIMIT 1",
            (sha256,),
        )
    )
    return _defect(rows[0], _marks(connection, rows[0][0])) if rows else None


def _marks(connection: Connection, seq: int) -> tuple[MarkView, ...]:
    rows = connection.execute(
        "SELECT label, confidence, x_px, y_px, width_px, height_px FROM detections"
        " WHERE inspection_seq = ? ORDER BY confidence DESC",
        (seq,),
    )
    return tuple(
        MarkView(label=row[0], confidence=row[1], x_px=row[2], y_px=row[3], width_px=row[4], height_px=row[5])
        for row in rows
    )


def _defect(row: Sequence[Any], marks: tuple[MarkView, ...]) -> DefectView:
    seq, at, camera, verdict, lot, position_m, sha256, judgement, judged_by = row
    return DefectView.model_validate(
        {
            "seq": seq,
            "at": at,
            "camera": camera,
            "verdict": verdict,
            "labels": tuple(dict.fromkeys(mark.label for mark in marks)),
            "confidence": max((mark.confidence for mark in marks), default=0.0),
            "lot": lot,
            "position_m": position_m,
            "evidence_sha256": sha256,
            "judgement": judgement,
            "judged_by": judged_by,
            "marks": marks,
        }
    )
