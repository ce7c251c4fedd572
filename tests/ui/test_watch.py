import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from sync.record import Verdict
from tests.support.fake_box import SCRATCH, all_ok, camera_view
from ui.backend import (
    AcknowledgeCommand,
    BoxUnreachable,
    BoxView,
    CameraState,
    CameraView,
    DefectView,
    JudgeCommand,
    LogUnreadable,
)
from ui.watch import FROZEN_SECONDS, Snapshot, Watch


@dataclass
class ScriptedBox:
    """A backend in memory, for what a real box cannot be made to do on command."""

    view: BoxView | None = field(default_factory=all_ok)
    preview_ahead: int = 0
    defects: Sequence[DefectView] | None = ()

    async def status(self) -> BoxView:
        if self.view is None:
            raise BoxUnreachable("It is off: switch it on")
        return self.view

    async def preview(self, camera: str) -> tuple[int, bytes] | None:
        if self.view is None:
            return None
        number = next(one.preview for one in self.view.cameras if one.name == camera) + self.preview_ahead
        return number, b"jpeg %d" % number

    async def last_defects(self, limit: int) -> Sequence[DefectView]:
        if self.defects is None:
            raise LogUnreadable("The log is gone: restore it")
        return self.defects[:limit]

    async def defect_by_evidence(self, sha256: str) -> DefectView | None:
        raise NotImplementedError(sha256)

    async def evidence(self, sha256: str) -> bytes | None:
        raise NotImplementedError(sha256)

    async def acknowledge(self, command: AcknowledgeCommand) -> int:
        raise NotImplementedError(command)

    async def judge(self, command: JudgeCommand) -> int:
        raise NotImplementedError(command)


class Hand:
    """A clock that a test moves on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class OpenPage:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Snapshot] = []
        self._news = asyncio.Event()

    def show(self, snapshot: Snapshot) -> None:
        self.told.append(snapshot)
        self._news.set()

    async def until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        async with asyncio.timeout(5):
            while not holds(self.told[-1]):
                self._news.clear()
                await self._news.wait()
        return self.told[-1]


@pytest.fixture
def box() -> ScriptedBox:
    return ScriptedBox()


@dataclass
class Watching:
    """A watch, the clock it looks at, and a page that it tells."""

    watch: Watch
    hand: Hand
    page: OpenPage


@asynccontextmanager
async def watching(box: ScriptedBox) -> AsyncIterator[Watching]:
    """A watch that runs for the length of a `with` block."""
    hand = Hand()
    at = Watching(Watch(box, hand), hand, OpenPage())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(at.watch.run())
        at.watch.subscribe(at.page.show)
        yield at
        running.cancel()


async def test_a_page_is_told_at_once_what_is_known(box: ScriptedBox) -> None:
    async with watching(box) as at:
        assert at.page.told[0].view is None
        assert (await at.page.until(lambda one: one.view is not None)).trouble == ""


async def test_a_picture_comes_with_the_boxes_found_on_it(box: ScriptedBox) -> None:
    box.view = all_ok().model_copy(update={"cameras": (camera_view(preview=8, found=(SCRATCH,)),)})
    async with watching(box) as at:
        told = await at.page.until(lambda one: "top" in one.pictures)
        assert (told.pictures["top"].number, told.pictures["top"].found) == (8, (SCRATCH,))
        kept = at.watch.picture("top", 8)
        assert kept is not None
        assert kept.jpeg == b"jpeg 8"


async def test_a_picture_newer_than_the_status_waits_for_its_boxes(box: ScriptedBox) -> None:
    box.preview_ahead = 1
    async with watching(box) as at:
        await at.page.until(lambda one: one.view is not None)
        assert at.page.told[-1].pictures == {}
        box.preview_ahead = 0
        assert (await at.page.until(lambda one: "top" in one.pictures)).pictures["top"].number == 7


async def test_a_picture_that_stands_still_is_taken_away(box: ScriptedBox) -> None:
    async with watching(box) as at:
        await at.page.until(lambda one: "top" in one.pictures)
        at.hand.now += FROZEN_SECONDS + 0.1
        box.preview_ahead = 1
        await at.page.until(lambda one: one.pictures == {})


async def test_numbers_that_begin_again_bring_new_pictures(box: ScriptedBox) -> None:
    async with watching(box) as at:
        for found in ((), (SCRATCH,)):
            for number in (7, 8):
                camera = camera_view(preview=number, found=found)
                box.view = all_ok().model_copy(update={"cameras": (camera,)})
                await at.page.until(partial(shows, camera))


def shows(camera: CameraView, told: Snapshot) -> bool:
    picture = told.pictures.get(camera.name)
    return picture is not None and (picture.number, picture.found) == (camera.preview, camera.found)


async def test_a_box_that_stops_answering_leaves_nothing_on_the_page(box: ScriptedBox) -> None:
    async with watching(box) as at:
        await at.page.until(lambda one: "top" in one.pictures)
        box.view = None
        told = await at.page.until(lambda one: one.view is None and one.trouble != "")
        assert (told.pictures, told.held, told.trouble) == ({}, {}, "It is off: switch it on")
        at.hand.now += 7.0
        assert (await at.page.until(lambda one: one.silent_seconds >= 7.0)).view is None


async def test_how_long_a_camera_is_out_is_counted(box: ScriptedBox) -> None:
    gone = camera_view(state=CameraState.GONE, verdict=None)
    box.view = all_ok().model_copy(update={"cameras": (gone,)})
    async with watching(box) as at:
        await at.page.until(lambda one: "top" in one.out_seconds)
        at.hand.now += 12.0
        await at.page.until(lambda one: one.out_seconds["top"] >= 12.0)
        box.view = all_ok()
        told = await at.page.until(lambda one: one.out_seconds == {} and "top" in one.held)
        assert told.held["top"].verdict is Verdict.OK


async def test_a_log_that_cannot_be_read_is_said_and_the_rest_goes_on(box: ScriptedBox) -> None:
    box.defects = None
    async with watching(box) as at:
        told = await at.page.until(lambda one: one.defects_trouble != "" and one.view is not None)
        assert told.defects_trouble == "The log is gone: restore it"


async def test_a_page_that_was_closed_is_told_no_more(box: ScriptedBox) -> None:
    async with watching(box) as at:
        await at.page.until(lambda one: one.view is not None)
        other = OpenPage()
        at.watch.subscribe(other.show)
        at.watch.unsubscribe(at.page.show)
        told = len(at.page.told)
        await other.until(lambda one: "top" in one.pictures)
        at.watch.look_now()
        await other.until(lambda _: len(other.told) > 3)
        assert len(at.page.told) == told
