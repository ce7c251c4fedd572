import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from drivers.camera_folder import FolderCameraConfig, PictureError, pictures
from drivers.errors import DeviceMisconfigured, ProtocolViolation


def _write(file: Path, grey: int = 90) -> Path:
    assert cv2.imwrite(str(file), np.full((48, 64, 3), grey, np.uint8))
    return file


def _write_video(file: Path, frames: int) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 8 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def _reasons(path: Path) -> dict[str, str]:
    return {p.path.name: p.content.reason for p in pictures(path) if isinstance(p.content, PictureError)}


def _frames(path: Path, **more: object) -> list[tuple[int, int]]:
    """Number and grey value of each frame."""
    config = FolderCameraConfig.model_validate({"name": "replay", "path": path, **more})
    with config.open() as camera:
        return [(frame.number, int(frame.image.mean())) for frame in camera.frames()]


def test_pictures_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name, grey in [("b.jpg", 2), ("a.png", 1), ("more/c.bmp", 3)]:
        _write(tmp_path / name, grey * 40)
    (tmp_path / "notes.txt").write_text("not a picture, and not said to be one", encoding="utf-8")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    assert [p.path.name for p in pictures(tmp_path)] == ["a.png", "b.jpg", "c.bmp"]
    assert _frames(tmp_path) == [(1, 40), (2, 80), (3, 120)]


def test_every_frame_of_a_video_comes_with_its_index(tmp_path: Path) -> None:
    video = _write_video(tmp_path / "line.mp4", 6)
    found = list(pictures(video))
    assert [p.index for p in found] == list(range(6))
    for picture in found:
        assert not isinstance(picture.content, PictureError)
        assert abs(picture.content.mean() - 8 * (picture.index or 0)) < 6


def test_every_file_that_is_no_picture_is_named_with_its_reason(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.png").write_bytes(_write(tmp_path / "x.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("hello", encoding="utf-8")
    (tmp_path / "folder.jpg").mkdir()
    reasons = _reasons(tmp_path)
    assert reasons.keys() == {"empty.jpg", "cut.jpg", "cut.png", "text.png", "empty.mp4", "text.mp4"}
    assert reasons["empty.jpg"] == "it is empty"
    assert "cut off" in reasons["cut.jpg"]
    assert "cut off" in reasons["cut.png"]
    assert "empty" in reasons["empty.mp4"]


def test_a_video_that_is_cut_off_gives_its_frames_and_never_crashes(tmp_path: Path) -> None:
    octets = _write_video(tmp_path / "whole.mkv", 30).read_bytes()
    for part in range(1, 10):
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(octets[: len(octets) * part // 10])
        found = list(pictures(cut))
        assert found
        assert all(isinstance(p.content, PictureError) or p.content.shape == (48, 64, 3) for p in found)


def test_a_file_that_gives_no_picture_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    _write(tmp_path / "a.jpg", 40)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    _write(tmp_path / "c.jpg", 80)
    assert _frames(tmp_path) == [(1, 40), (3, 80)]


def test_a_folder_that_repeats_goes_on(tmp_path: Path) -> None:
    _write(tmp_path / "a.jpg", 40)
    config = FolderCameraConfig(name="replay", path=tmp_path, repeat=True)
    with config.open() as camera:
        frames = camera.frames()
        assert [next(frames).number for _ in range(5)] == [1, 2, 3, 4, 5]


def test_the_pace_is_the_configured_one(tmp_path: Path) -> None:
    for number in range(5):
        _write(tmp_path / f"{number}.jpg")
    began = time.monotonic()
    assert len(_frames(tmp_path, frames_per_second=40.0)) == 5
    assert time.monotonic() - began >= 4 / 40


def test_a_folder_of_nothing_but_garbage_raises_and_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"garbage")
    with pytest.raises(ProtocolViolation, match=r"a\.jpg"):
        _frames(tmp_path, repeat=True)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_path_without_pictures_is_refused_when_it_is_opened(tmp_path: Path, name: str) -> None:
    config = FolderCameraConfig(name="replay", path=tmp_path / name)
    with pytest.raises(DeviceMisconfigured), config.open():
        pass


def test_inspecting_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceMisconfigured, match="nowhere"):
        next(pictures(tmp_path / "nowhere"))


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        FolderCameraConfig(name="replay", path=Path("x"), frames_per_second=0)
