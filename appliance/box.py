"""One box: its parts, and what they say to each other."""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from appliance.alarms import AlarmBook, Condition
from appliance.cameras import CameraBoard
from appliance.config import BoxConfig
from appliance.control_api import bound
from appliance.health import box_alarms, box_conditions, peak_rss_bytes
from appliance.line import Line
from appliance.outputs import Outputs
from appliance.recorder import Recorder
from appliance.supervisor import Outage, SupervisedDevice, SupervisedProcess, python
from appliance.vision_link import (
    Alive,
    CameraBack,
    CameraLost,
    Closed,
    EvidenceKept,
    Judged,
    LinkBroken,
    Message,
    Preview,
    Ready,
    receive,
)
from drivers.reading import Quality, Reading
from sync.audit_log import AuditLog
from sync.database import reading
from sync.record import Clock, FeedbackFlagged, Judgement
from sync.uplink import Uplink
from ui.backend import (
    AcknowledgeCommand,
    AlarmView,
    BoxView,
    CameraState,
    CommandRefused,
    JudgeCommand,
    LinkView,
    LogView,
    ProcessView,
)

VISION_SILENT_SECONDS = 10.0
VISION_LOADING_SECONDS = 120.0
"""How long a vision process may say nothing: while it judges, and while it loads its model."""

MAX_TEXT = 256
"""Longest text value of a tag that is kept, in characters: it is repeated in every inspection."""

log = structlog.get_logger()


class Box:
    """The parts of one box, joined. `wiring.run_box` makes one and runs its loops."""

    def __init__(
        self,
        config: BoxConfig,
        config_path: Path,
        audit_log: AuditLog,
        clock: Clock,
        known_alarms: Iterable[AlarmView],
    ) -> None:
        self.config = config
        self.clock = clock
        self.log = audit_log
        self.line = Line(config)
        self.log_trouble: str | None = None
        self.recorder = Recorder(config, audit_log, self.line, self.clock, self._log_failed)
        self.cameras = {camera.name: CameraBoard(camera.name) for camera in config.cameras}
        self.camera_outages = {name: Outage(f"camera {name}", self.recorder.put) for name in self.cameras}
        self.devices = {
            device.name: SupervisedDevice(device, self.recorder.put, self._take, self._device_changed)
            for device in config.devices
        }
        self.devices_gone: dict[str, str] = {}
        self.alarms = AlarmBook(audit_log.append, lambda: self.clock.stamp().at, known_alarms)
        self.outputs = self._outputs()
        self.vision = SupervisedProcess(
            "vision",
            python(
                "appliance.vision_process", "--config", config_path, "--link", config.storage.vision_socket
            ),
            self.recorder.put,
        )
        self.vision_connected = self.vision_ready = False
        self.vision_heard_mono = time.monotonic()
        self._vision_silent = asyncio.Event()
        self._vision_silent.set()
        self.uplink: Uplink | None = None
        self.link_lost_mono: float | None = None

    # --- what comes in ------------------------------------------------------------------------------------

    def _take(self, taken: Reading) -> None:
        value = taken.value
        if isinstance(value, str) and len(value) > MAX_TEXT:
            status = f"cut from {len(value)} characters"
            taken = replace(taken, value=value[:MAX_TEXT], quality=Quality.UNCERTAIN, status=status)
        self.line.take(taken)
        self.recorder.take_reading(taken)

    def _device_changed(self, name: str, gone: str | None) -> None:
        if gone is None:
            self.devices_gone.pop(name, None)
        else:
            self.devices_gone[name] = gone

    def _log_failed(self, reason: str | None) -> None:
        if reason is not None and self.log_trouble is None:
            log.error("the log takes no record", reason=reason)
        self.log_trouble = reason

    def take_message(self, message: Message) -> None:
        """One message from the vision process. The PLC comes first."""
        self.vision_heard_mono = time.monotonic()
        match message:
            case Judged():
                link_ms = (time.monotonic_ns() - message.judged_mono_ns) / 1e6
                if self.outputs is not None:
                    self.outputs.put(message)
                self.cameras[message.camera].take_judged(message)
                self.recorder.latencies.add({"link": link_ms})
                self.recorder.take_judged(message)
            case EvidenceKept():
                self.recorder.take_evidence(message)
            case Preview():
                self.cameras[message.camera].take_preview(message)
            case CameraLost():
                self.cameras[message.camera].lost(message.cause)
                self.camera_outages[message.camera].lost(message.cause)
            case CameraBack():
                self.camera_outages[message.camera].back()
            case Ready():
                self.vision_ready = True
                self.recorder.take_ready(message)
            case Alive():
                pass  # that it came is all it says
            case Closed():
                self.recorder.take_closed(message)

    async def listen_to_vision(self) -> None:
        """Take what vision processes say, one connection after the other, until cancelled."""
        with bound(self.config.storage.vision_socket) as listener:
            listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            listener.listen(1)
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                reader, writer = await asyncio.open_unix_connection(sock=connection)
                self.vision_connected, self.vision_ready = True, False
                self.vision_heard_mono = time.monotonic()
                self._vision_silent.clear()
                try:
                    async for message in receive(reader):
                        self.take_message(message)
                except LinkBroken as error:
                    log.warning("the vision process is not understood", error=str(error))
                finally:
                    self.vision_connected = False
                    self._vision_silent.set()
                    self.recorder.vision_gone()
                    for board in self.cameras.values():
                        board.lost("The vision process is not running")
                    writer.close()

    async def watch_vision(self) -> None:
        """Kill a vision process that hangs: its supervisor starts another."""
        while True:
            await asyncio.sleep(1.0)
            patience_seconds = VISION_SILENT_SECONDS if self.vision_ready else VISION_LOADING_SECONDS
            if self.vision_connected and time.monotonic() - self.vision_heard_mono > patience_seconds:
                log.error("the vision process hangs", silent_seconds=patience_seconds)
                self.vision_heard_mono = time.monotonic()
                self.vision.kill()

    async def vision_said_all(self) -> None:
        """Wait until everything that the vision process has sent is taken."""
        await self._vision_silent.wait()

    # --- what people ask ----------------------------------------------------------------------------------

    def status(self) -> BoxView:
        """The box now."""
        stamp = self.clock.stamp()
        roles = self.config.line
        ready = self.recorder.model
        for board in self.cameras.values():
            board.silence_is_noticed()
        return BoxView(
            box=self.config.box.id,
            site=self.config.box.site,
            at=stamp.at,
            clock=stamp.clock,
            recipe=self.config.recipe.name,
            model=ready.model_label if ready is not None else "",
            lot=self.line.lot(),
            speed=self.line.view(roles.speed_tag) if roles.speed_tag else None,
            position_m=self.line.position_m(),
            cameras=tuple(
                board.view(totals.seen, totals.inspected, totals.dropped)
                for name, board in self.cameras.items()
                for totals in (self.recorder.totals[name],)
            ),
            tags=self.line.views(),
            alarms=self.alarms.views(),
            link=self.link_view(),
            log=LogView(
                epoch=self.log.head.epoch,
                seq=self.log.head.seq,
                writable=self.log_trouble is None,
                detail=self.log_trouble or "",
            ),
            processes=self._processes(),
            stage_ms=self.recorder.latencies.recent(),
            readings=dict(self.line.readings),
        )

    def link_view(self) -> LinkView:
        """The way out."""
        if self.uplink is None:
            configured = self.config.uplink is not None
            return LinkView(
                configured=configured,
                connected=False,
                detail=(
                    "This box is not enrolled yet: run `alumiguard enrol`"
                    if configured
                    else "No receiver is configured; the records stay on this box"
                ),
                backlog_records=self.log.head.seq if configured else 0,
                held_through_seq=0,
                last_receipt_age_seconds=None,
            )
        state = self.uplink.state
        held_mono = state.last_receipt_mono
        return LinkView(
            configured=True,
            connected=state.connected,
            detail=state.detail,
            backlog_records=state.backlog_records,
            held_through_seq=state.held_through_seq,
            last_receipt_age_seconds=None if held_mono is None else time.monotonic() - held_mono,
        )

    def preview(self, camera: str) -> tuple[int, bytes] | None:
        """The newest picture of a camera that inspects."""
        board = self.cameras.get(camera)
        if board is None or board.preview is None or board.state is not CameraState.INSPECTING:
            return None
        return board.preview.frame, board.preview.jpeg

    async def judge(self, command: JudgeCommand) -> int:
        """Record what a person says of a verdict."""
        if command.camera not in self.cameras:
            raise CommandRefused(f"there is no camera {command.camera!r}; it has {', '.join(self.cameras)}")
        missed = command.judgement is Judgement.MISSED
        if missed == (command.inspection_seq is not None):
            raise CommandRefused(
                "`missed` names no inspection; `real` and `false` name the one they are about"
            )
        if command.inspection_seq is not None and not self._is_inspection(command.inspection_seq):
            raise CommandRefused(f"record {command.inspection_seq} is no inspection of this box")
        return await self.log.append(
            FeedbackFlagged(
                judgement=command.judgement,
                by=command.by,
                camera=command.camera,
                inspection_seq=command.inspection_seq,
                lot=self.line.lot() if missed else None,
                position_m=self.line.position_m() if missed else None,
                note=command.note,
            )
        )

    def _is_inspection(self, seq: int) -> bool:
        with reading(self.log.path) as connection:
            row = connection.execute("SELECT 1 FROM inspections WHERE seq = ?", (seq,)).fetchone()
        return row is not None

    async def acknowledge(self, command: AcknowledgeCommand) -> int:
        """Record that a person has seen an alarm."""
        return await self.alarms.acknowledge(command.raised_seq, command.by)

    # --- inside -------------------------------------------------------------------------------------------

    def _outputs(self) -> Outputs | None:
        section = self.config.output
        if section is None:
            return None
        return Outputs(
            section,
            self.devices[section.device],
            self.recorder.put,
            self.recorder.latencies,
            lambda: any(board.state is CameraState.INSPECTING for board in self.cameras.values()),
            self.line.position_m,
        )

    def _processes(self) -> tuple[ProcessView, ...]:
        vision = self.vision
        return (
            ProcessView(
                name="appliance", running=True, restarts=0, peak_rss_bytes=peak_rss_bytes(os.getpid())
            ),
            ProcessView(
                name="vision",
                running=vision.pid is not None,
                restarts=vision.restarts,
                peak_rss_bytes=peak_rss_bytes(vision.pid),
            ),
        )

    def conditions(self) -> tuple[list[str], list[Condition]]:
        """The box's own alarms, and what is wrong now."""
        link = self.link_view()
        if link.connected or not link.configured:
            self.link_lost_mono = None
        elif self.link_lost_mono is None:
            self.link_lost_mono = time.monotonic()
        for board in self.cameras.values():
            board.silence_is_noticed()
        wrong = box_conditions(
            self.cameras,
            self.devices_gone,
            vision_running=self.vision_connected or not self.cameras or self.vision.restarts == 0,
            link=link,
            link_lost_mono=self.link_lost_mono,
            forked=self.uplink is not None and self.uplink.state.forked,
            log_trouble=self.log_trouble,
            log_break=self.log.break_reason,
        )
        return box_alarms(self.config), wrong
