"""The box's configuration: one TOML file, checked as a whole, every mistake named at once.

Checking touches no device and no network. A relative path is relative to the file it stands in.
"""

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from appliance.mistakes import did_you_mean, in_words
from drivers.catalog import AnyCameraConfig, TagDeviceConfig

BoxId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(gt=0.0, le=86_400.0)]

_MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less the closing NUL


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake: where it stands, what is wrong with it, and what to do."""

    where: str
    what: str
    next_step: str


class ConfigErrors(Exception):
    """A configuration that cannot be used, with all its mistakes.

    `model` and `recipe` are those sections if they have none, so that the model can be looked into as well.
    """

    def __init__(
        self,
        path: Path,
        problems: Iterable[ConfigProblem],
        model: "ModelSection | None" = None,
        recipe: "Recipe | None" = None,
    ) -> None:
        self.path = path
        self.model, self.recipe = model, recipe
        self.problems = tuple(problems)
        lines = "\n".join(f"  {p.where}: {p.what}. {p.next_step}" for p in self.problems)
        super().__init__(f"{path} has {len(self.problems)} mistake(s):\n{lines}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _loopback(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise ValueError(
            "the console has no log-in yet, so it only listens on this machine: use 127.0.0.1:PORT"
        )
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("write it as 127.0.0.1:PORT, with a port up to 65535")
    return listen


class BoxSection(_Section):
    """Who this box is."""

    id: BoxId
    site: Annotated[str, Field(min_length=1, max_length=64)]


class StorageSection(_Section):
    """Where the log, the evidence and the keys live."""

    folder: Path

    @property
    def database(self) -> Path:
        """The log's database file."""
        return self.folder / "box.db"

    @property
    def evidence(self) -> Path:
        """The folder of evidence pictures."""
        return self.folder / "evidence"

    @property
    def identity(self) -> Path:
        """The folder of keys and certificates."""
        return self.folder / "identity"

    @property
    def control_socket(self) -> Path:
        """The appliance's control socket."""
        return self.folder / "run" / "control.sock"

    @property
    def vision_socket(self) -> Path:
        """Where the vision process hands its results to the appliance."""
        return self.folder / "run" / "vision.sock"


class ModelSection(_Section):
    """Which model package judges, and whose signatures on packages this box accepts."""

    package: str = "demo"
    trusted_key_files: tuple[Path, ...] = ()


class Thresholds(_Section):
    """Confidence from which a detection makes a frame NG, or CHECK."""

    ng: Fraction
    check: Fraction

    @model_validator(mode="after")
    def _check_is_below_ng(self) -> Self:
        if self.check > self.ng:
            raise ValueError(f"check ({self.check}) is above ng ({self.ng}): CHECK lies below NG")
        return self


class Recipe(Thresholds):
    """Thresholds for a product, with those of single classes where they differ."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    classes: Mapping[str, Thresholds] = Field(default_factory=dict)


class LineSection(_Section):
    """The tags that are stamped on every inspection."""

    position_tag: str | None = None
    speed_tag: str | None = None
    lot_tag: str | None = None


class OutputSection(_Section):
    """The verdict block in the PLC. Written in this order: heartbeat, sequence, verdict, position, NG."""

    device: str
    heartbeat_tag: str
    sequence_tag: str
    verdict_tag: str
    position_tag: str | None = None
    ng_tag: str
    heartbeat_seconds: Seconds = 1.0


class AlarmSection(_Section):
    """One alarm on one tag: above `high`, below `low`, or silent for `stale_seconds`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    tag: str
    high: float | None = None
    low: float | None = None
    stale_seconds: Seconds | None = None
    dead_band: Annotated[float, Field(ge=0.0)] = 0.0
    on_delay_seconds: Annotated[float, Field(ge=0.0, le=86_400.0)] = 0.0
    priority: Literal["low", "medium", "high"] = "medium"
    text: Annotated[str, Field(min_length=1)]
    action: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _watches_something(self) -> Self:
        if self.high is None and self.low is None and self.stale_seconds is None:
            raise ValueError("it watches nothing: give high, low or stale_seconds")
        if self.high is not None and self.low is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        return self


class UplinkSection(_Section):
    """The way out."""

    receiver: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")]


class ConsoleSection(_Section):
    """The local console."""

    listen: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1:8440"


class RecordsSection(_Section):
    """How often summaries become records."""

    coverage_seconds: Seconds = 10.0
    tags_seconds: Seconds = 10.0


class BoxConfig(_Section):
    """A whole, checked configuration. `digest` is the SHA-256 of the file it was read from."""

    version: Literal[1]
    box: BoxSection
    storage: StorageSection
    model: ModelSection = ModelSection()
    recipe: Recipe
    line: LineSection = LineSection()
    cameras: tuple[AnyCameraConfig, ...] = ()
    devices: tuple[TagDeviceConfig, ...] = ()
    output: OutputSection | None = None
    alarms: tuple[AlarmSection, ...] = ()
    uplink: UplinkSection | None = None
    console: ConsoleSection = ConsoleSection()
    records: RecordsSection = RecordsSection()
    digest: str = ""


def load(path: Path) -> BoxConfig:
    """Read and check a configuration file.

    Raises:
        ConfigErrors: with every mistake in it.
    """
    try:
        text = path.read_bytes()
        raw = tomllib.loads(text.decode())
    except OSError as error:
        problem = ConfigProblem(str(path), f"cannot be read ({error.strerror})", "Make one: alumiguard init")
        raise ConfigErrors(path, [problem]) from error
    except RecursionError as error:
        problem = ConfigProblem(
            str(path),
            "is not TOML that can be read: it nests too deeply",
            "Write it with fewer brackets inside each other",
        )
        raise ConfigErrors(path, [problem]) from error
    except ValueError as error:
        problem = ConfigProblem(str(path), f"is not TOML: {error}", "Mend that line; see https://toml.io")
        raise ConfigErrors(path, [problem]) from error
    sections, problems = _check_sections(raw)
    problems += _check_references(raw, sections)
    if problems:
        found = sections.get("model", None if "model" in raw else ModelSection())
        model = _absolute_model(found, path.parent.resolve()) if found is not None else None
        raise ConfigErrors(path, problems, model, sections.get("recipe"))
    config = BoxConfig(**sections, digest=sha256(text).hexdigest())
    return _with_absolute_paths(config, path.parent.resolve())


# --- sections, each on its own, so that one mistake never hides another ------------------------------------


def _check_sections(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[ConfigProblem]]:
    sections: dict[str, Any] = {}
    fields = {name: field for name, field in BoxConfig.model_fields.items() if name != "digest"}
    problems = [
        ConfigProblem(name, "is not a section", did_you_mean(name, fields))
        for name in sorted(raw.keys() - fields.keys())
    ]
    for name, field in fields.items():
        if name not in raw:
            if field.is_required():
                problems.append(
                    ConfigProblem(name, "is missing", f"Add it; `alumiguard init` shows [{name}]")
                )
            continue
        problems += (nuls := _check_nul(name, raw[name]))
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
        try:
            checked = adapter.validate_python(raw[name])
            if not nuls:
                sections[name] = checked
        except ValidationError as error:
            problems += [_problem(name, detail, raw[name]) for detail in error.errors()]
    return sections, problems


def _problem(section: str, detail: Any, given: Any) -> ConfigProblem:
    where, at = section, given
    for step in detail["loc"]:
        if isinstance(step, int):
            name = at[step].get("name") if isinstance(at, list) and isinstance(at[step], dict) else None
            where += f"[{name or step}]"
            at = at[step] if isinstance(at, list) else None
        elif isinstance(at, dict) and step not in at and at.get("driver") == step:
            continue  # pydantic names the chosen driver here; it is not a key of the file
        else:
            where += f".{step}"
            at = at.get(step) if isinstance(at, dict) else None
    return ConfigProblem(where, *in_words(detail))


def _check_nul(section: str, given: Any) -> list[ConfigProblem]:
    """A file system takes no NUL in a path and says so as late as it can; no text here needs one.

    Walks without recursion: dotted keys nest as deeply as somebody likes.
    """
    problems: list[ConfigProblem] = []
    left = [(section, given)]
    while left:
        where, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{where}.{key}", below) for key, below in value.items()]
        elif isinstance(value, list):
            left += [(f"{where}[{number}]", below) for number, below in enumerate(value)]
        elif isinstance(value, str) and "\0" in value:
            problems.append(ConfigProblem(where, "holds a NUL character", r"Remove the \u0000 from it"))
    return problems


# --- references between sections, read leniently so that they are checked beside any other mistake ----------


def _check_references(raw: Mapping[str, Any], sections: Mapping[str, Any]) -> list[ConfigProblem]:
    devices, alarms = _tables(raw.get("devices")), _tables(raw.get("alarms"))
    tags = [name for device in devices for name in _names(_tables(device.get("tags")))]
    problems = [
        *_check_unique("devices", _names(devices) + _names(_tables(raw.get("cameras")))),
        *_check_unique("devices.tags", tags),
        *_check_unique("alarms", _names(alarms)),
        *_check_socket_path(sections),
    ]
    for line in _tables([raw.get("line")]):
        for key in ("position_tag", "speed_tag", "lot_tag"):
            problems += _check_tag(f"line.{key}", line.get(key), tags)
    for number, alarm in enumerate(alarms):
        problems += _check_tag(f"alarms[{alarm.get('name', number)}].tag", alarm.get("tag"), tags)
    for output in _tables([raw.get("output")]):
        problems += _check_output(output, devices)
    return problems


def _tables(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _names(tables: list[dict[str, Any]]) -> list[str]:
    return [str(table["name"]) for table in tables if "name" in table]


def _check_unique(where: str, names: list[str]) -> list[ConfigProblem]:
    twice = sorted({name for name in names if names.count(name) > 1})
    next_step = "Give each its own name"
    return [ConfigProblem(f"{where}[{name}]", "this name is used twice", next_step) for name in twice]


def _check_tag(where: str, tag: Any, tags: list[str]) -> list[ConfigProblem]:
    if not isinstance(tag, str) or tag in tags:
        return []
    return [ConfigProblem(where, f"no device has a tag {tag!r}", did_you_mean(tag, tags))]


def _check_output(output: Mapping[str, Any], devices: list[dict[str, Any]]) -> list[ConfigProblem]:
    name = str(output.get("device"))
    device = next((device for device in devices if device.get("name") == name), None)
    if device is None:
        return [ConfigProblem("output.device", f"no device {name!r}", did_you_mean(name, _names(devices)))]
    writable = _names([tag for tag in _tables(device.get("tags")) if tag.get("writable") is True])
    next_step = "Set `writable = true` on that tag, or name another"
    return [
        ConfigProblem(f"output.{key}", f"device {name!r} has no writable tag {tag!r}", next_step)
        for key in ("heartbeat_tag", "sequence_tag", "verdict_tag", "position_tag", "ng_tag")
        if isinstance(tag := output.get(key), str) and tag not in writable
    ]


def _check_socket_path(sections: Mapping[str, Any]) -> list[ConfigProblem]:
    storage: StorageSection | None = sections.get("storage")
    if storage is None or len(str(storage.control_socket.absolute()).encode()) <= _MAX_SOCKET_PATH_BYTES:
        return []
    what = f"{storage.folder} is too long for the sockets that live in it"
    return [ConfigProblem("storage.folder", what, "Choose a folder with a path of at most 80 bytes")]


def _with_absolute_paths(config: BoxConfig, base: Path) -> BoxConfig:
    storage = StorageSection(folder=base / config.storage.folder)
    model = _absolute_model(config.model, base)
    devices = tuple(_absolute(device, base) for device in config.devices)
    cameras = tuple(_absolute(camera, base) for camera in config.cameras)
    update = {"storage": storage, "model": model, "devices": devices, "cameras": cameras}
    return config.model_copy(update=update)


def _absolute_model(model: ModelSection, base: Path) -> ModelSection:
    return ModelSection(
        package=model.package if model.package == "demo" else str(base / model.package),
        trusted_key_files=tuple(base / file for file in model.trusted_key_files),
    )


def _absolute(section: BaseModel, base: Path) -> BaseModel:
    files = {name: base / value for name, value in section if isinstance(value, Path)}
    return section.model_copy(update=files)
