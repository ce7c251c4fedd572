"""The HTML report of an inspection: one file, no outside asset, no script."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import cv2
import jinja2
import numpy as np

from drivers.frame import Image
from provisioning.judge import Judge
from provisioning.tally import Judged, Tally
from sync.record import Verdict

MARKER = b"<!-- alumiguard inspection report -->"
"""What every report has in its second line, so that it may be written anew and nothing else is."""

MAX_PICTURES = 200
"""Most pictures in one report: about 25 MB of JPEG, which a browser still opens at once."""

MAX_WIDTH_PX = 960
JPEG_QUALITY = 80

PALETTE = ("#d62728", "#1f77b4", "#b8860b", "#8e44ad", "#00838f", "#c2185b", "#5d4037", "#455a64")
"""Class colours, distinct on brushed metal; the label is always written beside the box as well."""

SHAPES = {Verdict.NG: "■", Verdict.CHECK: "▲", Verdict.OK: "●"}


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture with its defects drawn in, as JPEG."""

    judged: Judged
    jpeg: bytes

    @property
    def data_uri(self) -> str:
        """The picture as part of the page."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


@dataclass
class Album:
    """The pictures for a report: all NG first, then CHECK, then OK, MAX_PICTURES in all."""

    shots: dict[Verdict, list[Shot]] = field(default_factory=lambda: {v: [] for v in SHAPES})
    colours: dict[str, str] = field(default_factory=dict)

    def keep(self, judged: Judged, image: Image) -> None:
        """Keep a picture, unless there are enough as bad as it."""
        if len(self.shots[judged.verdict]) < MAX_PICTURES:
            self.shots[judged.verdict].append(Shot(judged, self._annotated(judged, image)))

    def chosen(self) -> list[Shot]:
        """The pictures that go into the report."""
        return [shot for shots in self.shots.values() for shot in shots][:MAX_PICTURES]

    def colour(self, label: str) -> str:
        """The colour of a class, the same on every picture and in every table."""
        return self.colours.setdefault(label, PALETTE[len(self.colours) % len(PALETTE)])

    def _annotated(self, judged: Judged, image: Image) -> bytes:
        scale = min(1.0, MAX_WIDTH_PX / image.shape[1])
        resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = np.asarray(resized, np.uint8)
        labels = []
        for detection in judged.detections:
            box, colour = detection.box, _bgr(self.colour(detection.label))
            corner = (round(box.x_px * scale), round(box.y_px * scale))
            opposite = (round((box.x_px + box.width_px) * scale), round((box.y_px + box.height_px) * scale))
            cv2.rectangle(small, corner, opposite, colour, 2)
            labels.append((f"{detection.label} {detection.confidence:.2f}", corner, colour))
        for label in labels:  # after all boxes, so that none is drawn over
            _write_label(small, *label)
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return jpeg.tobytes()


def render(judge: "Judge", tally: Tally, album: Album) -> str:
    """The report's page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("provisioning"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        judge=judge,
        tally=tally,
        album=album,
        shots=album.chosen(),
        shapes=SHAPES,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        software=f"alumiguard {version('alumiguard')}",
    )


def is_report(file: Path) -> bool:
    """Whether an earlier inspection wrote this file.

    Raises:
        OSError: if it cannot be read.
    """
    with file.open("rb") as opened:
        return MARKER in opened.read(200)


def _bgr(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return blue, green, red


def _write_label(image: Image, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Text on a filled strip above the box, or inside it where there is no room above."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.65
    (width, height), below = cv2.getTextSize(text, font, size, 1)
    left = max(0, min(corner[0], image.shape[1] - width - 6))
    bottom = corner[1] if corner[1] > height + below + 4 else corner[1] + height + below + 4
    cv2.rectangle(image, (left, bottom - height - below - 4), (left + width + 6, bottom), colour, -1)
    cv2.putText(image, text, (left + 3, bottom - below), font, size, (255, 255, 255), 1, cv2.LINE_AA)
