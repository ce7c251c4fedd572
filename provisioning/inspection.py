"""The inspection itself: a detector and a recipe over whatever the sources offer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from appliance.config import ModelSection, Recipe
from appliance.model import open_package
from appliance.verdict import judge, worth_showing
from drivers.camera_folder import PictureError
from drivers.frame import Image
from inference.backend import BackendError
from inference.detector import Detector
from inference.model_package import ModelPackage, PackageRefused
from provisioning.answers import fail
from provisioning.report import Album
from provisioning.sources import Bounds, Offered, Work, offered_by
from provisioning.tally import Judged, Skipped, Tally
from sync.chain import NoteError


@dataclass(frozen=True, slots=True)
class Judge:
    """What judges a picture: a model package, the detector that runs it, and a recipe."""

    package: ModelPackage
    detector: Detector
    recipe: Recipe

    @classmethod
    def load(cls, section: ModelSection, recipe: Recipe | None) -> Self:
        """Open the package and load the network. Without a recipe the package's own thresholds judge.

        Raises:
            Failure: if one of the two cannot be done.
        """
        try:
            package = open_package(section)
            return cls(package, Detector(package), recipe or recommended(package))
        except (PackageRefused, NoteError, BackendError, OSError) as error:
            next_step = "name a whole package that is signed by a key which you name with --key"
            raise fail(section.package, error, next_step) from None

    def as_json(self) -> dict[str, Any]:
        """Which model, engine and recipe, for `--json`."""
        package, recipe = self.package, self.recipe
        return {
            "model": {"name": package.name, "version": package.version, "sha256": package.sha256},
            "engine": self.detector.engine,
            "recipe": {"name": recipe.name, "ng": recipe.ng, "check": recipe.check},
        }

    def judge(self, offered: Offered, image: Image) -> Judged:
        """Find what is in a picture, and give the verdict on it."""
        found = self.detector.detect(image).detections
        shown_ones = worth_showing(found, self.recipe)
        return Judged(offered.source, offered.frame, judge(found, self.recipe), shown_ones)


def recommended(package: ModelPackage) -> Recipe:
    """The recipe that the package's maker found best."""
    thresholds = package.thresholds
    return Recipe(name="of the package", ng=thresholds.ng, check=thresholds.check)


def inspect_all(
    judge: Judge, work: Sequence[Work], bounds: Bounds, album: Album | None
) -> tuple[Tally, bool]:
    """Inspect everything; Ctrl-C ends it early and keeps what is done.

    Returns:
        The tally, and whether it was interrupted before the end. A stream without bounds has no other end.
    """
    tally = Tally()
    endless = bounds == Bounds(None, None)
    item: Work | None = None
    try:
        with progress(len(work)) as bar:
            for item in work:
                inspect_one(judge, offered_by(item, bounds), tally, album, bar)
    except KeyboardInterrupt:
        return tally, not endless or item is None or isinstance(item, Path | Offered)
    return tally, False


def inspect_one(
    judge: Judge, offers: Iterator[Offered], tally: Tally, album: Album | None, bar: Progress
) -> None:
    """Inspect all pictures of one item."""
    for offered in offers:
        if isinstance(offered.content, PictureError):
            tally.skipped.append(
                Skipped(offered.source, offered.frame, offered.content.reason, offered.next_step)
            )
            continue
        judged = judge.judge(offered, offered.content)
        tally.add(judged)
        if album is not None:
            album.keep(judged, offered.content)
        pictures = len(tally.judged)
        bar.update(bar.task_ids[0], description=escape(offered.source[-40:]), pictures=pictures)
    bar.advance(bar.task_ids[0])


def progress(items: int) -> Progress:
    """A bar on stderr, where that is a terminal: items done, pictures inspected, and the one at hand."""
    console = Console(stderr=True)
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        "{task.fields[pictures]} pictures",
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task("", total=items, pictures=0)
    return bar
