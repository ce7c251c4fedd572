import time
from itertools import pairwise

import numpy as np
import pytest

from drivers.simulated.marks import DEFECT_LABELS
from drivers.simulated.strip import FRAME_PITCH_MM, HEIGHT_PX, MM_PER_PX, WIDTH_PX, Strip


@pytest.fixture(scope="module")
def strip() -> Strip:
    return Strip(seed=5)


def test_a_frame_is_the_same_in_any_order_and_in_any_strip_of_its_seed(strip: Strip) -> None:
    late_first = [strip.picture(k) for k in (900, 3, 0)]
    in_order = [Strip(seed=5).picture(k) for k in (0, 3, 900)]
    assert all(np.array_equal(a, b) for a, b in zip(late_first, reversed(in_order), strict=True))


def test_another_seed_gives_another_strip(strip: Strip) -> None:
    other = Strip(seed=6)
    assert not np.array_equal(other.picture(0), strip.picture(0))
    assert other.defects(0, 50_000) != strip.defects(0, 50_000)


def test_a_picture_is_bgr_of_the_stated_size_with_both_edges_before_a_dark_background(strip: Strip) -> None:
    picture = strip.picture(12)
    assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    column_means = picture.mean(axis=(0, 2))
    assert column_means[:70].max() < 40
    assert column_means[-70:].max() < 40
    assert column_means[100:-100].min() > 90


def test_about_half_of_the_frames_are_clean(strip: Strip) -> None:
    clean = sum(not strip.truth(k) for k in range(600)) / 600
    assert 0.4 < clean < 0.6


def test_every_defect_is_whole_in_at_least_one_frame(strip: Strip) -> None:
    whole = {box.defect_id for k in range(600) for box in strip.truth(k) if box.whole}
    inside = {d.defect_id for d in strip.defects(0, 590 * FRAME_PITCH_MM)}
    assert inside <= whole
    assert {d.label for d in strip.defects(0, 590 * FRAME_PITCH_MM)} == set(DEFECT_LABELS)


def test_a_defect_stands_where_the_truth_says_and_moves_with_the_strip(strip: Strip) -> None:
    pitch_px = FRAME_PITCH_MM / MM_PER_PX
    moved = 0
    for k in range(200):
        before = {b.defect_id: b for b in strip.truth(k) if b.whole}
        after = {b.defect_id: b for b in strip.truth(k + 1) if b.whole}
        for defect_id in before.keys() & after.keys():
            assert before[defect_id].y_px - after[defect_id].y_px == pitch_px
            assert before[defect_id].x_px == after[defect_id].x_px
            moved += 1
    assert moved > 20


def test_a_pinhole_is_dark_inside_its_box_and_at_least_eight_pixels_wide(strip: Strip) -> None:
    holes = [(k, b) for k in range(300) for b in strip.truth(k) if b.label == "pinhole" and b.whole]
    assert holes
    for k, box in holes:
        assert min(box.width_px, box.height_px) >= 8
        centre_y, centre_x = box.y_px + box.height_px // 2, box.x_px + box.width_px // 2
        picture = strip.picture(k)
        assert picture[centre_y, centre_x].mean() < picture[centre_y, centre_x - 40].mean() - 50


def test_defects_lie_apart_and_are_listed_in_order(strip: Strip) -> None:
    defects = strip.defects(0, 200_000)
    assert 0.7 < len(defects) / 200 < 1.1
    assert all(a.first_mm < b.first_mm for a, b in pairwise(defects))
    assert all(d.last_mm - d.first_mm < 330 for d in defects)


def test_a_stretch_lists_exactly_the_defects_that_touch_it(strip: Strip) -> None:
    everything = strip.defects(0, 100_000)
    stretch = strip.defects(20_000, 50_000)
    assert stretch == [d for d in everything if d.first_mm < 50_000 and d.last_mm > 20_000]


def test_look_alikes_are_fainter_than_any_defect_and_never_in_the_truth(strip: Strip) -> None:
    labels = {b.label for k in range(200) for b in strip.look_alikes(k)}
    assert {"faint_scratch", "speck", "faint_stain"} <= labels
    assert labels.isdisjoint(DEFECT_LABELS)


def test_drawing_a_frame_takes_less_than_the_line_has(strip: Strip) -> None:
    """0.8 ms on one core of 2026; the budget of 12 ms leaves a loaded machine room."""
    started = time.process_time()
    for k in range(50):
        strip.picture(k)
    assert (time.process_time() - started) / 50 < 0.012
