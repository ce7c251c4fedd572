"""Whatever is sent, the receiver does not fail, and holds nothing that the box did not sign."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cloud_receiver.database import batches, boxes, enrolments, marks, set_aside
from sync import wire
from tests.support.log_builder import BoxKeys, BuiltBatch, LogBuilder
from tests.support.receiver_site import SiteUnderTest, site_in

STATE = (marks, batches, set_aside, enrolments)
EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BOX = BoxKeys("line-1")
LOG = LogBuilder(BOX)
HELD, NEXT = LOG.batch(), LOG.batch()


def packed_lines(lines: list[bytes]) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(b"\n".join([*lines, b""]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
any_line = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())
seq_numbers = st.integers(-2, 12) | st.sampled_from([2**63 - 1, 2**63, 2**64])
headers = st.fixed_dictionaries(
    {
        "batch": st.just(wire.FORMAT) | st.text(max_size=20),
        "box": st.just("line-1") | st.text(max_size=20),
        "epoch": st.just("first-epoch") | st.text(max_size=70),
        "first": seq_numbers,
        "last": seq_numbers,
        "previous": st.sampled_from([HELD.header.previous, NEXT.header.previous, "00" * 32]) | st.text(),
    }
).map(lambda header: json.dumps(header).encode())
notes = st.sampled_from([HELD.note, NEXT.note]).map(bytes.decode) | st.text(max_size=300)
trailers = notes.map(lambda note: json.dumps({"checkpoint": note}).encode())
built = st.tuples(headers | any_line, st.lists(any_line, max_size=4), trailers | any_line).map(
    lambda parts: packed_lines([parts[0], *parts[1], parts[2]])
)


@st.composite
def altered(draw: st.DrawFn) -> bytes:
    """One of the box's own batches with a part exchanged, as JSON lines or as bytes."""
    batch: BuiltBatch = draw(st.sampled_from([HELD, NEXT]))
    if draw(st.booleans()):
        packed = bytearray(batch.packed)
        at = draw(st.integers(0, len(packed) - 1))
        packed[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        return bytes(packed)
    lines = list(batch.lines)
    lines[draw(st.integers(0, len(lines) - 1))] = draw(any_line)
    other: BuiltBatch = draw(st.sampled_from([HELD, NEXT]))
    first = draw(st.integers(1, 7))
    header = replace(draw(st.sampled_from([HELD, NEXT])).header, first=first, last=first + len(lines) - 1)
    return wire.encode_batch(header, lines, other.note)


def state_of(site: SiteUnderTest) -> list[Any]:
    folder = site.receiver.quarantine.folder
    assert folder is not None
    quarantined = sorted(path.name for path in folder.rglob("*.zst"))
    known = [(row["box"], row["enrolment"]) for row in site.rows(boxes)]
    return [*(site.rows(table) for table in STATE), known, quarantined]


def holds(body: bytes, expected: BuiltBatch) -> bool:
    """Whether the body is, in other bytes perhaps, a batch that the box signed."""
    try:
        batch = wire.decode_batch(body)
    except wire.BatchError:
        return False
    return (batch.header, batch.lines, batch.note) == (expected.header, expected.lines, expected.note)


@pytest.mark.slow
def test_no_body_makes_the_receiver_fail_or_hold_what_the_box_did_not_sign(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        context = site_in(tmp_path / "receiver")
        site = runner.run(context.__aenter__())
        assert runner.run(site.enrol(BOX)).status_code == 201
        receipt = runner.run(site.send(BOX, HELD.packed))
        before = state_of(site)

        @EXAMPLES
        @given(body=st.binary(max_size=300) | built | altered())
        def try_body(body: bytes) -> None:
            assume(not holds(body, NEXT))
            answer = runner.run(site.send(BOX, body))
            assert answer.status_code == 200 if holds(body, HELD) else 400 <= answer.status_code < 500
            assert state_of(site) == before

        try_body()
        assert runner.run(site.send(BOX, HELD.packed)).content == receipt.content
        runner.run(context.__aexit__(None, None, None))


claims = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.just("line-1") | st.just("alumiguard-receiver") | st.floats()
        for name in ("iss", "aud", "iat", "exp", "jti", "nbf", "sub")
    },
)


def test_no_bearer_makes_the_receiver_fail_or_lets_anybody_in(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        context = site_in(tmp_path / "receiver")
        site = runner.run(context.__aenter__())
        assert runner.run(site.enrol(BOX)).status_code == 201

        async def post(bearer: bytes) -> httpx.Response:
            headers = {b"Authorization": b"Bearer " + bearer}
            return await site.http.post("/v1/batches", headers=headers, content=HELD.packed)

        def own_token(asked: dict[str, Any]) -> bytes:
            return BOX.token(site.clock.seconds(), **({"jti": None} | asked)).encode()

        @EXAMPLES
        @given(
            bearer=st.text(
                alphabet=st.characters(codec="latin-1", categories=["L", "N", "P"]), max_size=80
            ).map(lambda text: text.encode("latin-1"))
            | claims.map(own_token)
        )
        def try_bearer(bearer: bytes) -> None:
            status = runner.run(post(bearer)).status_code
            assert status == 401 or (status == 200 and bearer.count(b".") == 2)

        try_bearer()
        runner.run(context.__aexit__(None, None, None))
