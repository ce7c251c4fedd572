"""`alumiguard inspect`: the box's own detector over pictures, folders, videos and cameras' streams."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioning.answers import (
    Failure,
    Json,
    Problem,
    counted,
    fail,
    note,
    print_json,
    print_rich,
    shown,
    verb,
)
from provisioning.configuration import read

if TYPE_CHECKING:
    from appliance.config import ModelSection, Recipe
    from provisioning.judge import Judge
    from provisioning.report import Album
    from provisioning.sources import Work
    from provisioning.tally import Tally

SOME_SKIPPED_STATUS = 2
INTERRUPTED_STATUS = 130
OTHERS = "name a picture, a video or a folder of them"


@verb
def inspect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|URL…", help="Pictures, videos, folders of them; http:// (MJPEG) or rtsp://."
        ),
    ],
    *,
    model: Annotated[
        str | None, typer.Option(metavar="FILE", help='A model package; "demo" is the one that ships.')
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Accept packages that this public key has signed. May be repeated."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take model and recipe from this box configuration.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a self-contained HTML report with the pictures."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", min=0.1, help="Leave each stream after this long."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Leave each stream after this many inspected frames."),
    ] = None,
    username: Annotated[
        str | None, typer.Option(metavar="NAME", help="Log-in at the streams' cameras.")
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The first line is the password.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find defects in pictures, videos and streams as a box would.

    A file that is empty, cut off, unreadable or no picture is named and skipped. Without --for or --frames a
    stream is inspected until Ctrl-C.

    Exit status: 0 all was inspected; 1 nothing could be inspected; 2 some of it was skipped; 130 interrupted
    before the end.
    """
    from provisioning.inspection import inspect_all
    from provisioning.judge import Judge
    from provisioning.report import Album
    from provisioning.sources import Bounds

    refuse_unwritable(report)
    judge = Judge.load(*model_and_recipe(model, key or [], config))
    work = plan(sources, username, password_file, report)
    album = Album() if report is not None else None
    tally, interrupted = inspect_all(judge, work, Bounds(seconds, frames), album)
    answer = {**judge.as_json(), **tally.as_json(), "interrupted": interrupted}
    if report is not None and album is not None and tally.judged:
        write_report(report, judge, tally, album)
        answer["report"] = shown(report)
    if as_json and tally.judged:
        print_json(answer)
    elif tally.judged:
        print_tally(tally, report)
    end(tally, answer, interrupted=interrupted)


def end(tally: "Tally", answer: dict[str, Any], *, interrupted: bool) -> None:
    """Leave with the exit status that says what came of it."""
    if not tally.judged:
        problems = [Problem.of(s.source, s.reason, s.next_step or OTHERS) for s in tally.skipped]
        nothing = Problem.of("inspect", "there was no picture to inspect", OTHERS)
        raise Failure(problems or [nothing], also=answer)
    for skipped in tally.skipped:
        place = skipped.source if skipped.frame is None else f"{skipped.source}, frame {skipped.frame}"
        note(f"skipped: {place}: {skipped.reason}")
    if interrupted:
        raise typer.Exit(INTERRUPTED_STATUS)
    if tally.skipped:
        raise typer.Exit(SOME_SKIPPED_STATUS)


def model_and_recipe(
    model: str | None, keys: Sequence[Path], config: Path | None
) -> "tuple[ModelSection, Recipe | None]":
    """What judges: from the box's configuration where one is named, else the package alone."""
    from appliance.config import ModelSection

    box = read(config) if config is not None else None
    section = box.model if box is not None else ModelSection()
    section = ModelSection(
        package=model or section.package, trusted_key_files=(*section.trusted_key_files, *keys)
    )
    return section, box.recipe if box is not None else None


def plan(
    sources: Sequence[str], username: str | None, password_file: Path | None, report: Path | None
) -> "list[Work]":
    """What there is to do: one item a file and a stream.

    Raises:
        Failure: if an address is none; then nothing has been opened.
    """
    from provisioning.sources import files_of, is_url, stream

    work: list[Work] = []
    for source in sources:
        if not is_url(source):
            work += files_of(Path(source), report)
            continue
        try:
            work.append(stream(source, username, password_file))
        except ValueError as error:
            raise fail(source, error, "see `alumiguard inspect --help`") from None
    return work


def refuse_unwritable(report: Path | None) -> None:
    """Find out before the work, not after it, that its report cannot be kept.

    Raises:
        Failure: if there is no folder to write it to, or no right to, or somebody's file is there.
    """
    from provisioning.report import is_report

    if report is None:
        return
    if (
        report.is_dir()
        or not os.access(report.parent, os.W_OK)
        or (report.exists() and not os.access(report, os.W_OK))
    ):
        raise fail(
            report, "the report cannot be written there", "name a file in a folder that you may write to"
        )
    try:
        foreign = report.is_file() and report.stat().st_size > 0 and not is_report(report)
    except OSError as error:
        raise fail(report, f"the file there cannot be read ({error.strerror})", "name another file") from None
    if foreign:
        next_step = "name a file that does not exist; only an earlier report is written over"
        raise fail(report, "there is a file that is no inspection report, and it is kept", next_step)


def write_report(report: Path, judge: "Judge", tally: "Tally", album: "Album") -> None:
    """Render the report and write it.

    Raises:
        Failure: if it cannot be written.
    """
    from provisioning.report import render

    try:
        report.write_text(render(judge, tally, album), encoding="utf-8")
    except OSError as error:
        raise fail(
            report, f"the report cannot be written ({error.strerror})", "make room, or name another file"
        ) from None


def print_tally(tally: "Tally", report: Path | None) -> None:
    """A table of the defects by class, and the verdicts."""
    from rich.table import Table

    from sync.record import Verdict

    if tally.classes:
        table = Table("defect", box=None, pad_edge=False)
        for heading in ("count", "pictures", "surest"):
            table.add_column(heading, justify="right")
        for label, of_class in tally.most_frequent():
            table.add_row(
                shown(label), str(of_class.count), str(of_class.pictures), f"{of_class.max_confidence:.2f}"
            )
        print_rich(table)
    verdicts = ", ".join(f"{tally.verdicts[verdict]} {verdict}" for verdict in Verdict)
    inspected = counted(len(tally.judged), "picture")
    print(f"{inspected} inspected: {verdicts}; {len(tally.skipped)} skipped")
    if report is not None:
        print(f"report: {shown(report)}")
