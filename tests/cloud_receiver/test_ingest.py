import base64
from dataclasses import replace

import pytest
import zstandard

from cloud_receiver import boxes
from cloud_receiver.database import batches, marks, security_events, set_aside
from cloud_receiver.ingest import MAX_PACKED_BYTES
from sync import chain, wire
from tests.support.log_builder import BoxKeys, LogBuilder, record_line
from tests.support.receiver_site import SiteUnderTest


def code_of(answer: object) -> tuple[int, str]:
    import httpx

    assert isinstance(answer, httpx.Response)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    return answer.status_code, problem["type"].removeprefix("urn:alumiguard:problem:")


async def test_a_batch_is_answered_with_its_own_checkpoint_cosigned_now(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    answer = await site.send(box, batch.packed)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == wire.RECEIPT_MEDIA_TYPE
    key = site.receiver.identity.receipt_key.verifier(chain.ALG_COSIGNATURE)
    body, time_s = chain.open_cosignature(answer.content, key)
    assert body == chain.note_body(batch.note)
    assert time_s == site.clock.seconds()


async def test_the_landed_file_is_the_batch_verbatim_under_a_name_that_tells_what_it_is(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    await site.send(box, batch.packed)
    (row,) = site.rows(batches)
    assert row["path"] == f"2026-03-01/line-1/first-epoch/1-3-{row['sha256']}.batch.zst"
    assert site.receiver.landing.get(row["path"], row["sha256"]) == batch.packed


async def test_consecutive_batches_move_the_mark_to_the_head_of_the_last(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    for count in (1, 4, 2):
        assert (await site.send(box, log.batch(count).packed)).status_code == 200
    (mark,) = site.rows(marks)
    assert (mark["seq"], mark["head"]) == (7, log.head)
