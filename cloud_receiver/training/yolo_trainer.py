"""Trains a YOLO detector from scratch and exports it: `python yolo_trainer.py DATA OUT`.

A program of its own, run with the training environment's Python. The only file of the product that imports
ultralytics and torch: ultralytics is AGPL-3.0, and so is every model that it exports by its own statement.
No weights are downloaded (the network is built from the description in the wheel, made narrower here), no
usage is reported, no package is installed at run time. Writes OUT/best.onnx and OUT/metrics.json.

Why the settings: facts measured on two cores. All cores instead of ultralytics' cores-1, and channels_last,
halve the time of a step; `nbs` = `batch` steps the optimiser after every batch, where the default of 64 steps
it nine times an epoch on 600 pictures and learns nothing in three epochs. No scaling and no mosaic: a
defect's size is what makes it one, so the pictures keep theirs.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_OFFLINE"] = "true"  # no usage events, no version look-ups, no downloads
os.environ["OMP_NUM_THREADS"] = str(os.cpu_count() or 1)
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # measured: on busy cores, spinning makes a step six times as long

import torch
import ultralytics
from ultralytics import YOLO
from ultralytics.utils import YAML

OPSET = 18
DEPTH = 0.50
MAX_CHANNELS = 1024


def train(data: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, keep the best epoch's weights, export them, and return the metrics of that epoch."""
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    model = YOLO(str(_description(out, options.family, options.width)), task="detect")
    for event in ("on_pretrain_routine_start", "on_train_start"):
        model.add_callback(event, _use_all_cores)
    model.add_callback("on_train_start", _channels_last)
    model.train(data=str((data / "data.yaml").resolve()), project=str(out.resolve()), **_settings(options))
    best = YOLO(str(out / "run" / "weights" / "best.pt"))
    training_seconds = time.monotonic() - started
    size = [options.input_height, options.input_width]
    exported = best.export(format="onnx", imgsz=size, opset=OPSET, dynamic=False, simplify=True, device="cpu")
    shutil.move(str(exported), out / "best.onnx")
    return _metrics(best, data, options) | {"training_seconds": round(training_seconds)}


def _description(out: Path, family: str, width: float) -> Path:
    """The wheel's description of a family with one scale, of our width; kept beside the run."""
    number = family.removeprefix("yolo").removeprefix("v")
    described = Path(ultralytics.__file__).parent / "cfg" / "models" / number / f"{family}.yaml"
    description = YAML.load(described)
    description["scales"] = {"p": [DEPTH, width, MAX_CHANNELS]}
    narrow = out / "network.yaml"
    YAML.save(narrow, description)
    return narrow


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    epochs = options.epochs
    return {
        "name": "run",
        "exist_ok": True,
        "epochs": epochs,
        "patience": epochs,
        "imgsz": options.tile,
        "batch": options.batch,
        "nbs": options.batch,
        "optimizer": "AdamW",
        "lr0": options.learning_rate,
        "lrf": 0.02,
        "cos_lr": True,
        "warmup_epochs": min(1.0, epochs / 4),
        "mosaic": 0.0,
        "scale": 0.0,
        "translate": 0.04,
        "flipud": 0.5,
        "fliplr": 0.5,
        "hsv_h": 0.0,
        "hsv_s": 0.2,
        "hsv_v": 0.12,
        "seed": options.seed,
        "device": "cpu",
        "workers": 0,
        "cache": "ram",
        "amp": False,
        "plots": False,
        "pretrained": False,
        "verbose": False,
    }


def _metrics(model: Any, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What the exported weights score on the validation tiles."""
    scored = model.val(
        data=str((data / "data.yaml").resolve()),
        imgsz=options.tile,
        device="cpu",
        workers=0,
        plots=False,
        verbose=False,
    )
    names = [model.names[number] for number in sorted(model.names)]
    recall = {
        names[number]: round(float(r), 4)
        for number, r in zip(scored.box.ap_class_index, scored.box.r, strict=True)
    }
    return {
        "classes": names,
        "network": f"{options.family} width {options.width}",
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "input_height_px": options.input_height,
        "input_width_px": options.input_width,
        "epochs": options.epochs,
        "seed": options.seed,
        "map50": round(float(scored.box.map50), 4),
        "map50_95": round(float(scored.box.map), 4),
        "tile_recall": recall,
        "trainer": f"ultralytics {ultralytics.__version__}, torch {torch.__version__}",
        "licence": "AGPL-3.0",
    }


def _use_all_cores(_trainer: Any) -> None:
    torch.set_num_threads(os.cpu_count() or 1)


def _channels_last(trainer: Any) -> None:
    trainer.model.to(memory_format=torch.channels_last)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a YOLO detector from scratch and export it to ONNX.")
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=Path("build/demo-data"),
        help="folder with data.yaml, images/ and labels/",
    )
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        default=Path("build/demo-run"),
        help="folder for best.onnx, metrics.json and the run itself",
    )
    parser.add_argument("--family", default="yolo11", help="a family described in the ultralytics wheel")
    parser.add_argument(
        "--width", type=float, default=0.125, help="channel multiple; n-class models have 0.25"
    )
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tile", type=int, default=320, help="side of the training tiles in pixels")
    parser.add_argument("--learning-rate", type=float, default=0.004)
    parser.add_argument("--input-height", type=int, default=512, help="of the exported network")
    parser.add_argument("--input-width", type=int, default=640)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train, export, and write metrics.json."""
    options = _arguments()
    metrics = train(options.data, options.out, options)
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    sys.stdout.write(f"{options.out / 'best.onnx'}: mAP50 {metrics['map50']}\n")


if __name__ == "__main__":
    main()
