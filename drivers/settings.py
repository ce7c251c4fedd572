"""What the configuration of every device has in common."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drivers.errors import DeviceMisconfigured

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Unit = Annotated[str, Field(max_length=16)]
TimeoutSeconds = Annotated[float, Field(gt=0.0, le=60.0)]
PeriodSeconds = Annotated[float, Field(gt=0.0, le=3600.0)]


class Settings(BaseModel):
    """A piece of configuration: never changed once made, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_password(file: Path) -> str:
    """The first line of a password file.

    Raises:
        DeviceMisconfigured: if it cannot be read or is empty.
    """
    try:
        password = file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceMisconfigured(
            f"the password file {file} cannot be read ({error})",
            hint=f"Write the password into {file} and let only the box's user read it (chmod 600).",
        ) from error
    if not password:
        raise DeviceMisconfigured(
            f"the password file {file} is empty", hint=f"Write the password into the first line of {file}."
        )
    return password
