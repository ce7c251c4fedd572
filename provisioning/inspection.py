"""The inspection itself: a detector and a recipe over whatever the sources offer."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from drivers.camera_folder import PictureError
from provisioning.judge import Judge
from provisioning.report import Album
from provisioning.sources import Bounds, Offered, Work, offered_by
from provisioning.tally import Skipped, Tally


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
