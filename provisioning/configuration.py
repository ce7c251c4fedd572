"""A configuration, with its mistakes in the CLI's own form."""

from pathlib import Path
from typing import TYPE_CHECKING

from provisioning.answers import Failure, Problem

if TYPE_CHECKING:
    from appliance.config import BoxConfig, ConfigErrors


def read(path: Path) -> "BoxConfig":
    """Read a box's configuration.

    Raises:
        Failure: with every mistake in it, each with its place and the next step.
    """
    from appliance.config import ConfigErrors, load

    try:
        return load(path)
    except ConfigErrors as errors:
        raise Failure(problems_of(errors)) from None


def problems_of(errors: "ConfigErrors") -> list[Problem]:
    """The mistakes of a configuration in the CLI's own form."""
    return [Problem.of(p.where, p.what, p.next_step) for p in errors.problems]
