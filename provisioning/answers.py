"""How a verb answers: results on stdout, failures on stderr, and one JSON object if asked.

An expected failure is raised as a `Failure` and becomes `error: … / next: …` and an exit status; anything
else is a defect of ours and keeps its traceback.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

USAGE_STATUS = 64
"""Exit status of a command line that makes no sense (EX_USAGE of sysexits.h): never that of a result."""

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object to stdout, and nothing else there.")
]
ConfigPath = Annotated[Path, typer.Option("--config", metavar="FILE", help="The box's configuration.")]
DEFAULT_CONFIG = Path("box.toml")

Given = ParamSpec("Given")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (a place in a file, a device, a file), what, and what to do next."""

    where: str
    what: str
    next: str

    @classmethod
    def of(cls, where: object, what: object, next_step: str) -> "Problem":
        """A problem whose texts may hold what a foreign system or a file's name put into them."""
        return cls(shown(where), shown(what), shown(next_step))


class Failure(Exception):
    """The verb did not do what it was asked for. `also` joins the problems in the JSON object."""

    def __init__(
        self, problems: Iterable[Problem], status: int = 1, also: dict[str, Any] | None = None
    ) -> None:
        self.problems = tuple(problems)
        self.status = status
        self.also = also or {}
        super().__init__("; ".join(f"{p.where}: {p.what}" for p in self.problems))


def fail(where: object, what: object, next_step: str, status: int = 1) -> Failure:
    """A failure with one problem."""
    return Failure([Problem.of(where, what, next_step)], status)


def verb(function: Callable[Given, None]) -> Callable[Given, None]:
    """Turn a Failure into words on stderr, an object on stdout under --json, and an exit status."""

    @functools.wraps(function)
    def answering(*args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Failure as failure:
            if kwargs.get("as_json"):
                print_json({"problems": [asdict(problem) for problem in failure.problems], **failure.also})
            for problem in failure.problems:
                complain(problem)
            raise typer.Exit(failure.status) from None

    return answering


def complain(problem: Problem) -> None:
    """Say on stderr what is wrong and what to do."""
    print(f"error: {problem.where}: {problem.what}\nnext: {problem.next}", file=sys.stderr)


def note(text: str) -> None:
    """Say something on stderr that is no failure of the whole."""
    print(text, file=sys.stderr)


def print_json(answer: dict[str, Any]) -> None:
    """The one object that a verb prints under --json."""
    print(json.dumps(answer, indent=2))


def print_rich(*things: "RenderableType") -> None:
    """Tables and texts; colours only where stdout is a terminal that has them."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(*things, sep="\n")


def counted(number: int, thing: str) -> str:
    """A number of things: "1 camera", "2 cameras"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def shown(text: object) -> str:
    """Text, or what an error says, on one line: bytes that are not UTF-8 and control characters as escapes.

    A file's name or a device's answer can hold any byte, and a terminal obeys some of them.
    """
    if isinstance(text, OSError) and text.strerror:
        text = text.strerror if text.filename is None else f"{text.filename}: {text.strerror}"
    plain = os.fsencode(str(text)).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
