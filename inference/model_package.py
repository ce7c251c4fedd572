"""The model package, `.agmodel`: a network with all that is needed to trust it, in one signed archive.

A zip, stored, with fixed times, so that the same content is the same file everywhere:

    MANIFEST              signed note (C2SP): a heading, then `<sha256>  <path>` of every other file
    package.toml          name, version, classes, input size, thresholds, data set, training, metrics, licence
    model.onnx            uint8 [1, height, width, 3] in, YOLO's output out
    golden/*.jpg          pictures that every back end must agree on
    golden/expected.json  what was found on them when the package was made

Nothing of it is written to disk on the way in: the file is read once, within bounds, and only bytes whose
digest the signed manifest names are used.
"""

import io
import json
import re
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.detection import Box, Detection

MAX_ARCHIVE_BYTES = 256 * 1024 * 1024
MAX_FILES = 64
MAX_TEXT_BYTES = 1024 * 1024
MAX_NOTE_BYTES = 16 * 1024
HEADING = "alumiguard model package 1"

_PATH = re.compile(r"(golden/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_TIME = (1980, 1, 1, 0, 0, 0)
SHIPPED = Path(__file__).parent / "packages" / "surface-demo.agmodel"

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class PackageRefused(Exception):
    """The package is not used. The message says why and what to do next."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Section):
    """Confidence from which a detection makes a frame NG, or CHECK, as the package's maker found best."""

    ng: Fraction
    check: Fraction

    @model_validator(mode="after")
    def _check_is_below_ng(self) -> "Thresholds":
        if self.check > self.ng:
            raise ValueError(f"check ({self.check}) is above ng ({self.ng})")
        return self


class InputSize(_Section):
    """The network's input in pixels."""

    height_px: Annotated[int, Field(ge=32, le=8192)]
    width_px: Annotated[int, Field(ge=32, le=8192)]


class GoldenTolerance(_Section):
    """How far a back end may be from the golden samples: in confidence, and in pixels of the picture."""

    confidence: Fraction
    box_px: Annotated[float, Field(ge=0.0)]


Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Description(_Section):
    """`package.toml`. `dataset`, `training` and `metrics` are for people; nothing acts on them."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    licence: Annotated[str, Field(min_length=1, max_length=500)]
    classes: Annotated[tuple[Label, ...], Field(min_length=1, max_length=200)]
    input: InputSize
    thresholds: Thresholds
    golden: GoldenTolerance
    dataset: Mapping[str, Any]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]


class _Expected(_Section):
    label: Label
    confidence: Fraction
    x_px: float
    y_px: float
    width_px: float
    height_px: float


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """A picture (JPEG bytes) and what was found on it when the package was made, best first."""

    name: str
    jpeg: bytes
    expected: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A package whose signature and digests hold. `sha256` is that of the archive file, hex."""

    description: Description
    sha256: str
    model: bytes
    golden: tuple[GoldenSample, ...]

    @classmethod
    def open(cls, path: Path, verifier: Callable[[bytes], bytes]) -> "ModelPackage":
        """Read and check a package.

        Args:
            path: the archive.
            verifier: takes the signed note and gives its body, or raises ValueError if no trusted key has
                signed it.

        Raises:
            PackageRefused: if it is damaged, oversized, not signed by a trusted key, or not a package.
            OSError: if the file cannot be read.
        """
        archive = _read_bounded(path)
        try:
            files = _verified_files(archive, verifier)
            description = _described(files)
            golden = _golden(files)
        except PackageRefused as error:
            raise PackageRefused(f"{path.name}: {error}") from error
        return cls(description, sha256(archive).hexdigest(), files["model.onnx"], golden)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.description.name

    @property
    def version(self) -> str:
        """The package's version, three numbers."""
        return self.description.version

    @property
    def classes(self) -> tuple[str, ...]:
        """What the network can find, in the order of its class numbers."""
        return self.description.classes

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        return self.description.input.height_px, self.description.input.width_px

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that the package's maker recommends."""
        return self.description.thresholds


def demo_package() -> tuple[Path, str]:
    """The package that ships with the product: its path and the public key that has signed it."""
    return SHIPPED, SHIPPED.with_suffix(".vkey").read_text().strip()


def pack(files: Mapping[str, bytes], sign: Callable[[bytes], bytes]) -> bytes:
    """The archive of these files. `sign` takes the manifest's text and gives the signed note."""
    lines = (f"{sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    manifest = sign(f"{HEADING}\n{''.join(lines)}".encode())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [("MANIFEST", manifest), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        archive = file.read(MAX_ARCHIVE_BYTES + 1)
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise PackageRefused(
            f"{path.name}: over the limit of {MAX_ARCHIVE_BYTES} bytes: this is no model package"
        )
    return archive


def _verified_files(archive: bytes, verifier: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """Every file but the manifest, by path; each has the digest that the signed manifest names."""
    files = _unpacked(archive)
    note = files.pop("MANIFEST", b"")
    if not note or len(note) > MAX_NOTE_BYTES:
        raise PackageRefused("it carries no MANIFEST, so nobody vouches for it: get a signed package")
    try:
        body = verifier(note)
    except ValueError as error:
        raise PackageRefused(
            f"its signature does not hold: {error}. Get it again, or trust its key"
        ) from error
    digests = _digests(body)
    if digests.keys() != files.keys():
        odd = ", ".join(sorted(digests.keys() ^ files.keys()))
        raise PackageRefused(f"its files and its signed manifest differ ({odd}): get it again")
    for name, content in files.items():
        if sha256(content).hexdigest() != digests[name]:
            raise PackageRefused(f"{name} was changed after signing: get the package again")
    return files


def _unpacked(archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            _check_entries(entries, len(archive))
            return {entry.filename: opened.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise PackageRefused(f"it is not a whole archive ({error}): copy or fetch it again") from error


def _check_entries(entries: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    """Nothing is unpacked before this holds: few, plainly named, uncompressed files of honest size."""
    if len(entries) > MAX_FILES:
        raise PackageRefused(
            f"it holds {len(entries)} files, {MAX_FILES} are allowed: this is no model package"
        )
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise PackageRefused("two of its files share a name, so it could be read in two ways: pack it again")
    for entry in entries:
        if not _PATH.fullmatch(entry.filename) or ".." in entry.filename:
            raise PackageRefused(
                f"it holds a file of the name {entry.filename[:80]!r}: this is no model package"
            )
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise PackageRefused(f"{entry.filename} is compressed: packages are stored, pack it again")
    if sum(entry.file_size for entry in entries) > archive_bytes:
        raise PackageRefused("its files claim more bytes than it has: this is no model package")


def _digests(body: bytes) -> dict[str, str]:
    heading, *lines = body.decode(errors="replace").removesuffix("\n").split("\n")
    if heading != HEADING:
        raise PackageRefused(f"its manifest is headed {heading[:80]!r}, not {HEADING!r}: update this box")
    parts = [line.partition("  ") for line in lines]
    return {name: digest for digest, _, name in parts}


def _described(files: Mapping[str, bytes]) -> Description:
    try:
        return Description.model_validate(tomllib.loads(_text(files, "package.toml")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PackageRefused(f"package.toml: {error}") from error


def _golden(files: Mapping[str, bytes]) -> tuple[GoldenSample, ...]:
    if "model.onnx" not in files:
        raise PackageRefused("it holds no model.onnx: pack it again")
    try:
        expected: dict[str, list[Any]] = json.loads(_text(files, "golden/expected.json"))
        return tuple(_sample(files, name, rows) for name, rows in sorted(expected.items()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageRefused(f"golden/expected.json does not fit the golden pictures: {error}") from error


def _sample(files: Mapping[str, bytes], name: str, rows: list[Any]) -> GoldenSample:
    found = [_Expected.model_validate(row) for row in rows]
    boxes = [Box(row.x_px, row.y_px, row.width_px, row.height_px) for row in found]
    detections = tuple(Detection(r.label, r.confidence, box) for r, box in zip(found, boxes, strict=True))
    return GoldenSample(name, files[f"golden/{name}"], detections)


def _text(files: Mapping[str, bytes], name: str) -> str:
    content = files.get(name, b"")
    if not content or len(content) > MAX_TEXT_BYTES:
        raise PackageRefused(f"{name} is missing or over {MAX_TEXT_BYTES} bytes: pack it again")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise PackageRefused(f"{name} is not UTF-8: {error}") from error
