"""`alumiguard check`: every mistake in a configuration at once, then whether what it names can be reached."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning.answers import (
    DEFAULT_CONFIG,
    ConfigPath,
    Failure,
    Json,
    Problem,
    counted,
    print_json,
    print_rich,
    shown,
    verb,
)
from provisioning.configuration import problems_of

if TYPE_CHECKING:
    from appliance.config import BoxConfig, ModelSection, Recipe
    from provisioning.reach import Reached

UNREACHABLE_STATUS = 2


@verb
def check(
    config: ConfigPath = DEFAULT_CONFIG,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the file only; touch no device and no network.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Name all mistakes in a configuration, and what does not answer.

    Once the file has no mistakes, every device, every camera and the receiver is opened and read for a few
    seconds, and never written. A device that takes a single connection refuses while the box runs.

    Exit status: 0 all is well; 1 the configuration has mistakes; 2 it has none, but
    something does not answer.
    """
    box = read_with_model(config)
    reached = [] if offline else reach(box)
    problems = [problem for thing in reached for problem in thing.problems]
    also = {
        "config": shown(config),
        "reached": [
            {"name": r.name, "kind": r.kind, "ok": not r.problems, "detail": r.detail} for r in reached
        ],
    }
    if not as_json:
        things = (("camera", box.cameras), ("device", box.devices), ("alarm", box.alarms))
        counts = ", ".join(counted(len(several), thing) for thing, several in things)
        print(f"{shown(config)}: no mistakes ({counts})")
        print_table(reached)
    if problems:
        raise Failure(problems, UNREACHABLE_STATUS, also)
    if as_json:
        print_json({"problems": [], **also})


def read_with_model(config: Path) -> "BoxConfig":
    """Read the configuration, open its model package and compare the recipe with its classes.

    Raises:
        Failure: with every mistake in the file, and with the package or the recipe's classes.
    """
    from appliance.config import ConfigErrors, load

    try:
        box = load(config)
    except ConfigErrors as errors:
        problems = problems_of(errors)
        if errors.model is not None:
            problems += model_problems(errors.model, errors.recipe)
        raise Failure(problems) from None
    if found := model_problems(box.model, box.recipe):
        raise Failure(found)
    return box


def model_problems(model: "ModelSection", recipe: "Recipe | None") -> list[Problem]:
    """Why the package cannot be used, or which classes of the recipe it does not know."""
    from appliance.model import open_package
    from inference.model_package import PackageRefused
    from sync.chain import NoteError

    try:
        package = open_package(model)
    except (PackageRefused, NoteError, OSError, UnicodeDecodeError) as error:
        next_step = (
            'name a package that is whole and signed by a key under model.trusted_key_files, or "demo"'
        )
        return [Problem.of("model.package", error, next_step)]
    known = ", ".join(package.classes)
    return [
        Problem.of(f"recipe.classes.{name}", "the model knows no such class", f"take one of: {known}")
        for name in sorted(set(recipe.classes if recipe is not None else ()) - set(package.classes))
    ]


def reach(box: "BoxConfig") -> list["Reached"]:
    """Open what the configuration names."""
    from provisioning.reach import reach_all

    # What went wrong is said once, in the form of this command; the libraries would say it again on stderr.
    logging.getLogger().addHandler(logging.NullHandler())
    return reach_all(box)


def print_table(reached: list["Reached"]) -> None:
    """What answered, and what it said."""
    if not reached:
        return
    from rich.table import Table

    table = Table("what", "kind", "ok", "detail", box=None, pad_edge=False)
    for thing in reached:
        table.add_row(thing.name, thing.kind, "no" if thing.problems else "yes", thing.detail)
    print_rich(table)
