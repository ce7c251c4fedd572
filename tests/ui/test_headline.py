import pytest

from sync.record import Verdict
from tests.support.fake_box import SCRATCH, all_ok, camera_view
from ui.backend import BoxView, CameraState, CameraView
from ui.headline import HOLD_SECONDS, Held, Sign, headline, hold


def box_with(*cameras: CameraView) -> BoxView:
    return all_ok().model_copy(update={"cameras": cameras})


def gone(name: str) -> CameraView:
    return camera_view(name, state=CameraState.GONE, verdict=None)


def sign(*cameras: CameraView) -> Sign:
    return headline(box_with(*cameras), hold({}, cameras, 0.0)).sign


def test_every_camera_has_to_be_ok_for_ok() -> None:
    assert sign(camera_view("a"), camera_view("b")) is Sign.OK


def test_a_box_without_a_camera_is_not_inspecting() -> None:
    assert sign() is Sign.NOT_INSPECTING


def test_a_camera_without_a_verdict_is_not_inspecting() -> None:
    assert sign(camera_view("a", verdict=None)) is Sign.NOT_INSPECTING


def test_no_answer_is_no_verdict() -> None:
    assert headline(None, {"a": Held(Verdict.OK, (), 0.0)}).sign is Sign.NOT_ANSWERING


def test_ng_comes_before_a_blind_camera_and_names_it_all_the_same() -> None:
    cameras = (camera_view("a", verdict=Verdict.NG, found=(SCRATCH,)), gone("b"))
    shown = headline(box_with(*cameras), hold({}, cameras, 0.0))
    assert shown.sign is Sign.NG
    assert shown.detail == "scratch · a · Camera b is not inspecting"


def test_a_blind_camera_comes_before_check() -> None:
    assert sign(camera_view("a", verdict=Verdict.CHECK), gone("b")) is Sign.NOT_INSPECTING


def test_a_worse_verdict_stays_long_enough_to_be_seen() -> None:
    held = hold({}, [camera_view("a", verdict=Verdict.NG, found=(SCRATCH,))], 10.0)
    held = hold(held, [camera_view("a", verdict=Verdict.CHECK)], 10.0 + HOLD_SECONDS - 0.01)
    assert held["a"].verdict is Verdict.NG
    assert held["a"].found == (SCRATCH,)
    held = hold(held, [camera_view("a")], 10.0 + HOLD_SECONDS)
    assert held["a"].verdict is Verdict.OK


def test_a_worse_verdict_is_shown_at_once() -> None:
    held = hold({}, [camera_view("a", verdict=Verdict.CHECK)], 10.0)
    assert hold(held, [camera_view("a", verdict=Verdict.NG)], 10.1)["a"].verdict is Verdict.NG


def test_a_camera_that_goes_keeps_no_verdict() -> None:
    held = hold({}, [camera_view("a", verdict=Verdict.NG)], 10.0)
    assert hold(held, [gone("a")], 10.1) == {}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "Camera a is inspecting"),
        (["a", "b"], "Cameras a, b are inspecting"),
        (["a", "b", "c"], "3 cameras are inspecting"),
    ],
)
def test_the_line_below_says_who_inspects(names: list[str], said: str) -> None:
    cameras = [camera_view(name) for name in names]
    assert headline(box_with(*cameras), hold({}, cameras, 0.0)).detail == said
