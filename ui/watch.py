"""One watcher of the box for the whole console: every open page is told the same snapshot."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sync.record import Verdict
from ui.backend import (
    BoxUnreachable,
    BoxView,
    CameraState,
    CameraView,
    ConsoleBackend,
    DefectView,
    FoundView,
    LogUnreadable,
)
from ui.headline import Held, hold

WATCHED_SECONDS = 0.1
"""Between two looks at the box while a page is open: a tenth of a second of the 250 ms budget."""

UNWATCHED_SECONDS = 1.0
"""Between two looks while nobody looks."""

DEFECTS_SECONDS = 0.4
"""Between two looks at the log."""

DEFECTS_SHOWN = 12

FROZEN_SECONDS = 5.0
"""A preview that has not changed for this long is not shown any more, whatever the camera says."""

_PICTURES_KEPT = 4


@dataclass(frozen=True, slots=True)
class Picture:
    """A preview, and what was found on this very picture with the verdict on it."""

    number: int
    jpeg: bytes
    found: tuple[FoundView, ...]
    verdict: Verdict | None
    arrived_mono: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the console knows at one instant. `view` is None while the box does not answer."""

    view: BoxView | None
    trouble: str
    silent_seconds: float
    held: Mapping[str, Held] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    out_seconds: Mapping[str, float] = field(default_factory=dict)
    """By camera that is not inspecting: for how long, as far as this console has seen."""
    defects: tuple[DefectView, ...] = ()
    defects_trouble: str = ""


_Judged = tuple[tuple[FoundView, ...], Verdict | None]

Show = Callable[[Snapshot], None]


class Watch:
    """Asks the box for its state, its pictures and its last defects, and tells the pages."""

    def __init__(self, backend: ConsoleBackend, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._monotonic = monotonic
        self._pages: list[Show] = []
        self._nudge = asyncio.Event()
        self._defects_nudge = asyncio.Event()
        self._answered_mono = monotonic()
        self._view: BoxView | None = None
        self._trouble = "This console has just started"
        self._held: dict[str, Held] = {}
        self._out_since: dict[str, float] = {}
        self._found: dict[str, OrderedDict[int, _Judged]] = {}
        self._pictures: dict[str, OrderedDict[int, Picture]] = {}
        self._defects: tuple[DefectView, ...] = ()
        self._defects_trouble = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_box())
            tasks.create_task(self._watch_log())

    def subscribe(self, show: Show) -> None:
        """Tell a page from now on, starting with what is known."""
        self._pages.append(show)
        show(self.snapshot())
        self._nudge.set()

    def unsubscribe(self, show: Show) -> None:
        """Tell a page no more."""
        if show in self._pages:
            self._pages.remove(show)

    def look_now(self) -> None:
        """Do not wait for the next turn: somebody has just changed something."""
        self._nudge.set()
        self._defects_nudge.set()

    def picture(self, camera: str, number: int) -> Picture | None:
        """A preview that a page was told of, None when it is too old."""
        return self._pictures.get(camera, OrderedDict[int, Picture]()).get(number)

    def defect_by_evidence(self, sha256: str) -> DefectView | None:
        """The shown defect that a picture belongs to."""
        return next((defect for defect in self._defects if defect.evidence_sha256 == sha256), None)

    def snapshot(self) -> Snapshot:
        """What is known now."""
        now = self._monotonic()
        return Snapshot(
            view=self._view,
            trouble=self._trouble,
            silent_seconds=now - self._answered_mono,
            held=self._held,
            pictures={
                camera: next(reversed(kept.values())) for camera, kept in self._pictures.items() if kept
            },
            out_seconds={camera: now - since for camera, since in self._out_since.items()},
            defects=self._defects,
            defects_trouble=self._defects_trouble,
        )

    # --- the box ------------------------------------------------------------------------------------------

    async def _watch_box(self) -> None:
        while True:
            began = self._monotonic()
            await self._look()
            told = self.snapshot()
            for show in tuple(self._pages):
                show(told)
            period = WATCHED_SECONDS if self._pages else UNWATCHED_SECONDS
            await _wait(self._nudge, period - (self._monotonic() - began))

    async def _look(self) -> None:
        try:
            view = await self._backend.status()
            if self._pages:
                await self._fetch_pictures(view)
        except BoxUnreachable as error:
            self._view, self._trouble = None, str(error)
            self._held.clear()
            self._pictures.clear()
            self._found.clear()
            self._out_since.clear()
            return
        now = self._monotonic()
        self._view, self._trouble, self._answered_mono = view, "", now
        self._held = hold(self._held, view.cameras, now)
        self._note_who_is_out(view.cameras, now)

    def _note_who_is_out(self, cameras: tuple[CameraView, ...], now: float) -> None:
        out = {camera.name for camera in cameras if camera.state is not CameraState.INSPECTING}
        self._out_since = {name: self._out_since.get(name, now) for name in out}

    # --- pictures -----------------------------------------------------------------------------------------

    async def _fetch_pictures(self, view: BoxView) -> None:
        now = self._monotonic()
        for camera in view.cameras:
            kept = self._pictures.setdefault(camera.name, OrderedDict())
            if camera.state is not CameraState.INSPECTING:
                kept.clear()
                continue
            self._remember_found(camera)
            if not kept or next(reversed(kept)) != camera.preview:
                await self._fetch_picture(camera.name, kept)
            if kept and now - next(reversed(kept.values())).arrived_mono > FROZEN_SECONDS:
                kept.clear()

    def _remember_found(self, camera: CameraView) -> None:
        """The first that is said of a picture stands: the next verdict may be there before its picture is."""
        found = self._found.setdefault(camera.name, OrderedDict())
        if found and next(reversed(found)) == camera.preview:
            return
        found.pop(camera.preview, None)  # numbers begin again when the vision process does
        found[camera.preview] = (camera.found, camera.preview_verdict or camera.verdict)
        while len(found) > _PICTURES_KEPT:
            found.popitem(last=False)

    async def _fetch_picture(self, camera: str, kept: OrderedDict[int, Picture]) -> None:
        """Take the newest preview if it is one whose boxes are known; else the next look will bring both."""
        newest = await self._backend.preview(camera)
        if newest is None:
            return
        number, jpeg = newest
        if number in self._found[camera]:
            kept.pop(number, None)
            found, verdict = self._found[camera][number]
            kept[number] = Picture(number, jpeg, found, verdict, self._monotonic())
            while len(kept) > _PICTURES_KEPT:
                kept.popitem(last=False)

    # --- the log ------------------------------------------------------------------------------------------

    async def _watch_log(self) -> None:
        while True:
            try:
                self._defects = tuple(await self._backend.last_defects(DEFECTS_SHOWN))
                self._defects_trouble = ""
            except LogUnreadable as error:
                self._defects_trouble = str(error)
            await _wait(self._defects_nudge, DEFECTS_SECONDS if self._pages else UNWATCHED_SECONDS)


async def _wait(nudge: asyncio.Event, seconds: float) -> None:
    """Wait that long, or until somebody asks for a look now."""
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await nudge.wait()
    except TimeoutError:
        return
    nudge.clear()
