import cv2
import numpy as np
import pytest

from tests.support.fake_box import HEIGHT_PX, WIDTH_PX, strip_jpeg
from ui.backend import MarkView
from ui.thumbnails import HEIGHT_PX as THUMB_HEIGHT_PX
from ui.thumbnails import WIDTH_PX as THUMB_WIDTH_PX
from ui.thumbnails import marked_thumbnail


def mark(x_px: float, y_px: float, width_px: float, height_px: float, confidence: float = 0.9) -> MarkView:
    return MarkView(
        label="pinhole", confidence=confidence, x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px
    )


def decoded(jpeg: bytes | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    assert jpeg is not None
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


@pytest.mark.parametrize(
    "marks",
    [
        [],
        [mark(0, 0, 8, 7)],
        [mark(WIDTH_PX - 5, HEIGHT_PX - 5, 5, 5)],
        [mark(0, 0, WIDTH_PX, HEIGHT_PX)],
        [mark(600, 0, 3, HEIGHT_PX)],
        [mark(-40, -40, 5000, 5000)],
    ],
    ids=["none", "corner", "far corner", "all", "streak", "outside"],
)
def test_a_thumbnail_has_one_size_wherever_the_defect_is(marks: list[MarkView]) -> None:
    image = decoded(marked_thumbnail(strip_jpeg(1), marks))
    assert image.shape == (THUMB_HEIGHT_PX, THUMB_WIDTH_PX, 3)


def test_the_surest_defect_is_in_the_middle_with_a_bright_box_around_it() -> None:
    marks = [mark(100, 100, 30, 30, 0.4), mark(640, 512, 40, 30, 0.9)]
    image = decoded(marked_thumbnail(strip_jpeg(1), marks)).astype(int)
    yellow = (image[:, :, 2] - image[:, :, 0] > 100) & (image[:, :, 1] - image[:, :, 0] > 60)
    rows, columns = np.nonzero(yellow)
    assert rows.mean() == pytest.approx(THUMB_HEIGHT_PX / 2, abs=6)
    assert columns.mean() == pytest.approx(THUMB_WIDTH_PX / 2, abs=6)


@pytest.mark.parametrize("jpeg", [b"", b"not a picture", strip_jpeg(1)[:200]])
def test_what_is_no_picture_gives_no_thumbnail(jpeg: bytes) -> None:
    assert marked_thumbnail(jpeg, []) is None
