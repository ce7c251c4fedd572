"""`alumiguard inspect` judges what it can, names what it cannot, and its exit status tells the two apart."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest

from drivers.frame import Image
from provisioning.judge import Judge
from provisioning.sources import Offered
from provisioning.tally import Judged
from tests.support.command import alumiguard, picture
from tests.support.plant_process import plant_process


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def video(path: Path, frames: int) -> Path:
    """A video of grey frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for number in range(frames):
            grey = np.full((128, 160, 3), 100 + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="bgr24")))
        container.mux(stream.encode())
    return path


def test_pictures_are_judged_and_counted_by_class(tmp_path: Path, tiny_model: list[object]) -> None:
    names = ["a.jpg", "b.png", "c.bmp"]
    ended = alumiguard("inspect", *(picture(tmp_path / "in" / name) for name in names), *tiny_model, "--json")
    assert ended.status == 0
    assert ended.answer["verdicts"] == {"OK": 0, "NG": 3, "CHECK": 0}
    assert ended.answer["classes"]["scratch"] == {"count": 3, "pictures": 3, "max_confidence": 0.91}
    assert ended.answer["classes"]["dent"] == {"count": 3, "pictures": 3, "max_confidence": 0.41}
    assert ended.answer["skipped"] == []
    assert [Path(shot["source"]).name for shot in ended.answer["pictures"]] == names


def test_the_table_says_the_same_to_a_person(tmp_path: Path, tiny_model: list[object]) -> None:
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *tiny_model)
    assert ended.status == 0
    assert re.search(r"scratch\s+1\s+1\s+0\.91", ended.out)
    assert "1 picture inspected: 0 OK, 1 NG, 0 CHECK; 0 skipped" in ended.out
    assert ended.err == ""


def test_a_model_that_finds_nothing_says_ok(tmp_path: Path, blind_model: list[object]) -> None:
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *blind_model, "--json")
    assert ended.answer["verdicts"] == {"OK": 1, "NG": 0, "CHECK": 0}


def test_the_recipe_of_a_configuration_decides(
    tmp_path: Path, tiny_model: list[object], box_toml: Path
) -> None:
    box_toml.write_text(box_toml.read_text().replace("ng = 0.60", "ng = 0.95"))
    options = [*tiny_model, "--config", box_toml, "--json"]
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *options)
    assert ended.answer["verdicts"] == {"OK": 0, "NG": 0, "CHECK": 1}
    assert ended.answer["recipe"] == {"name": "default", "ng": 0.95, "check": 0.45}


def test_a_folder_is_inspected_and_what_is_no_picture_is_named(
    tmp_path: Path, tiny_model: list[object]
) -> None:
    folder = tmp_path / "in"
    whole = picture(folder / "good.jpg").read_bytes()
    picture(folder / "deeper" / "good too.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut off.jpg").write_bytes(whole[:-2])
    (folder / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (folder / "notes.txt").write_text("the pictures of Monday")
    (folder / "dangling.jpg").symlink_to(folder / "gone.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / ".hidden.jpg").write_bytes(b"not looked at")
    ended = alumiguard("inspect", folder, *tiny_model, "--json")
    assert ended.status == 2
    assert ended.answer["inspected"] == 2
    skipped = {Path(item["source"]).name: item["reason"] for item in ended.answer["skipped"]}
    assert skipped == {
        "corrupt.png": skipped["corrupt.png"],
        "cut off.jpg": "it is cut off (a JPEG without its end)",
        "dangling.jpg": "there is no such file",
        "empty.jpg": "it is empty",
        "notes.txt": "it is not a picture of a kind that can be read",
        "pipe.jpg": "it is not a file",
    }
    for name in skipped:
        assert re.search(rf"skipped: .*{re.escape(name)}: ", ended.err)


def test_every_frame_of_a_video_is_inspected(tmp_path: Path, tiny_model: list[object]) -> None:
    ended = alumiguard("inspect", video(tmp_path / "line.mp4", 7), *tiny_model, "--json")
    assert ended.status == 0
    assert [shot["frame"] for shot in ended.answer["pictures"]] == list(range(7))


def test_a_cut_off_video_gives_what_it_holds_and_is_named(tmp_path: Path, tiny_model: list[object]) -> None:
    whole = video(tmp_path / "line.avi", 40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "empty.mp4").write_bytes(b"")
    ended = alumiguard(
        "inspect",
        tmp_path / "cut.avi",
        tmp_path / "empty.mp4",
        picture(tmp_path / "a.jpg"),
        *tiny_model,
        "--json",
    )
    assert ended.status == 2
    (empty,) = (item for item in ended.answer["skipped"] if "empty.mp4" in item["source"])
    assert (empty["frame"], empty["reason"]) == (None, "it cannot be read (it is empty)")
    assert ended.answer["inspected"] < 41


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_read_is_named(tmp_path: Path, tiny_model: list[object], what: str) -> None:
    folder = tmp_path / "in"
    picture(folder / "open.jpg")
    locked = picture(folder / "locked" / "a.jpg")
    closed = locked if what == "file" else locked.parent
    for path in (*tmp_path.parents, tmp_path):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    closed.chmod(0o000)
    try:
        with as_nobody():
            ended = alumiguard("inspect", folder, *tiny_model, "--json")
    finally:
        closed.chmod(0o700)
    assert ended.status == 2
    assert [item["source"] for item in ended.answer["skipped"]] == [str(closed)]
    assert "Permission denied" in ended.answer["skipped"][0]["reason"]


def test_where_nothing_can_be_inspected_the_status_is_1(tmp_path: Path, tiny_model: list[object]) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    ended = alumiguard("inspect", tmp_path / "empty.jpg", tmp_path / "missing.jpg", *tiny_model, "--json")
    assert ended.status == 1
    assert [p["what"] for p in ended.answer["problems"]] == ["it is empty", "there is no such file or folder"]
    assert ended.err.count("next: ") == 2


def test_an_empty_folder_is_not_a_success(tmp_path: Path, tiny_model: list[object]) -> None:
    (tmp_path / "in").mkdir()
    assert alumiguard("inspect", tmp_path / "in", *tiny_model).status == 1


def test_a_model_that_nobody_trusted_signed_is_refused(tmp_path: Path, tiny_model: list[object]) -> None:
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *tiny_model[:2])
    assert ended.status == 1
    assert "error: " in ended.err
    assert "--key" in ended.err


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), "--model", tmp_path / "no.agmodel")
    assert (ended.status, ended.out) == (1, "")
    assert "No such file" in ended.err


def test_an_address_that_is_none_is_refused_before_anything_is_opened(tiny_model: list[object]) -> None:
    ended = alumiguard("inspect", "gopher://camera/1", *tiny_model, "--json")
    assert ended.status == 1
    assert "rtsp" in ended.answer["problems"][0]["what"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/stream", "rtsp://127.0.0.1:9/stream"])
def test_a_camera_that_nobody_answers_for_is_named(tiny_model: list[object], url: str) -> None:
    ended = alumiguard("inspect", url, *tiny_model, "--frames", 1, "--json")
    assert ended.status == 1
    assert ended.answer["problems"][0]["where"] == url
    assert "Check that the camera is on" in ended.answer["problems"][0]["next"]


def test_a_stream_is_left_after_so_many_frames_or_seconds(tiny_model: list[object]) -> None:
    with plant_process() as plant:
        url = f"http://127.0.0.1:{plant.camera_port}/stream.mjpg"
        counted = alumiguard("inspect", url, *tiny_model, "--frames", 3, "--json")
        timed = alumiguard("inspect", url, *tiny_model, "--for", 1.5, "--json")
    assert (counted.status, counted.answer["inspected"]) == (0, 3)
    assert timed.status == 0
    assert timed.answer["inspected"] > 0
    assert timed.answer["skipped"] == []


@pytest.fixture
def ctrl_c_at_the_third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses Ctrl-C while the third picture is judged."""
    judge, asked = Judge.judge, count(1)

    def interrupted(self: Judge, offered: Offered, image: Image) -> Judged:
        if next(asked) == 3:
            raise KeyboardInterrupt
        return judge(self, offered, image)

    monkeypatch.setattr(Judge, "judge", interrupted)


@pytest.mark.usefixtures("ctrl_c_at_the_third")
def test_ctrl_c_keeps_what_was_done_and_says_that_it_is_not_all(
    tmp_path: Path, tiny_model: list[object]
) -> None:
    pictures = [picture(tmp_path / "in" / f"{number}.jpg") for number in range(5)]
    ended = alumiguard("inspect", *pictures, *tiny_model, "--report", tmp_path / "out.html", "--json")
    assert ended.status == 130
    assert ended.answer["interrupted"] is True
    assert ended.answer["inspected"] == 2
    assert (tmp_path / "out.html").is_file()


@pytest.mark.usefixtures("ctrl_c_at_the_third")
def test_ctrl_c_is_the_proper_end_of_a_stream_without_bounds(tiny_model: list[object]) -> None:
    with plant_process() as plant:
        url = f"http://127.0.0.1:{plant.camera_port}/stream.mjpg"
        ended = alumiguard("inspect", url, *tiny_model, "--json")
    assert ended.status == 0
    assert (ended.answer["inspected"], ended.answer["interrupted"]) == (2, False)


def test_only_the_object_is_on_stdout_of_the_real_command(tmp_path: Path, tiny_model: list[object]) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    options = [str(option) for option in tiny_model]
    command = [sys.executable, "-m", "provisioning", "inspect", str(picture(tmp_path / "a.jpg"))]
    ended = subprocess.run(
        [*command, str(tmp_path / "bad.jpg"), *options, "--json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["inspected"] == 1
    assert ended.stderr.startswith("skipped: ")
