"""`alumiguard status`: what the box says of itself now, over its control socket."""

import re
import socket as socket_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning.answers import (
    DEFAULT_CONFIG,
    ConfigPath,
    Json,
    counted,
    fail,
    print_json,
    print_rich,
    shown,
    verb,
)
from provisioning.configuration import read

if TYPE_CHECKING:
    from rich.table import Table

    from ui.backend import BoxView, TagView

ANSWER_SECONDS = 5.0
ATTENTION_STATUS = 2


@verb
def status(
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The control socket, where there is no configuration at hand."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the running box sees, holds and lacks.

    Exit status: 0 it runs and inspects; 1 it does not answer; 2 it runs, but something needs attention.
    """
    view = ask(socket if socket is not None else read(config).storage.control_socket, config)
    needs = attention(view)
    if as_json:
        print_json({**view.model_dump(mode="json"), "attention": needs})
    else:
        print_view(view)
        for need in needs:
            print(f"attention: {shown(need)}")
    if needs:
        raise typer.Exit(ATTENTION_STATUS)


def ask(socket: Path, config: Path) -> "BoxView":
    """The box's own view of itself.

    Raises:
        Failure: if nobody answers on the socket, or not in a way that this version understands.
    """
    import httpx
    from pydantic import ValidationError

    from ui.backend import BoxView

    knock(socket, config)
    try:
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://box", timeout=ANSWER_SECONDS) as client:
            answer = client.get("/v1/status").raise_for_status()
        return BoxView.model_validate_json(answer.content)
    except httpx.TimeoutException:
        next_step = "look into its log; if it stays so, stop it and start it again"
        raise fail(socket, f"the box does not answer within {ANSWER_SECONDS:g} s", next_step) from None
    except (httpx.HTTPError, ValidationError) as error:
        next_step = "use the alumiguard command of the version that runs as the box"
        raise fail(socket, f"the box answers in a way that is not understood ({error})", next_step) from None


def knock(path: Path, config: Path) -> None:
    """See whether anybody listens on the socket, and why not.

    Raises:
        Failure: if nobody does, or this user may not ask.
    """
    try:
        with socket_module.socket(socket_module.AF_UNIX) as probe:
            probe.settimeout(ANSWER_SECONDS)
            probe.connect(str(path))
    except PermissionError:
        raise fail(
            path, "this user may not ask the box", "call it as the user that the box runs as"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        next_step = f"start the box: alumiguard run --config {shown(config)}"
        raise fail(path, f"the box is not running, nobody answers here ({reason})", next_step) from None


def attention(view: "BoxView") -> list[str]:
    """What keeps this box from inspecting and recording, and the alarms that somebody has to see."""
    from ui.backend import CameraState

    needs = [
        f"camera {c.name} is {c.state}: {c.detail}"
        for c in view.cameras
        if c.state is not CameraState.INSPECTING
    ]
    needs += [f"the {p.name} process is down" for p in view.processes if not p.running]
    if not view.log.writable:
        needs.append(f"the log takes no record: {view.log.detail}")
    needs += [f"alarm {a.alarm} ({a.priority}): {a.text}. {a.action}" for a in view.alarms if a.active]
    return needs


def print_view(view: "BoxView") -> None:
    """The view as tables."""
    facts = table()
    for name, fact in facts_of(view):
        facts.add_row(name, shown(fact))
    cameras = table("camera", "state", "verdict", "seen", "inspected", "dropped", "frames/s")
    for c in view.cameras:
        counts = (str(c.seen), str(c.inspected), str(c.dropped), f"{c.frames_per_second:.1f}")
        cameras.add_row(c.name, c.state.value, c.verdict.value if c.verdict else "none", *counts)
    tags = table("tag", "value", "quality", "age")
    for t in view.tags:
        tags.add_row(t.name, shown(amount(t) if t.value is not None else "none"), t.quality, age(t))
    print_rich(facts, "", cameras, "", tags)


def facts_of(view: "BoxView") -> list[tuple[str, str]]:
    """The box as a whole."""
    link, log, speed = view.link, view.log, view.speed
    backlog = counted(link.backlog_records, "record")
    way_out = f"{'up' if link.connected else 'down'}, {backlog} to send. {link.detail}"
    position = "unknown" if view.position_m is None else f"{view.position_m:.2f} m"
    speed_now = "unknown" if speed is None else f"{amount(speed)} ({age(speed)} old)"
    processes = (
        f"{p.name} {'runs' if p.running else 'is down'}, restarts: {p.restarts}" for p in view.processes
    )
    return [
        ("box", f"{view.box} at {view.site}"),
        ("time", f"{to_the_second(view.at)} (clock: {view.clock})"),
        ("judges by", f"model {view.model}, recipe {view.recipe}"),
        ("lot", f"{view.lot or 'unknown'} at {position}, speed {speed_now}"),
        ("log", f"{counted(log.seq, 'record')} in epoch {log.epoch}"),
        ("way out", way_out if link.configured else "no receiver is configured"),
        ("processes", "; ".join(processes)),
    ]


def amount(tag: "TagView") -> str:
    """A value as a person reads it; --json has all its digits."""
    value = round(tag.value, 2) if isinstance(tag.value, float) else tag.value
    return f"{value} {tag.unit}".rstrip()


def to_the_second(at: str) -> str:
    """A time in ISO 8601 without the fraction of its second."""
    return re.sub(r"(:\d\d)\.\d+", r"\1", at)


def age(tag: "TagView") -> str:
    """How old a value is."""
    if tag.age_seconds is None:
        return "never read"
    return f"{tag.age_seconds:.1f} s{', stale' if tag.stale else ''}"


def table(*headings: str) -> "Table":
    """A table without lines, which stays readable when it is copied into a mail."""
    from rich.table import Table

    return Table(*headings, box=None, pad_edge=False, show_header=bool(headings))
