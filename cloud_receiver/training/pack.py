"""Makes a signed model package of a training run: `python -m cloud_receiver.training.pack DATA RUN OUT`.

Folds the preparation into the network, chooses thresholds on whole frames that training never saw, measures
escapes and false rejects on others that neither training nor the choice saw, takes golden samples, signs.
Everything is measured with the very file and the very detector that the box runs.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud_receiver.training.score import Judged, Score, judge, score
from inference.detection import Detection
from inference.detector import Detector
from inference.fold import fold
from inference.model_package import SHIPPED, Description, ModelPackage, Thresholds, pack
from sync.chain import SignerKey, sign_note

NG_ABOVE_CHECK = 0.15
GOLDEN_SAMPLES = 6
GOLDEN = {"confidence": 0.05, "box_px": 4.0}
"""JPEG decoders and convolution kernels differ by a rounding; a wrong channel order differs by far more."""
_STEPS = [step / 100 for step in range(15, 85, 5)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a package is made of and called."""

    data: Path
    run: Path
    name: str
    version: str


def make_package(wanted: Wanted, key: SignerKey) -> tuple[bytes, Score]:
    """The archive's bytes, and the score on the test frames at its own thresholds.

    Raises:
        CannotFold: if the network does not begin as YOLO does.
        BackendError: if ONNX Runtime cannot run it.
    """
    trained = json.loads((wanted.run / "metrics.json").read_text())
    model = fold((wanted.run / "best.onnx").read_bytes())
    draft = _draft(wanted, trained, model)
    detector = Detector(draft)
    chosen = choose_thresholds(judge(wanted.data / "frames" / "choose", detector))
    tested = judge(wanted.data / "frames" / "test", detector)
    result = score(tested, chosen.check)
    metrics = _metrics(result, score(tested, chosen.ng), trained)
    description = draft.description.model_copy(update={"thresholds": chosen, "metrics": metrics})
    files = {"package.toml": _toml(description).encode(), "model.onnx": model}
    files |= _golden(wanted.data / "frames" / "test", tested, result)
    return pack(files, lambda body: sign_note(body, key)), result


def choose_thresholds(judged: Sequence[Judged]) -> Thresholds:
    """The middle of the widest choice: of all CHECK thresholds as good as the best, the median.

    An escape weighs as much as half a false reject of the same rate: the targets are 2 % and 1 %.
    """
    scores = {step: score(judged, step) for step in _STEPS}
    costs = {step: s.escape_rate / 0.02 + s.false_reject_rate / 0.01 for step, s in scores.items()}
    best = [step for step, cost in costs.items() if cost <= min(costs.values()) + 1e-9]
    check = best[(len(best) - 1) // 2]
    return Thresholds(ng=round(min(check + NG_ABOVE_CHECK, 0.95), 2), check=check)


def _draft(wanted: Wanted, trained: Mapping[str, Any], model: bytes) -> ModelPackage:
    """The package as far as it is known before anything has been measured."""
    manifest = json.loads((wanted.data / "manifest.json").read_text())
    names = ("trainer", "network", "parameters", "epochs", "seed", "training_seconds")
    description = Description.model_validate(
        {
            "format": 1,
            "name": wanted.name,
            "version": wanted.version,
            "licence": trained["licence"],
            "classes": tuple(trained["classes"]),
            "input": {"height_px": trained["input_height_px"], "width_px": trained["input_width_px"]},
            "thresholds": {"ng": 0.5, "check": 0.35},
            "golden": GOLDEN,
            "dataset": manifest,
            "training": {name: trained[name] for name in names},
            "metrics": {},
        }
    )
    return ModelPackage(description, "", model, ())


def _metrics(at_check: Score, at_ng: Score, trained: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "test_frames": at_check.frames,
        "defects": at_check.defects,
        "escaped": len(at_check.escaped),
        "escape_rate": round(at_check.escape_rate, 4),
        "clean_frames": at_check.clean_frames,
        "false_rejects": len(at_check.false_rejects),
        "false_reject_rate": round(at_check.false_reject_rate, 4),
        "escape_rate_at_ng": round(at_ng.escape_rate, 4),
        "false_reject_rate_at_ng": round(at_ng.false_reject_rate, 4),
        "recall": at_check.recall,
        "tile_map50": trained["map50"],
        "tile_map50_95": trained["map50_95"],
    }


def _golden(folder: Path, judged: Sequence[Judged], result: Score) -> dict[str, bytes]:
    """One frame for each class as far as they go round, and a clean one; with what is found on them."""
    frames: dict[str, str] = {}
    for frame in judged:
        if len(frame.truth) == 1 and frame.truth[0].whole:
            frames.setdefault(frame.truth[0].label, frame.frame)
        elif not frame.truth and frame.frame not in result.false_rejects:
            frames.setdefault("", frame.frame)
    chosen = sorted(frames.values())[: GOLDEN_SAMPLES + 1]
    found = {frame.frame: frame.found for frame in judged}
    expected = {name: [_row(detection) for detection in found[name]] for name in chosen}
    pictures = {f"golden/{name}": (folder / name).read_bytes() for name in chosen}
    return pictures | {"golden/expected.json": json.dumps(expected, indent=1).encode()}


def _row(detection: Detection) -> dict[str, Any]:
    box = {name: round(pixels, 2) for name, pixels in asdict(detection.box).items()}
    return {"label": detection.label, "confidence": round(detection.confidence, 4)} | box


def _toml(description: Description) -> str:
    """The description as TOML; its values are text, numbers, lists of text, and tables of these."""
    return _table("", description.model_dump(mode="json"))


def _table(path: str, values: Mapping[str, Any]) -> str:
    """A table: its values first, then the tables in it. JSON's notation of a value is TOML's too."""
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = [f"{name} = {json.dumps(value)}\n" for name, value in values.items() if name not in tables]
    head = f"\n[{path}]\n" if path and plain else ""
    below = (_table(f"{path}.{name}".lstrip("."), value) for name, value in tables.items())
    return head + "".join(plain) + "".join(below)


def _signer(name: str, key_file: Path | None) -> SignerKey:
    """The private key in the file (32 raw bytes); without one a fresh key that nobody keeps."""
    if key_file is None:
        return SignerKey(name, Ed25519PrivateKey.generate())
    return SignerKey(name, Ed25519PrivateKey.from_private_bytes(key_file.read_bytes()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a signed model package of a training run.")
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=Path("build/demo-data"),
        help="the data set: manifest.json, frames/choose, frames/test",
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        default=Path("build/demo-run"),
        help="the training run: best.onnx, metrics.json",
    )
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        default=SHIPPED,
        help="the package to write; its public key goes beside it as .vkey",
    )
    parser.add_argument("--name", default="surface-demo")
    parser.add_argument("--version", default="0.2.0")
    parser.add_argument("--signer", default="alumiguard/demo", help="the name that the key signs under")
    parser.add_argument(
        "--key", type=Path, help="private key, 32 raw bytes; without it a fresh one, thrown away"
    )
    return parser.parse_args()


def main() -> None:
    """Pack, and say what was measured."""
    options = _arguments()
    key = _signer(options.signer, options.key)
    wanted = Wanted(options.data, options.run, options.name, options.version)
    archive, result = make_package(wanted, key)
    options.out.write_bytes(archive)
    options.out.with_suffix(".vkey").write_text(f"{key.verifier()}\n")
    sys.stdout.write(
        f"{options.out}: {len(archive)} bytes\n"
        f"escaped: {len(result.escaped)} of {result.defects} defects {list(result.escaped)}\n"
        f"false rejects: {len(result.false_rejects)} of {result.clean_frames} clean frames\n"
    )


if __name__ == "__main__":
    main()
