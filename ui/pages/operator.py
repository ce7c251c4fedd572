"""The operator's page: one screen, no menu, nothing to learn."""

from collections.abc import Awaitable
from hashlib import sha256
from pathlib import Path

from nicegui import Client, ui

from sync.record import Judgement
from ui.backend import (
    AcknowledgeCommand,
    AlarmView,
    BoxUnreachable,
    CommandRefused,
    ConsoleBackend,
    DefectView,
    JudgeCommand,
)
from ui.pages.alarm_list import AlarmList
from ui.pages.camera_tile import CameraTile
from ui.pages.defect_strip import DefectStrip
from ui.pages.elements import put, tag
from ui.pages.job_bar import JobBar
from ui.pages.operator_name import OperatorName
from ui.pages.pulse import Pulse
from ui.pages.status_bar import Banner, StatusBar
from ui.pages.steady import Steady
from ui.pages.tag_table import TagTable
from ui.pages.verdict_panel import VerdictPanel
from ui.watch import Snapshot, Watch

LOOK = Path(__file__).with_name("look")
"""The folder that is served as `/look`."""


class Commands:
    """What the operator's taps become: records of the box, in the name of whoever is at the line."""

    def __init__(self, backend: ConsoleBackend, watch: Watch, steady: Steady, client: Client) -> None:
        self._backend = backend
        self._watch = watch
        self._steady = steady
        self._client = client
        self.by = ""

    async def judge(self, defect: DefectView, judgement: Judgement) -> None:
        """Real or false; the latest judgement stands, so the other button takes it back."""
        if self._slid_away("defects"):
            return
        self._steady.used("defects")
        command = JudgeCommand(
            judgement=judgement, by=self.by, camera=defect.camera, inspection_seq=defect.seq
        )
        await self._done(self._backend.judge(command))

    async def missed(self, camera: str) -> str:
        """A defect passed that the box did not see; returns what to say to it."""
        if self._steady.bounced(f"missed {camera}"):
            return ""
        command = JudgeCommand(judgement=Judgement.MISSED, by=self.by, camera=camera)
        seq = await self._done(self._backend.judge(command))
        return f"Recorded as missed (record {seq:,})" if seq else ""

    async def acknowledge(self, alarm: AlarmView) -> None:
        """Somebody has seen the alarm."""
        if self._slid_away("alarms"):
            return
        command = AcknowledgeCommand(raised_seq=alarm.raised_seq, by=self.by)
        await self._done(self._backend.acknowledge(command))

    def _slid_away(self, name: str) -> bool:
        if self._steady.just_moved(name):
            self._say("The list has just moved. Tap again.", "info")
            return True
        return False

    async def _done(self, command: Awaitable[int]) -> int | None:
        """Wait for the record; None, with a word to the operator, if there is none."""
        try:
            seq = await command
        except (BoxUnreachable, CommandRefused) as error:
            self._say(f"Not done. {error}", "negative")
            return None
        self._watch.look_now()
        return seq

    def _say(self, text: str, kind: str) -> None:
        with self._client:
            ui.notify(text, position="top", classes=f"said-{kind}", timeout=5000, group=False)


class OperatorPage:
    """The parts of one open page."""

    def __init__(self, backend: ConsoleBackend, watch: Watch, client: Client) -> None:
        steady = Steady()
        self._commands = Commands(backend, watch, steady, client)
        self._tiles: list[CameraTile] = []
        self._pulse = Pulse()
        self.operator = OperatorName(client, self._operator_changed)
        with tag("div", "page"):
            self._job = JobBar(self.operator.open)
            self._banner = Banner()
            with tag("div", "middle"):
                self._verdict = VerdictPanel()
                self._cameras = tag("div", "cameras")
                with tag("div", "side"):
                    self._alarms = AlarmList(self._commands.acknowledge, steady)
                    self._tags = TagTable()
            self._strip = DefectStrip(self._commands.judge, steady)
            self._status = StatusBar()
        self._operator_changed(self.operator.name)

    def show(self, snapshot: Snapshot) -> None:
        """Bring every part up to date."""
        self._pulse.beat()
        self._set_up_tiles(snapshot)
        for tile in self._tiles:
            tile.show(snapshot)
        self._verdict.show(snapshot)
        self._job.show(snapshot)
        self._banner.show(snapshot)
        self._alarms.show(snapshot)
        self._tags.show(snapshot)
        self._strip.show(snapshot)
        self._status.show(snapshot)
        self.operator.show(snapshot)

    def _set_up_tiles(self, snapshot: Snapshot) -> None:
        """A tile for each camera; the tiles stay as they were while the box does not answer."""
        names = [tile.camera for tile in self._tiles]
        wanted = names if snapshot.view is None else [camera.name for camera in snapshot.view.cameras]
        if wanted == names:
            return
        self._cameras.clear()
        with self._cameras:
            self._tiles = [CameraTile(name, self._commands.missed) for name in wanted]
        put(self._cameras, "data-count", str(len(wanted)))

    def _operator_changed(self, name: str) -> None:
        self._commands.by = name
        self._job.show_operator(name)


def add_operator_page(backend: ConsoleBackend, watch: Watch) -> None:
    """Serve the operator's page at `/`."""
    version = sha256((LOOK / "operator.css").read_bytes()).hexdigest()[:12]

    @ui.page("/", title="AlumiGuard: operator", response_timeout=10.0)
    async def operator_page(client: Client) -> None:
        ui.add_head_html(f'<link rel="stylesheet" href="/look/operator.css?{version}">')
        page = OperatorPage(backend, watch, client)
        watch.subscribe(page.show)
        client.on_delete(lambda: watch.unsubscribe(page.show))
        await client.connected()
        await page.operator.recall()
