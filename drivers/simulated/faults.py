"""What goes wrong in the simulated plant, and when: a TOML file of `[[faults]]`."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from drivers.settings import Settings


class FaultKind(StrEnum):
    """What can go wrong."""

    CAMERA_GONE = "camera_gone"
    """The camera breaks its connections off and accepts none."""
    CAMERA_FROZEN = "camera_frozen"
    """The camera keeps its connections open and sends nothing."""
    GARBAGE = "garbage"
    """The camera sends bytes that are no pictures."""
    MODBUS_GONE = "modbus_gone"
    OPCUA_GONE = "opcua_gone"


class Fault(Settings):
    """One thing that goes wrong, from `at_seconds` after the line's start on, for `for_seconds`."""

    what: FaultKind
    at_seconds: Annotated[float, Field(ge=0.0)]
    for_seconds: Annotated[float, Field(gt=0.0)]


class _Plan(Settings):
    faults: tuple[Fault, ...] = ()


class BadFaultPlan(ValueError):
    """A fault plan that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All faults of a run."""

    faults: Sequence[Fault] = ()

    def active(self, what: FaultKind, seconds: float) -> bool:
        """Whether it is going wrong at that instant."""
        spans = self.of(what)
        return any(fault.at_seconds <= seconds < fault.at_seconds + fault.for_seconds for fault in spans)

    def of(self, what: FaultKind) -> list[Fault]:
        """Every time that it goes wrong, in order."""
        return sorted((f for f in self.faults if f.what is what), key=lambda fault: fault.at_seconds)


def read_fault_plan(path: Path) -> FaultPlan:
    """Read a plan.

    Raises:
        BadFaultPlan: if the file cannot be read or is none.
    """
    try:
        plan = _Plan.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        detail = str(error.errors()[0]) if isinstance(error, ValidationError) else str(error)
        raise BadFaultPlan(f"{path} is no fault plan: {detail}. See drivers/simulated/README.md.") from error
    return FaultPlan(plan.faults)
