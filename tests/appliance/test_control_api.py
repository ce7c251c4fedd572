"""What the control socket says to a body that is no command."""

from collections.abc import AsyncIterator

import httpx
import pytest

from appliance.control_api import MAX_BODY_BYTES, control_app
from ui.backend import AcknowledgeCommand, BoxView, JudgeCommand


def _status() -> BoxView:
    raise AssertionError


def _preview(_name: str) -> tuple[int, bytes] | None:
    raise AssertionError


async def _acknowledge(_command: AcknowledgeCommand) -> int:
    raise AssertionError


async def _judge(_command: JudgeCommand) -> int:
    raise AssertionError


@pytest.mark.parametrize(
    "body",
    [
        b'{"judgement":"missed","by":"\\ud800","camera":"top"}',
        b'{"judgement":"real","by":"x","camera":"top","inspection_seq":NaN}',
        b'{"judgement":"real","by":"x","camera":"top","inspection_seq":9223372036854775808}',
        b'{"judgement":"real","by":"x","camera":"top","inspection_seq":0}',
    ],
)
async def test_a_body_that_is_no_command_is_refused_in_a_sentence(body: bytes) -> None:
    transport = httpx.ASGITransport(control_app(_status, _preview, _acknowledge, _judge))
    async with httpx.AsyncClient(transport=transport, base_url="http://box") as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/v1/feedback", content=body, headers=headers)
    assert answer.status_code == 422
    assert set(answer.json()) == {"type", "title", "status", "detail"}


async def test_a_body_that_is_too_long_or_does_not_say_how_long_is_not_read() -> None:
    transport = httpx.ASGITransport(control_app(_status, _preview, _acknowledge, _judge))

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES):
            yield b"x" * MAX_BODY_BYTES

    async with httpx.AsyncClient(transport=transport, base_url="http://box") as http:
        long = await http.post("/v1/feedback", content=b"x" * (MAX_BODY_BYTES + 1))
        unsaid = await http.post("/v1/feedback", content=endless())
    assert (long.status_code, unsaid.status_code) == (413, 413)
