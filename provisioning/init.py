"""`alumiguard init`: a commented configuration to start from."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from provisioning.answers import DEFAULT_CONFIG, Json, fail, print_json, shown, verb


@verb
def init(
    path: Annotated[
        Path, typer.Argument(help="The file to write, or the folder for a box.toml.")
    ] = DEFAULT_CONFIG,
    profile: Annotated[str, typer.Option(help="The kind of plant to start from.")] = "surface",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented box.toml to start from.

    Exit status: 0 written; 1 not written.
    """
    text = profile_text(profile)
    target = path / DEFAULT_CONFIG if path.is_dir() else path
    try:
        write_new(target, text, replace=force)
    except FileExistsError:
        raise fail(target, "is there already", "name another file, or give --force to replace it") from None
    except OSError as error:
        raise fail(
            target, f"cannot be written ({error.strerror})", "name a file in a folder that you may write"
        ) from None
    if as_json:
        print_json({"written": shown(target), "profile": profile})
        return
    print(f"{shown(target)} is written, for the profile {profile}.")
    print(f"next: put your plant's addresses into it, then `alumiguard check --config {shown(target)}`")


def profile_text(profile: str) -> str:
    """The profile's configuration as shipped.

    Raises:
        Failure: if there is none of that name.
    """
    folder = files("appliance") / "profiles"
    known = sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )
    if profile not in known:
        raise fail("--profile", f"there is no profile {profile!r}", f"take one of: {', '.join(known)}")
    return (folder / f"{profile}.toml").read_text(encoding="utf-8")


def write_new(target: Path, text: str, *, replace: bool) -> None:
    """Write the file; an old one is replaced in one step, or not at all.

    Raises:
        FileExistsError: if it is there and `replace` does not allow to replace it.
        OSError: if it cannot be written.
    """
    if replace:
        new = target.with_name(f".{target.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(target)
    else:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
