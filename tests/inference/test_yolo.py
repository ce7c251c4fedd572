import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.detection import Box
from inference.yolo import PAD_GREY, Layout, Letterbox, decode, layout_of, to_detections

CLASSES = ("scratch", "dent")


def raw(*anchors: tuple[float, ...]) -> NDArray[np.float32]:
    """Anchors of (centre x, centre y, width, height, score, score) as a raw output, padded with nothing."""
    empty = [(0.0,) * 6] * (40 - len(anchors))
    return np.array([*anchors, *empty], np.float32).T


def test_a_layout_is_told_from_the_shape() -> None:
    assert layout_of([1, 6, 6720], 2) is Layout.RAW
    assert layout_of([1, 84, 8400], 80) is Layout.RAW
    assert layout_of([1, 300, 6], 2) is Layout.END_TO_END
    assert layout_of([4, 300, 6], 80) is Layout.END_TO_END


@pytest.mark.parametrize("shape", [[1, 7, 6720], [1, 6720], [1, 300, 7], [1, 300, 6, 1]])
def test_a_shape_that_is_no_layout_is_refused(shape: list[int]) -> None:
    with pytest.raises(ValueError, match="neither"):
        layout_of(shape, 2)


def test_a_raw_output_gives_corners_score_and_best_class() -> None:
    rows = decode(raw((50, 40, 20, 10, 0.1, 0.9)), Layout.RAW, floor=0.3)
    np.testing.assert_allclose(rows, [[40, 35, 60, 45, 0.9, 1]], rtol=1e-6)


def test_doubles_of_one_class_are_suppressed_and_those_of_another_are_not() -> None:
    output = raw(
        (50, 40, 20, 10, 0.0, 0.7),
        (51, 40, 20, 10, 0.0, 0.9),
        (50, 40, 20, 10, 0.8, 0.0),
        (200, 40, 20, 10, 0.0, 0.6),
    )
    rows = decode(output, Layout.RAW, floor=0.3)
    assert [(round(float(r[4]), 2), int(r[5])) for r in rows] == [(0.9, 1), (0.8, 0), (0.6, 1)]


def test_what_is_below_the_floor_is_left_out_in_both_layouts() -> None:
    assert len(decode(raw((50, 40, 20, 10, 0.29, 0.1)), Layout.RAW, floor=0.3)) == 0
    rows = np.array([[0, 0, 9, 9, 0.29, 1]], np.float32)
    assert len(decode(rows, Layout.END_TO_END, floor=0.3)) == 0


def test_an_end_to_end_output_is_taken_as_it_is_best_first() -> None:
    output = np.array([[1, 2, 3, 4, 0.5, 0], [10, 20, 30, 40, 0.9, 1], [0, 0, 0, 0, 0, 0]], np.float32)
    rows = decode(output, Layout.END_TO_END, floor=0.3)
    np.testing.assert_array_equal(rows, output[[1, 0]])


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_with_nan_or_infinity_raises(layout: Layout, bad: float) -> None:
    output = np.zeros((6, 6), np.float32)
    output[5, 5] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        decode(output, layout, floor=0.3)


def test_a_picture_of_twice_the_size_leaves_no_margin() -> None:
    letterbox = Letterbox(512, 640)
    placement = letterbox.fit(np.full((1024, 1280, 3), 7, np.uint8))
    assert (placement.scale, placement.left_px, placement.top_px) == (0.5, 0, 0)
    assert (letterbox.batch == 7).all()


def test_a_wide_picture_is_centred_between_grey_margins() -> None:
    letterbox = Letterbox(100, 100)
    placement = letterbox.fit(np.full((50, 200, 3), 200, np.uint8))
    assert (placement.scale, placement.left_px, placement.top_px) == (0.5, 0, 37)
    assert (letterbox.batch[0, 37:62] == 200).all()
    assert (letterbox.batch[0, :37] == PAD_GREY).all()
    assert (letterbox.batch[0, 62:] == PAD_GREY).all()


def test_nothing_of_the_last_picture_shows_in_the_margins_of_the_next() -> None:
    letterbox = Letterbox(100, 100)
    letterbox.fit(np.full((200, 50, 3), 200, np.uint8))
    letterbox.fit(np.full((50, 200, 3), 30, np.uint8))
    assert set(np.unique(letterbox.batch)) == {30, PAD_GREY}


def test_every_picture_goes_into_the_same_buffer() -> None:
    letterbox = Letterbox(64, 64)
    before = letterbox.batch
    for size in ((64, 64), (128, 30), (17, 200)):
        letterbox.fit(np.zeros((*size, 3), np.uint8))
    assert letterbox.batch is before


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_what_is_no_bgr_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="height x width x 3"):
        Letterbox(64, 64).fit(np.zeros(shape, np.uint8))


@given(
    width_px=st.integers(16, 4000),
    height_px=st.integers(16, 4000),
    left=st.floats(0, 0.8),
    top=st.floats(0, 0.8),
    size=st.floats(0.05, 0.2),
)
def test_a_box_comes_back_to_where_it_was_in_the_picture(
    width_px: int, height_px: int, left: float, top: float, size: float
) -> None:
    placement = Letterbox(64, 96).fit(np.zeros((height_px, width_px, 3), np.uint8))
    box = Box(left * width_px, top * height_px, size * width_px, size * height_px)
    there = [
        box.x_px * placement.scale + placement.left_px,
        box.y_px * placement.scale + placement.top_px,
        (box.x_px + box.width_px) * placement.scale + placement.left_px,
        (box.y_px + box.height_px) * placement.scale + placement.top_px,
    ]
    back = placement.to_picture(*there)
    for name in ("x_px", "y_px", "width_px", "height_px"):
        assert getattr(back, name) == pytest.approx(getattr(box, name), abs=1e-6 * max(width_px, height_px))


def test_a_box_is_cut_at_the_pictures_rim_and_dropped_where_it_lies_in_the_margin() -> None:
    placement = Letterbox(100, 100).fit(np.zeros((50, 200, 3), np.uint8))
    rows = np.array([[-5, 30, 20, 50, 0.9, 0], [10, 0, 20, 30, 0.8, 1]], np.float32)
    (only,) = to_detections(rows, CLASSES, placement)
    assert (only.label, only.box) == ("scratch", Box(0, 0, 40, 26))


def test_a_class_that_the_package_does_not_name_raises() -> None:
    placement = Letterbox(64, 64).fit(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="class 2"):
        to_detections(np.array([[0, 0, 9, 9, 0.9, 2]], np.float32), CLASSES, placement)
