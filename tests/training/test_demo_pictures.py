import json
from pathlib import Path

import cv2
import pytest

from drivers.simulated.marks import DEFECT_LABELS
from provisioning.demo_pictures import LEAST_SIDE_PX, TILE_PX, Amounts, dataset_digest, write_dataset

AMOUNTS = Amounts(train=60, val=6, choose=3, test=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_dataset(folder, 9, AMOUNTS)
    return folder


def labels(folder: Path, split: str) -> list[list[tuple[int, float, float, float, float]]]:
    files = sorted((folder / "labels" / split).glob("*.txt"))
    lines = [[line.split() for line in file.read_text().splitlines()] for file in files]
    return [[(int(n), float(x), float(y), float(w), float(h)) for n, x, y, w, h in each] for each in lines]


def test_every_tile_has_its_labels_and_the_trainers_size(folder: Path) -> None:
    tiles = sorted((folder / "images" / "train").iterdir())
    assert len(tiles) == len(labels(folder, "train")) == AMOUNTS.train
    tile = cv2.imread(str(tiles[0]))
    assert tile is not None
    assert tile.shape == (TILE_PX, TILE_PX, 3)


def test_most_tiles_show_a_defect_and_some_show_none(folder: Path) -> None:
    shown = labels(folder, "train")
    assert 0.5 < sum(bool(each) for each in shown) / len(shown) < 0.95
    assert {row[0] for each in shown for row in each} == set(range(len(DEFECT_LABELS)))


def test_boxes_lie_within_their_tile_and_are_wide_enough_to_learn(folder: Path) -> None:
    for number, x, y, width, height in (row for each in labels(folder, "train") for row in each):
        assert 0 <= number < len(DEFECT_LABELS)
        assert -1e-5 <= x - width / 2 < x + width / 2 <= 1 + 1e-5
        assert -1e-5 <= y - height / 2 < y + height / 2 <= 1 + 1e-5
        assert max(width, height) * TILE_PX >= LEAST_SIDE_PX / 2


def test_whole_frames_come_with_the_truth_about_each(folder: Path) -> None:
    truth = json.loads((folder / "frames" / "test" / "truth.json").read_text())
    assert sorted(truth) == [f"{number:05}.jpg" for number in range(AMOUNTS.test)]
    frame = cv2.imread(str(folder / "frames" / "test" / "00000.jpg"))
    assert frame is not None
    assert frame.shape == (1024, 1280, 3)


def test_the_manifest_names_the_recipe_and_the_digest_of_everything(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["seed"], manifest["train"], manifest["test"]) == (9, 60, 4)
    assert manifest["sha256"] == dataset_digest(folder)
    label = next((folder / "labels" / "train").iterdir())
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    assert manifest["sha256"] != dataset_digest(folder)


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="name an empty or a new folder"):
        write_dataset(tmp_path, 1, AMOUNTS)
    assert (tmp_path / "thesis.txt").exists()


def test_the_same_seed_gives_the_same_data_set(tmp_path: Path) -> None:
    few = Amounts(train=3, val=1, choose=1, test=1)
    assert write_dataset(tmp_path / "a", 4, few) == write_dataset(tmp_path / "b", 4, few)
    assert write_dataset(tmp_path / "a", 5, few) != dataset_digest(tmp_path / "b")
