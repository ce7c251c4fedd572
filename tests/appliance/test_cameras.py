"""What the operator sees of a camera."""

import time

from appliance.cameras import SILENT_SECONDS, CameraBoard
from appliance.vision_link import Counts, Judged, Preview
from inference.detection import Box, Detection
from sync.record import Verdict
from ui.backend import CameraState


def _judged(frame: int, *labels: str, age_seconds: float = 0.0) -> Judged:
    mono_ns = time.monotonic_ns() - int(age_seconds * 1e9)
    return Judged(
        camera="top",
        frame=frame,
        verdict=Verdict.NG if labels else Verdict.OK,
        detections=tuple(Detection(label, 0.9, Box(128, 256, 64, 512)) for label in labels),
        captured_wall_ns=0,
        arrived_mono_ns=mono_ns,
        judged_mono_ns=mono_ns,
        width_px=1280,
        height_px=1024,
        stage_ms={},
        counts=Counts(frame, {}),
    )


def test_a_camera_is_starting_until_its_first_verdict() -> None:
    board = CameraBoard("top")
    assert board.view(0, 0, 0).state is CameraState.STARTING
    board.take_judged(_judged(1))
    assert board.view(1, 1, 0).state is CameraState.INSPECTING


def test_boxes_belong_to_the_picture_that_is_shown() -> None:
    board = CameraBoard("top")
    board.take_judged(_judged(1, "scratch"))
    board.take_preview(Preview("top", 1, b"jpeg"))
    board.take_judged(_judged(2))
    view = board.view(2, 2, 0)
    assert (view.verdict, view.preview_verdict, view.preview) == (Verdict.OK, Verdict.NG, 1)
    (found,) = view.found
    assert (found.label, found.x, found.y, found.width, found.height) == ("scratch", 0.1, 0.25, 0.05, 0.5)


def test_a_lost_camera_shows_neither_picture_nor_verdict() -> None:
    board = CameraBoard("top")
    board.take_judged(_judged(1, "scratch"))
    board.take_preview(Preview("top", 1, b"jpeg"))
    board.lost("the cable is out")
    view = board.view(1, 1, 0)
    assert (view.state, view.detail) == (CameraState.GONE, "the cable is out")
    assert (view.verdict, view.found, view.preview, view.age_seconds) == (None, (), 0, None)


def test_a_camera_that_has_gone_silent_is_gone_whatever_it_said() -> None:
    board = CameraBoard("top")
    board.take_judged(_judged(1, age_seconds=SILENT_SECONDS + 1))
    board.silence_is_noticed()
    assert board.state is CameraState.GONE
