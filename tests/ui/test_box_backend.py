import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from sync.record import Judgement, Verdict
from tests.support.fake_box import HEIGHT_PX, SCRATCH, WIDTH_PX, FakeBox, alarm_view, fake_box, strip_jpeg
from ui.backend import (
    AcknowledgeCommand,
    BoxUnreachable,
    CameraState,
    CommandRefused,
    JudgeCommand,
    LogUnreadable,
)
from ui.box_backend import BoxBackend, open_box
from ui.pictures import picture_routes
from ui.watch import Watch


@pytest.fixture
def box(tmp_path: Path) -> Iterator[FakeBox]:
    with fake_box(tmp_path) as started:
        yield started


@pytest.fixture
async def backend(box: FakeBox) -> AsyncIterator[BoxBackend]:
    async with open_box(box.control, box.storage) as opened:
        yield opened


async def test_the_status_is_the_box_s_own(box: FakeBox, backend: BoxBackend) -> None:
    assert await backend.status() == box.view


async def test_a_preview_comes_with_its_number(box: FakeBox, backend: BoxBackend) -> None:
    box.change_camera(preview=31)
    assert await backend.preview("top") == (31, strip_jpeg(31))


async def test_a_camera_that_is_gone_or_unknown_has_no_preview(box: FakeBox, backend: BoxBackend) -> None:
    box.change_camera(state=CameraState.GONE)
    assert await backend.preview("top") is None
    assert await backend.preview("no/such?camera") is None


async def test_a_box_that_is_not_there_is_unreachable(box: FakeBox, backend: BoxBackend) -> None:
    box.stop()
    with pytest.raises(BoxUnreachable, match="check that the box is running"):
        await backend.status()
    with pytest.raises(BoxUnreachable, match="tap again"):
        await backend.judge(JudgeCommand(judgement=Judgement.MISSED, by="Weber", camera="top"))


async def test_a_box_that_comes_back_is_reached_again(box: FakeBox, backend: BoxBackend) -> None:
    await backend.status()
    box.stop()
    with pytest.raises(BoxUnreachable):
        await backend.status()
    box.start()
    assert (await backend.status()).box == "line-1"


async def test_a_box_that_hangs_is_unreachable_within_two_seconds(tmp_path: Path) -> None:
    control = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listening:  # the kernel takes the connection, nobody answers it
        listening.bind(str(control))
        listening.listen(1)
        async with open_box(control, tmp_path) as backend, asyncio.timeout(2.0):
            with pytest.raises(BoxUnreachable, match="longer than"):
                await backend.status()


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1]", b'{"box": 1', b"\xff\xfe"])
async def test_a_status_that_is_none_is_not_believed(
    box: FakeBox, backend: BoxBackend, answer: bytes
) -> None:
    box.status_body = lambda: answer
    with pytest.raises(BoxUnreachable, match="same version"):
        await backend.status()


async def test_the_last_defects_come_newest_first_with_their_marks(box: FakeBox, backend: BoxBackend) -> None:
    first = box.inspect(1)
    second = box.inspect(2, verdict=Verdict.CHECK, label="pinhole")
    newest, oldest = await backend.last_defects(5)
    assert (newest.seq, oldest.seq) == (second, first)
    assert (newest.verdict, newest.labels, newest.camera) == (Verdict.CHECK, ("pinhole",), "top")
    assert newest.position_m == pytest.approx(0.34)
    (mark,) = newest.marks
    assert (mark.x_px, mark.height_px) == (SCRATCH.x * WIDTH_PX, SCRATCH.height * HEIGHT_PX)
    assert [one.seq for one in await backend.last_defects(1)] == [second]


async def test_the_latest_judgement_is_the_one_shown(box: FakeBox, backend: BoxBackend) -> None:
    seq = box.inspect(1)
    for judgement, by in ((Judgement.REAL, "Weber"), (Judgement.FALSE, "Yilmaz")):
        await backend.judge(JudgeCommand(judgement=judgement, by=by, camera="top", inspection_seq=seq))
    (defect,) = await backend.last_defects(5)
    assert (defect.judgement, defect.judged_by) == (Judgement.FALSE, "Yilmaz")


async def test_a_folder_without_a_log_says_what_to_check(tmp_path: Path) -> None:
    async with open_box(tmp_path / "no.sock", tmp_path) as backend:
        with pytest.raises(LogUnreadable, match="has started once"):
            await backend.last_defects(5)


async def test_evidence_is_read_by_its_digest(box: FakeBox, backend: BoxBackend) -> None:
    box.inspect(3)
    jpeg = strip_jpeg(3)
    digest = hashlib.sha256(jpeg).hexdigest()
    assert await backend.evidence(digest) == jpeg
    assert await backend.evidence("0" * 64) is None
    assert await backend.evidence("../../box.db") is None


async def test_an_inspection_is_found_by_its_evidence_however_old_it_is(
    box: FakeBox, backend: BoxBackend
) -> None:
    seq = box.inspect(1, label="stain")
    for number in range(2, 20):
        box.inspect(number)
    found = await backend.defect_by_evidence(hashlib.sha256(strip_jpeg(1)).hexdigest())
    assert found is not None
    assert (found.seq, found.labels, len(found.marks)) == (seq, ("stain",), 1)
    assert await backend.defect_by_evidence("0" * 64) is None


async def test_a_picture_that_has_slid_off_the_page_is_still_served(
    box: FakeBox, backend: BoxBackend
) -> None:
    for number in range(1, 20):
        box.inspect(number)
    app = FastAPI()
    app.include_router(picture_routes(backend, Watch(backend)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console") as browser:
        digest = hashlib.sha256(strip_jpeg(1)).hexdigest()
        answer = await browser.get(f"/evidence/{digest}/marked.jpg")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert (await browser.get(f"/evidence/{'0' * 64}/marked.jpg")).status_code == 404


async def test_damaged_evidence_is_not_shown(box: FakeBox, backend: BoxBackend) -> None:
    box.inspect(3)
    digest = hashlib.sha256(strip_jpeg(3)).hexdigest()
    (box.storage / "evidence" / digest[:2] / f"{digest}.jpg").write_bytes(b"another picture")
    with pytest.raises(LogUnreadable, match=digest):
        await backend.evidence(digest)


async def test_a_command_returns_the_record_it_became(box: FakeBox, backend: BoxBackend) -> None:
    box.change(alarms=(alarm_view(7),))
    seq = await backend.acknowledge(AcknowledgeCommand(raised_seq=7, by="Weber"))
    assert seq == box.log.head.seq
    assert box.acknowledged == [AcknowledgeCommand(raised_seq=7, by="Weber")]


async def test_a_refusal_brings_the_box_s_reason(box: FakeBox, backend: BoxBackend) -> None:
    box.refuse = "There is no alarm 7; reload the page"
    with pytest.raises(CommandRefused, match="There is no alarm 7; reload the page"):
        await backend.acknowledge(AcknowledgeCommand(raised_seq=7, by="Weber"))
