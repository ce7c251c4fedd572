"""The vision process: cameras in, verdicts out.

    python -m appliance.vision_process --config FILE --link SOCKET

It is a child of the appliance and holds nothing that must survive it: native code may crash here without
taking the log along.
"""

import argparse
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import structlog

from appliance.capture import NewestFrames, keep_camera
from appliance.config import BoxConfig, load
from appliance.log_setup import set_up_log
from appliance.model import open_package
from appliance.verdict import judge, worth_showing
from appliance.vision_link import (
    Alive,
    CameraBack,
    CameraLost,
    Closed,
    Counts,
    EvidenceKept,
    Judged,
    LinkSender,
    Preview,
    Ready,
)
from drivers.frame import Frame, Image
from inference.detector import Detector
from sync import evidence
from sync.record import ModelRef, Verdict

ALIVE_SECONDS = 1.0
"""Without a frame for so long, the process says that it still runs."""

PREVIEW_WIDTH_PX = 640
PREVIEW_QUALITY = 75
EVIDENCE_QUALITY = 90
_EVIDENCE_WAITING = 8

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Path:
    """What one frame needs on its way."""

    config: BoxConfig
    detector: Detector
    link: LinkSender
    evidence: queue.Queue[Frame | None]


def main() -> None:
    """Run until the appliance is gone or asks to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--link", type=Path, required=True)
    arguments = parser.parse_args()
    set_up_log("vision")
    config = load(arguments.config)
    link = LinkSender(arguments.link)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the appliance decides
    threading.Thread(target=_stop_with_appliance, args=(link, stopping), daemon=True).start()
    inspect(config, link, stopping)


def _stop_with_appliance(link: LinkSender, stopping: threading.Event) -> None:
    link.wait_until_gone()
    stopping.set()


def inspect(config: BoxConfig, link: LinkSender, stopping: threading.Event) -> None:
    """Judge every camera's frames until `stopping`, then say the last counts."""
    package = open_package(config.model)
    detector = Detector(package)
    detector.warm_up()
    model = ModelRef(name=package.name, version=package.version, sha256=package.sha256)
    link.send(Ready(model, detector.engine, f"{package.name} {package.version}"))

    frames = NewestFrames([camera.name for camera in config.cameras])
    path = _Path(config, detector, link, queue.Queue(_EVIDENCE_WAITING))
    last_counts: dict[str, Counts] = {}

    def close_when_stopping() -> None:
        stopping.wait()
        last_counts.update(frames.close())

    threads = [
        threading.Thread(
            target=keep_camera,
            name=f"camera {camera.name}",
            args=(
                camera,
                frames,
                partial(_say_lost, link, camera.name),
                partial(_say_back, link, camera.name),
                stopping,
            ),
            daemon=True,
        )
        for camera in config.cameras
    ]
    closer = threading.Thread(target=close_when_stopping, name="closer", daemon=True)
    keeper = threading.Thread(target=_keep_evidence, name="evidence", args=(path,), daemon=True)
    for thread in (closer, keeper, *threads):
        thread.start()
    try:
        while not frames.closed:
            if (taken := frames.take(ALIVE_SECONDS)) is not None:
                _judge_frame(path, *taken)
            else:
                link.send(Alive())
    finally:
        stopping.set()
        path.evidence.put(None)
        keeper.join()
        closer.join()
    for camera, counts in last_counts.items():
        link.send(Closed(camera, counts))
    link.close()
    sys.stdout.flush()
    os._exit(0)  # a camera thread may be in native code, which would abort an orderly end of the interpreter


def _judge_frame(path: _Path, frame: Frame, counts: Counts) -> None:
    wait_ms = (time.monotonic_ns() - frame.arrived_mono_ns) / 1e6
    found = path.detector.detect(frame.image)
    verdict = judge(found.detections, path.config.recipe)
    judged_mono_ns = time.monotonic_ns()
    total_ms = (judged_mono_ns - frame.arrived_mono_ns) / 1e6
    path.link.send(
        Judged(
            camera=frame.camera,
            frame=frame.number,
            verdict=verdict,
            detections=worth_showing(found.detections, path.config.recipe),
            captured_wall_ns=frame.captured_wall_ns,
            arrived_mono_ns=frame.arrived_mono_ns,
            judged_mono_ns=judged_mono_ns,
            width_px=frame.image.shape[1],
            height_px=frame.image.shape[0],
            stage_ms={"wait": wait_ms, **found.stage_ms, "verdict": total_ms},
            counts=counts,
        )
    )
    if verdict is not Verdict.OK:
        try:
            path.evidence.put_nowait(frame)
        except queue.Full:
            reason = "pictures come faster than the disk takes them"
            path.link.send(EvidenceKept(frame.camera, frame.number, None, reason))
    path.link.send_if_idle(Preview(frame.camera, frame.number, _small_jpeg(frame.image)))


def _keep_evidence(path: _Path) -> None:
    while (frame := path.evidence.get()) is not None:
        try:
            jpeg = _jpeg(frame.image, EVIDENCE_QUALITY)
            digest = evidence.keep(path.config.storage.evidence, jpeg)
        except OSError as error:
            log.warning("evidence not kept", camera=frame.camera, frame=frame.number, error=str(error))
            path.link.send(EvidenceKept(frame.camera, frame.number, None, f"the disk says: {error.strerror}"))
        else:
            path.link.send(EvidenceKept(frame.camera, frame.number, digest))


def _small_jpeg(image: Image) -> bytes:
    height, width = image.shape[:2]
    scale = min(1.0, PREVIEW_WIDTH_PX / width)
    small = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    return _jpeg(np.asarray(small, dtype=np.uint8), PREVIEW_QUALITY)


def _jpeg(image: Image, quality: int) -> bytes:
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


def _say_lost(link: LinkSender, camera: str, cause: str) -> None:
    link.send(CameraLost(camera, cause))


def _say_back(link: LinkSender, camera: str) -> None:
    link.send(CameraBack(camera))


if __name__ == "__main__":
    main()
