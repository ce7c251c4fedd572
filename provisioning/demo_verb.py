"""`alumiguard demo`: the command line of `demo.py`."""

from pathlib import Path
from typing import Annotated

import typer

from provisioning.answers import fail, verb


@verb
def demo(
    *,
    for_seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", min=1.0, help="Stop by itself after this long."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Show no live view.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help='Write what came of it; "-" is stdout.')
    ] = None,
    outage: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Take the receiver away for this long.")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Which strip: the same number shows the same defects.")
    ] = 1,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the box's and the receiver's files there.")
    ] = None,
) -> None:
    """Show a whole box at work on a simulated line.

    A simulated plant, a box and a receiver run on this machine only, on loopback, and speak the real
    protocols. Ctrl-C stops all of it.

    Exit status: 0 it held together (every frame seen was inspected or counted as dropped, every record
    reached the receiver, both logs verify); 1 it did not.
    """
    from provisioning.demo import DemoOptions
    from provisioning.demo import demo as show
    from provisioning.demo_site import DemoFailed

    try:
        status = show(DemoOptions(for_seconds, headless, json_path, outage, seed, folder))
    except DemoFailed as error:
        raise fail(
            "demo", error, "read what the process that it names wrote; --folder FOLDER keeps it"
        ) from None
    raise typer.Exit(status)
