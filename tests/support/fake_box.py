"""A box for console tests: the real control API's shape on a real Unix socket, and a real log beside it.

What it shows is scripted by the test (`box.view = …`); what it is told to do becomes records in its log.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from appliance.clock import SystemClock
from sync import evidence
from sync.audit_log import AuditLog
from sync.record import AlarmAcknowledged, DetectionBody, FeedbackFlagged, Inspection, ModelRef, Verdict
from tests.support.waiting import wait_until
from ui.backend import (
    AcknowledgeCommand,
    AlarmView,
    BoxView,
    CameraState,
    CameraView,
    CommandDone,
    FoundView,
    JudgeCommand,
    LinkView,
    LogView,
    TagView,
)

WIDTH_PX, HEIGHT_PX = 1280, 1024
SCRATCH = FoundView(label="scratch", confidence=0.87, x=0.36, y=0.42, width=0.2, height=0.12)


@dataclass
class FakeBox:
    """A box on `control`, with its storage in `storage`. Start it, stop it, start it again."""

    storage: Path
    view: BoxView
    log: AuditLog
    judged: list[JudgeCommand] = field(default_factory=list)
    acknowledged: list[AcknowledgeCommand] = field(default_factory=list)
    refuse: str = ""
    status_body: Callable[[], bytes] | None = None
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.storage / "run" / "control.sock"

    def reset(self) -> None:
        """Show a line that runs well, and forget what was asked; the log stays as it is."""
        self.view, self.refuse, self.status_body = all_ok(), "", None
        self.judged.clear()
        self.acknowledged.clear()
        if self._server is None:
            self.start()

    def change(self, **changes: Any) -> None:
        """Show something else from now on: fields of BoxView."""
        self.view = self.view.model_copy(update=changes)

    def change_camera(self, name: str = "top", **changes: Any) -> None:
        """Show something else of one camera."""
        cameras = [one.model_copy(update=changes) if one.name == name else one for one in self.view.cameras]
        self.change(cameras=tuple(cameras))

    def inspect(self, number: int = 1, *, verdict: Verdict = Verdict.NG, label: str = "scratch") -> int:
        """Put an inspection with its evidence picture into the log; returns its seq."""
        body = Inspection(
            camera="top",
            frame=number,
            captured_at=SystemClock().stamp().at,
            verdict=verdict,
            detections=(
                DetectionBody(
                    label=label,
                    confidence=SCRATCH.confidence,
                    x_px=SCRATCH.x * WIDTH_PX,
                    y_px=SCRATCH.y * HEIGHT_PX,
                    width_px=SCRATCH.width * WIDTH_PX,
                    height_px=SCRATCH.height * HEIGHT_PX,
                    position_m=number * 0.17,
                ),
            ),
            recipe="default",
            model=ModelRef(name="demo", version="1", sha256="0" * 64),
            engine="test",
            lot="C-4711",
            position_m=number * 0.17,
            evidence_sha256=evidence.keep(self.storage / "evidence", strip_jpeg(number)),
        )
        return self.log.submit(body).result()

    def start(self) -> None:
        """Answer on the control socket."""
        self.control.parent.mkdir(parents=True, exist_ok=True)
        config = uvicorn.Config(
            self._app(), uds=str(self.control), log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, name="fake-box")
        self._thread.start()
        wait_until(lambda: server.started, "the fake box listens")

    def stop(self) -> None:
        """Answer no more, as a box whose process died."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
        self._server = self._thread = None
        self.control.unlink(missing_ok=True)

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/status")
        def status() -> Response:
            body = self.status_body() if self.status_body else self.view.model_dump_json().encode()
            return Response(body, media_type="application/json")

        @app.get("/v1/cameras/{name}/preview.jpg")
        def preview(name: str) -> Response:
            camera = next((one for one in self.view.cameras if one.name == name), None)
            if camera is None or camera.state is not CameraState.INSPECTING or camera.preview == 0:
                return Response(status_code=HTTPStatus.NOT_FOUND)
            picture = strip_jpeg(camera.preview)
            return Response(picture, media_type="image/jpeg", headers={"X-Preview": str(camera.preview)})

        @app.post("/v1/feedback")
        def judge(command: JudgeCommand) -> Response:
            if self.refuse:
                return self._refusal()
            self.judged.append(command)
            return self._done(FeedbackFlagged(**command.model_dump()))

        @app.post("/v1/alarms/acknowledge")
        def acknowledge(command: AcknowledgeCommand) -> Response:
            if self.refuse:
                return self._refusal()
            self.acknowledged.append(command)
            by = {"acknowledged_by": command.by}
            alarms = [
                alarm.model_copy(update=by) if alarm.raised_seq == command.raised_seq else alarm
                for alarm in self.view.alarms
            ]
            name = next(alarm.alarm for alarm in alarms if alarm.raised_seq == command.raised_seq)
            self.change(alarms=tuple(alarms))
            return self._done(AlarmAcknowledged(alarm=name, raised_seq=command.raised_seq, by=command.by))

        return app

    def _done(self, body: FeedbackFlagged | AlarmAcknowledged) -> Response:
        seq = self.log.submit(body).result()
        return Response(CommandDone(seq=seq).model_dump_json(), media_type="application/json")

    def _refusal(self) -> Response:
        problem = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": self.refuse}
        return JSONResponse(problem, HTTPStatus.CONFLICT, media_type="application/problem+json")


@contextmanager
def fake_box(storage: Path) -> Iterator[FakeBox]:
    """A box that answers, inspects with one camera and finds nothing wrong."""
    log = AuditLog.open(storage, "line-1", Ed25519PrivateKey.generate(), SystemClock())
    box = FakeBox(storage, all_ok(), log)
    box.start()
    try:
        yield box
    finally:
        box.stop()
        log.close()


def all_ok() -> BoxView:
    """A line that runs, and a receiver that holds nearly all of it."""
    return BoxView(
        box="line-1",
        site="my-plant",
        at="2026-11-21T08:15:30.250000Z",
        clock="ntp",
        recipe="default",
        model="demo 1.0.0",
        lot="C-4711",
        speed=tag_view("line_speed", 61.4, "m/min"),
        position_m=1234.56,
        cameras=(camera_view(),),
        tags=(
            tag_view("encoder_m", 1234.56, "m"),
            tag_view("coolant_celsius", 41.25, "°C"),
            tag_view("line_speed", 61.4, "m/min"),
            tag_view("coil_id", "C-4711", ""),
            tag_view("mill_load", 8123.0, "kN"),
        ),
        alarms=(),
        link=LinkView(
            configured=True,
            connected=True,
            detail="",
            backlog_records=12,
            held_through_seq=1030,
            last_receipt_age_seconds=3.2,
        ),
        log=LogView(epoch="0f3c", seq=1042, writable=True),
    )


def camera_view(name: str = "top", **changes: Any) -> CameraView:
    """A camera that inspects and finds nothing."""
    camera = CameraView(
        name=name,
        state=CameraState.INSPECTING,
        verdict=Verdict.OK,
        preview=7,
        age_seconds=0.1,
        seen=18_244,
        inspected=18_244,
        frames_per_second=6.0,
    )
    return camera.model_copy(update=changes)


def tag_view(name: str, value: float | str | None, unit: str, **changes: Any) -> TagView:
    """A tag that was read just now."""
    tag = TagView(name=name, value=value, unit=unit, quality="good", age_seconds=0.2, stale=False)
    return tag.model_copy(update=changes)


def alarm_view(raised_seq: int, priority: str = "high", **changes: Any) -> AlarmView:
    """An alarm that is active and that nobody has seen."""
    alarm = AlarmView(
        raised_seq=raised_seq,
        alarm=f"alarm-{raised_seq}",
        priority="high",
        text="The line speed is no longer reported",
        action="Check the OPC UA server of the line and its network.",
        raised_at="2026-11-21T08:14:00.000000Z",
        active=True,
        acknowledged_by=None,
    )
    return alarm.model_copy(update={"priority": priority, **changes})


def strip_jpeg(number: int) -> bytes:
    """A picture of brushed metal with a scratch, another one for each number."""
    rows = np.random.default_rng(number).normal(0, 9, (HEIGHT_PX, 1))
    grain = np.random.default_rng(number + 1).normal(0, 4, (HEIGHT_PX, WIDTH_PX))
    light = 150 + 35 * np.sin(np.linspace(0.3, 2.8, WIDTH_PX))[None, :]
    image = np.clip(light + rows + grain, 0, 255).astype(np.uint8)
    left, top = int(SCRATCH.x * WIDTH_PX), int(SCRATCH.y * HEIGHT_PX)
    right, bottom = left + int(SCRATCH.width * WIDTH_PX), top + int(SCRATCH.height * HEIGHT_PX)
    cv2.line(image, (left + 12, top + 12), (right - 12, bottom - 14), 40, 5, cv2.LINE_AA)
    done, jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 80))
    if not done:
        raise ValueError("OpenCV could not write a JPEG")
    return jpeg.tobytes()
