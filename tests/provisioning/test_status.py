"""`alumiguard status` says what the box says, and says so when it says nothing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import alumiguard
from tests.support.fake_box import FakeBox, alarm_view, fake_box
from ui.backend import CameraState


@pytest.fixture
def box() -> Iterator[FakeBox]:
    """A box that runs; its folder is short, for a socket's path is at most 107 bytes long."""
    with tempfile.TemporaryDirectory() as folder, fake_box(Path(folder)) as running:
        yield running


def test_a_box_that_inspects_is_shown_whole(box: FakeBox) -> None:
    ended = alumiguard("status", "--socket", box.control)
    assert (ended.status, ended.err) == (0, "")
    for said in (
        "line-1 at my-plant",
        "C-4711",
        "1042 records",
        "top",
        "inspecting",
        "61.4 m/min",
        "mill_load",
    ):
        assert said in ended.out


def test_the_object_is_the_boxs_own_view(box: FakeBox) -> None:
    answer = alumiguard("status", "--socket", box.control, "--json").answer
    assert answer.pop("attention") == []
    assert answer == box.view.model_dump(mode="json")


def test_numbers_and_times_are_rounded_for_people_and_not_in_the_object(box: FakeBox) -> None:
    tag = box.view.tags[0].model_copy(update={"value": 59.49221369960033, "unit": "m/min"})
    box.change(speed=tag, tags=(tag,), position_m=12.3456789, at="2026-01-02T03:04:05.678901Z")
    said = alumiguard("status", "--socket", box.control).out
    assert said.count("59.49 m/min") == 2
    assert "12.35 m" in said
    assert "2026-01-02T03:04:05Z" in said
    answer = alumiguard("status", "--socket", box.control, "--json").answer
    assert (answer["speed"]["value"], answer["at"]) == (59.49221369960033, "2026-01-02T03:04:05.678901Z")


def test_a_camera_that_is_gone_needs_attention(box: FakeBox) -> None:
    box.change_camera(state=CameraState.GONE, detail="No picture for 3 s", verdict=None)
    ended = alumiguard("status", "--socket", box.control)
    assert ended.status == 2
    assert "attention: camera top is gone: No picture for 3 s" in ended.out


def test_an_active_alarm_needs_attention_and_says_what_to_do(box: FakeBox) -> None:
    box.change(alarms=(alarm_view(7), alarm_view(8, active=False)))
    ended = alumiguard("status", "--socket", box.control, "--json")
    assert ended.status == 2
    (need,) = ended.answer["attention"]
    assert "Check the OPC UA server" in need


def test_a_value_that_would_command_the_terminal_is_shown_as_text(box: FakeBox) -> None:
    tag = box.view.tags[3].model_copy(update={"value": "\x1b[2J[red]C-1[/red]"})
    box.change(tags=(tag,))
    ended = alumiguard("status", "--socket", box.control)
    assert r"\x1b[2J[red]C-1[/red]" in ended.out


def test_the_socket_is_found_by_the_configuration(box: FakeBox, box_toml: Path) -> None:
    text = box_toml.read_text()
    box_toml.write_text(text.replace(str(box_toml.parent / "storage"), str(box.storage)))
    assert alumiguard("status", "--config", box_toml).status == 0


def test_a_box_that_is_not_running_is_said_to_be_so_with_how_to_start_it(box_toml: Path) -> None:
    ended = alumiguard("status", "--config", box_toml, "--json")
    assert ended.status == 1
    (problem,) = ended.answer["problems"]
    assert "not running" in problem["what"]
    assert problem["next"] == f"start the box: alumiguard run --config {box_toml}"


def test_a_socket_that_nobody_serves_any_more_is_said_to_be_so(box: FakeBox) -> None:
    socket = box.control
    box.stop()
    socket.touch()
    assert alumiguard("status", "--socket", socket).status == 1


def test_an_answer_of_another_version_is_refused(box: FakeBox) -> None:
    box.status_body = lambda: b'{"box": "line-1", "new": 1}'
    ended = alumiguard("status", "--socket", box.control)
    assert ended.status == 1
    assert "not understood" in ended.err
