"""Writes the demo model's data set from the simulated strip: `python -m provisioning.demo_pictures OUT`.

A detector without fully connected layers may be trained on 320 px tiles and run on whole pictures: a tile
costs a third of a 640 x 512 picture and can be chosen to show something. The tiles are cut from pictures
that were fitted to the network's input by the very code that the box uses, most of them after a trip through
JPEG, as a network camera sends them. Tiles show a defect (seven in ten, all classes alike), a look-alike, an
edge or nothing.

The result is a data set in YOLO's format (`images/`, `labels/`, `data.yaml`), two stretches of whole pictures
in a row with the truth about each defect (`frames/choose` for choosing thresholds, `frames/test` for
measuring), each with strips of its own, and `manifest.json`: the recipe and one digest over all files, which
the model package names.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from drivers.frame import Image
from drivers.simulated.marks import DEFECT_LABELS
from drivers.simulated.strip import FRAME_PITCH_MM, Strip, TruthBox
from inference.yolo import Letterbox

DATA = Path("build/demo-data")
TILE_PX = 320
INPUT_HEIGHT_PX, INPUT_WIDTH_PX = 512, 640
SCALE = 0.5
LEAST_SIDE_PX = 12.0
STRIP_FRAMES = 400
FRAME_QUALITY = 90
FRAMES_IN_A_ROW = 500
TILES_PER_STRIP = 50


@dataclass(frozen=True, slots=True)
class Label:
    """A defect in a tile: class number and corners in tile pixels."""

    number: int
    x1: float
    y1: float
    x2: float
    y2: float

    def line(self) -> str:
        """The line of a YOLO label file: class, centre and size as fractions of the tile."""
        centre_x, centre_y = (self.x1 + self.x2) / 2 / TILE_PX, (self.y1 + self.y2) / 2 / TILE_PX
        width, height = (self.x2 - self.x1) / TILE_PX, (self.y2 - self.y1) / TILE_PX
        return f"{self.number} {centre_x:.6f} {centre_y:.6f} {width:.6f} {height:.6f}"


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much to write: tiles to train on and to validate with, whole frames to choose and to test with."""

    train: int
    val: int
    choose: int
    test: int


def write_dataset(folder: Path, seed: int, amounts: Amounts) -> str:
    """Write the data set in place of the one in the folder, if any, and return its digest (hex SHA-256).

    Raises:
        FileExistsError: if the folder holds something else.
    """
    _make_room(folder)
    for split, count, first_seed in (
        ("train", amounts.train, seed * 1000),
        ("val", amounts.val, seed * 1000 + 500),
    ):
        _write_split(folder, split, count, first_seed)
    _write_frames(folder / "frames" / "choose", amounts.choose, seed * 1000 + 700)
    _write_frames(folder / "frames" / "test", amounts.test, seed * 1000 + 800)
    names = "\n".join(f"  {number}: {label}" for number, label in enumerate(DEFECT_LABELS))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}\n")
    digest = dataset_digest(folder)
    recipe = {"recipe": "demo_pictures/1", "seed": seed, "tile_px": TILE_PX} | asdict(amounts)
    (folder / "manifest.json").write_text(json.dumps(recipe | {"sha256": digest}, indent=1) + "\n")
    return digest


def dataset_digest(folder: Path) -> str:
    """SHA-256 over `<sha256 of the file>  <path>` lines, sorted by path, of everything but the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    lines = (f"{sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in files)
    return sha256("".join(lines).encode()).hexdigest()


def _make_room(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing that it did not."""
    ours = {"images", "labels", "frames", "data.yaml", "manifest.json"}
    if folder.exists() and {entry.name.removesuffix(".cache") for entry in folder.iterdir()} - ours:
        raise FileExistsError(f"{folder} holds other things than a data set: name an empty or a new folder")
    shutil.rmtree(folder, ignore_errors=True)


def _write_split(folder: Path, split: str, count: int, first_seed: int) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    tiles = _tiles(first_seed)
    for number in range(count):
        tile, found = next(tiles)
        cv2.imwrite(str(images / f"{number:05}.png"), tile, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        (labels / f"{number:05}.txt").write_text("".join(label.line() + "\n" for label in found))


def _write_frames(folder: Path, count: int, first_seed: int) -> None:
    """Frames in a row, 500 of each strip, as JPEG, and `truth.json`: what each of them shows."""
    folder.mkdir(parents=True)
    truth: dict[str, list[dict[str, object]]] = {}
    for start in range(0, count, FRAMES_IN_A_ROW):
        strip = Strip(first_seed + start // FRAMES_IN_A_ROW)
        for frame in range(min(FRAMES_IN_A_ROW, count - start)):
            name = f"{start + frame:05}.jpg"
            quality = [cv2.IMWRITE_JPEG_QUALITY, FRAME_QUALITY]
            cv2.imwrite(str(folder / name), strip.picture(frame), quality)
            boxes = [asdict(box) for box in strip.truth(frame)]
            truth[name] = [box | {"defect_id": f"{strip.seed}/{box['defect_id']}"} for box in boxes]
    (folder / "truth.json").write_text(json.dumps(truth, indent=0) + "\n")


def _tiles(first_seed: int) -> Iterator[tuple[Image, list[Label]]]:
    """Tiles without end, fifty from each strip, so that no strip's texture is learnt by heart."""
    letterbox = Letterbox(INPUT_HEIGHT_PX, INPUT_WIDTH_PX)
    strip_seed = first_seed
    while True:
        strip, rng = Strip(strip_seed), np.random.default_rng(strip_seed)
        made = 0
        while made < TILES_PER_STRIP:
            tile = _tile(strip, rng, letterbox)
            if tile is not None:
                made += 1
                yield tile
        strip_seed += 1


def _tile(strip: Strip, rng: np.random.Generator, letterbox: Letterbox) -> tuple[Image, list[Label]] | None:
    """One tile, or None where a defect would show a sliver that nobody could name."""
    frame, target = _subject(strip, rng)
    left, top = _corner(rng, target)
    labels: list[Label] = []
    for box in strip.truth(frame):
        label, legible = _clipped(box, left, top)
        if not legible:
            return None
        if label is not None:
            labels.append(label)
    letterbox.fit(_sent(strip.picture(frame), rng))
    return letterbox.batch[0, top : top + TILE_PX, left : left + TILE_PX], labels


def _subject(strip: Strip, rng: np.random.Generator) -> tuple[int, TruthBox | None]:
    """A frame, and what the tile should show of it."""
    what = rng.random()
    if what < 0.7:
        label = rng.choice(DEFECT_LABELS)
        same = [d for d in strip.defects(600, STRIP_FRAMES * FRAME_PITCH_MM) if d.label == label]
        if same:
            defect = same[rng.integers(len(same))]
            last = int(defect.last_mm // FRAME_PITCH_MM)
            frames = [k for k in range(max(last - 5, 0), last + 1) if _shows(strip, k, defect.defect_id)]
            frame = frames[rng.integers(len(frames))]
            return frame, next(box for box in strip.truth(frame) if box.defect_id == defect.defect_id)
    frame = int(rng.integers(0, STRIP_FRAMES))
    harmless = strip.look_alikes(frame)
    if what < 0.85 and harmless:
        return frame, harmless[rng.integers(len(harmless))]
    return frame, None


def _shows(strip: Strip, frame: int, defect_id: int) -> bool:
    return any(box.defect_id == defect_id for box in strip.truth(frame))


def _corner(rng: np.random.Generator, target: TruthBox | None) -> tuple[int, int]:
    """The tile's upper left corner in the network's input: anywhere, or so that it holds the target."""
    room_x, room_y = INPUT_WIDTH_PX - TILE_PX, INPUT_HEIGHT_PX - TILE_PX
    if target is None:
        return int(rng.integers(0, room_x + 1)), int(rng.integers(0, room_y + 1))
    x = _hold(rng, target.x_px * SCALE, target.width_px * SCALE, room_x)
    y = _hold(rng, target.y_px * SCALE, target.height_px * SCALE, room_y)
    return x, y


def _hold(rng: np.random.Generator, start: float, length: float, room: int) -> int:
    low, high = sorted((start + length - TILE_PX, start))
    low, high = max(0, int(low)), min(room, int(high))
    return int(rng.integers(low, high + 1)) if low <= high else min(max(low, 0), room)


def _clipped(box: TruthBox, left: int, top: int) -> tuple[Label | None, bool]:
    """The part of a defect that the tile shows, and whether that part can fairly be named."""
    x1, y1 = box.x_px * SCALE - left, box.y_px * SCALE - top
    x2, y2 = x1 + box.width_px * SCALE, y1 + box.height_px * SCALE
    inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(TILE_PX)), min(y2, float(TILE_PX))
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    if width <= 0 or height <= 0:
        return None, True
    share = width * height / ((x2 - x1) * (y2 - y1))
    legible = (share > 0.95 and box.whole) or (max(width, height) >= 8 and min(width, height) >= 1.5)
    cut_little = share > 0.3 or max(width, height) >= 60
    return Label(DEFECT_LABELS.index(box.label), *_widened(*inside)), legible and cut_little


def _widened(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float, float, float]:
    """No side of a training box under 12 px: on a thinner one a pixel's error ruins the overlap, and with it
    the confidence that the network learns to give.
    """
    add_x, add_y = (max(0.0, LEAST_SIDE_PX - side) / 2 for side in (x2 - x1, y2 - y1))
    rim = float(TILE_PX)
    return max(x1 - add_x, 0.0), max(y1 - add_y, 0.0), min(x2 + add_x, rim), min(y2 + add_y, rim)


def _sent(picture: Image, rng: np.random.Generator) -> Image:
    """The picture as it arrives: three in four have been through JPEG of a quality from 80 to 95."""
    if rng.random() < 0.25:
        return picture
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 96))])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def main(
    folder: Annotated[Path, typer.Argument(help="Where it goes; a data set there is replaced.")] = DATA,
    seed: Annotated[int, typer.Option(help="Which strips; no two parts of the set share one.")] = 1,
    train: Annotated[int, typer.Option(help="Training tiles.")] = 2400,
    val: Annotated[int, typer.Option(help="Validation tiles.")] = 200,
    choose: Annotated[int, typer.Option(help="Whole frames in a row to choose thresholds with.")] = 500,
    test: Annotated[int, typer.Option(help="Whole frames in a row to measure with.")] = 1500,
) -> None:
    """Write the demo model's data set."""
    print(write_dataset(folder, seed, Amounts(train, val, choose, test)))


if __name__ == "__main__":
    typer.run(main)
