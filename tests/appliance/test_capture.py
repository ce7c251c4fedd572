"""The newest-frame slot: nothing blocks, and every frame that is not judged is counted and named."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from appliance.capture import CAMERA_GONE, IN_TRANSIT, STOPPED, SUPERSEDED, NewestFrames, keep_camera
from drivers.frame import Frame

_IMAGE = np.zeros((4, 4, 3), np.uint8)


def _frame(number: int, camera: str = "top") -> Frame:
    return Frame(camera, number, _IMAGE, captured_wall_ns=number, arrived_mono_ns=number)


def test_the_newest_frame_wins_and_the_one_it_replaces_is_counted() -> None:
    frames = NewestFrames(["top"])
    for number in (1, 2, 3):
        frames.put(_frame(number))
    taken = frames.take()
    assert taken is not None
    frame, counts = taken
    assert (frame.number, counts.seen, counts.dropped) == (3, 3, {SUPERSEDED: 2})
    assert counts.missed_frames == ((1, 2),)


def test_a_jump_in_the_cameras_numbers_is_frames_lost_on_the_way() -> None:
    frames = NewestFrames(["top"])
    frames.put(_frame(10))
    frames.take()
    frames.put(_frame(14))
    taken = frames.take()
    assert taken is not None
    assert taken[1].dropped == {IN_TRANSIT: 3}
    assert taken[1].missed_frames == ((11, 13),)
    assert taken[1].seen == 5


def test_a_jump_across_a_reconnection_is_named_for_what_it_was() -> None:
    frames = NewestFrames(["top"])
    frames.put(_frame(10))
    frames.take()
    frames.put(_frame(20), reconnected=True)
    taken = frames.take()
    assert taken is not None
    assert taken[1].dropped == {CAMERA_GONE: 9}


def test_a_camera_that_counts_anew_has_lost_nothing() -> None:
    frames = NewestFrames(["top"])
    for number in (500, 1, 900_000):
        frames.put(_frame(number))
        frames.take()
    assert frames.close()["top"].dropped == {}


def test_cameras_take_turns() -> None:
    frames = NewestFrames(["left", "right"])
    order = []
    for number in range(3):
        frames.put(_frame(number, "left"))
        frames.put(_frame(number, "right"))
        for _ in range(2):
            taken = frames.take()
            assert taken is not None
            order.append(taken[0].camera)
    assert order == ["left", "right"] * 3


def test_a_frame_still_waiting_at_the_stop_is_counted() -> None:
    frames = NewestFrames(["top"])
    frames.put(_frame(1))
    assert frames.close()["top"].dropped == {STOPPED: 1}
    assert frames.take() is None


def test_closing_wakes_a_detector_that_waits() -> None:
    frames = NewestFrames(["top"])
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(frames.take()))
    waiting.start()
    frames.close()
    waiting.join(5)
    assert answers == [None]


@given(st.lists(st.one_of(st.integers(1, 5), st.just("take")), max_size=60))
def test_seen_is_inspected_plus_dropped_whatever_happens(events: list[int | str]) -> None:
    frames = NewestFrames(["top"])
    number = inspected = 0
    waiting = False
    missed: list[tuple[int, int]] = []
    for event in events:
        if isinstance(event, int):
            number += event
            frames.put(_frame(number))
            waiting = True
        elif waiting:
            taken = frames.take()
            assert taken is not None
            inspected, waiting = inspected + 1, False
            missed += taken[1].missed_frames
    last = frames.close()["top"]
    missed += last.missed_frames
    assert last.seen == inspected + sum(last.dropped.values())
    assert sum(end - begin + 1 for begin, end in missed) == sum(last.dropped.values())


class _BrokenCamera:
    """A driver with a defect: it fails in a way that no driver may."""

    name = "top"
    driver = "test"

    @contextmanager
    def open(self) -> Iterator["_BrokenCamera"]:
        yield self

    def frames(self) -> Iterator[Frame]:
        yield _frame(1)
        raise ValueError("a defect of ours")


def test_a_driver_that_fails_by_a_defect_is_told_and_opened_again() -> None:
    stopping = threading.Event()
    lost: list[str] = []
    backs: list[None] = []

    def back() -> None:
        backs.append(None)
        if len(backs) == 2:
            stopping.set()

    keep_camera(_BrokenCamera(), NewestFrames(["top"]), lost.append, back, stopping)
    assert len(backs) == 2
    assert "a defect of ours" in lost[0]
