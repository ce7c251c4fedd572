"""What judges pictures for `alumiguard inspect`: package, detector and recipe."""

from dataclasses import dataclass
from typing import Any, Self

from appliance.config import ModelSection, Recipe
from appliance.model import open_package
from appliance.verdict import judge, worth_showing
from drivers.frame import Image
from inference.backend import BackendError
from inference.detector import Detector
from inference.model_package import ModelPackage, PackageRefused
from provisioning.answers import fail
from provisioning.sources import Offered
from provisioning.tally import Judged
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
