"""`alumiguard demo`: an aluminium line is inspected on this machine, by real protocols and processes."""

import dataclasses
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from drivers.simulated.strip import Strip
from provisioning import demo_outcome
from provisioning.demo_site import BOX_ID, DemoFailed, Site
from sync import chain, record
from sync.verify import verify_log
from ui.backend import BoxView, CameraState

INTERRUPTED = 130
"""Exit status when Ctrl-C came before the first verdict: 128 and the signal's number, as shells say it."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `alumiguard demo` was asked for. `for_seconds` None: until Ctrl-C."""

    for_seconds: float | None
    headless: bool
    json_path: Path | None
    outage_seconds: float
    seed: int
    keep_folder: Path | None


class _Interrupted(Exception):
    """Ctrl-C or SIGTERM: stop in good order and still say what was achieved."""


def demo(options: DemoOptions) -> int:
    """Run the demo; 0 if everything held together, 1 if not, INTERRUPTED if it was stopped while starting.

    Raises:
        DemoFailed: if a part of it did not come up.
    """
    screen = Console(stderr=options.json_path is not None and str(options.json_path) == "-")
    with _folder(options.keep_folder) as folder, _signals_interrupt():
        site = Site(folder, options.seed)
        began = time.monotonic()
        try:
            with screen.status("Starting …") as waiting:
                site.put_up(lambda part: waiting.update(f"Starting {part} …"))
                waiting.update("Waiting for the first verdict …")
                site.wait_for("the inspection", lambda: _inspecting(site.status()))
            startup_seconds = time.monotonic() - began
            last = _watch(site, options, screen)
            site.wait_for("the receiver's next receipt", lambda: _connected(site.status()))
            screen.print("Stopping the box, and comparing what the receiver holds with the truth …")
            site.stop("box")
            outcome = _outcome(site, last, startup_seconds)
        except _Interrupted:
            screen.print("Stopped before anything was inspected.")
            return INTERRUPTED
        finally:
            site.stop_all()
    _show_outcome(screen, outcome)
    if options.json_path is not None:
        _write_json(options.json_path, outcome)
    return 0 if outcome["holds_together"] else 1


def _inspecting(view: BoxView | None) -> bool:
    return view is not None and any(camera.state is CameraState.INSPECTING for camera in view.cameras)


def _connected(view: BoxView | None) -> bool:
    return view is not None and view.link.connected


# --- while it runs ----------------------------------------------------------------------------------------


def _watch(site: Site, options: DemoOptions, screen: Console) -> BoxView:
    """Show the box until the time is over or someone interrupts; the last status it gave."""
    began = time.monotonic()
    view = site.status()
    outage = _Outage(site, options)
    screen.print(_where(site))
    try:
        with Live(console=screen, refresh_per_second=4) as live:
            while options.for_seconds is None or time.monotonic() - began < options.for_seconds:
                elapsed = time.monotonic() - began
                outage.at(elapsed)
                view = site.status() or view
                site.note_memory()
                if view is not None and not options.headless:
                    live.update(_progress(view, elapsed, options.for_seconds, outage))
                time.sleep(_POLL_SECONDS)
    except _Interrupted:
        screen.print("Stopping …")
    outage.end()
    if view is None:
        raise DemoFailed(f"the box never answered; see the logs in {site.folder}")
    return site.status() or view


class _Outage:
    """Takes the receiver away for a while in the middle of the demo."""

    def __init__(self, site: Site, options: DemoOptions) -> None:
        self._site = site
        self._seconds = options.outage_seconds
        self._from = max(3.0, ((options.for_seconds or 30.0) - self._seconds) / 3)
        self.running = False
        self._over = self._seconds <= 0

    def at(self, elapsed: float) -> None:
        """Begin or end it, by the demo's time."""
        if not self._over and not self.running and elapsed >= self._from:
            self._site.stop("receiver")
            self.running = True
        if self.running and elapsed >= self._from + self._seconds:
            self.end()

    def end(self) -> None:
        """Bring the receiver back."""
        if self.running:
            self._site.start_receiver()
            self.running = False
            self._over = True


def _where(site: Site) -> Panel:
    lines = Text()
    for name, value in (
        ("Console   ", site.console_url),
        ("Receiver  ", site.receiver_url),
        ("Reader key", site.reader_key),
        ("Folder    ", str(site.folder)),
    ):
        lines.append(f"{name}  ", style="dim").append(f"{value}\n")
    lines.append("Stop with Ctrl-C.", style="dim")
    return Panel(lines, title="AlumiGuard Edge demo", expand=False)


_MARKS = {"OK": "● OK", "NG": "✖ NG", "CHECK": "▲ CHECK"}
_STYLES = {"OK": "bold green", "NG": "bold red", "CHECK": "bold yellow"}


def _progress(view: BoxView, elapsed: float, total: float | None, outage: _Outage) -> Group:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    remaining = "" if total is None else f" of {total:g}"
    table.add_row("time", f"{elapsed:.0f}{remaining} s")
    for camera in view.cameras:
        verdict = camera.verdict.value if camera.verdict else ""
        state = Text(_MARKS.get(verdict, camera.state.value), style=_STYLES.get(verdict, "bold"))
        found = ", ".join(f"{d.label} {d.confidence:.0%}" for d in camera.found)
        table.add_row(f"camera {camera.name}", state.append(f"  {found}", style="default not bold"))
        counts = f"{camera.seen} seen = {camera.inspected} inspected + {camera.dropped} dropped"
        table.add_row("frames", f"{counts}, {camera.frames_per_second:.1f}/s")
    speed = view.speed
    if speed is not None and speed.value is not None:
        table.add_row(
            "line", f"{view.lot or 'no lot'}, {speed.value:.1f} {speed.unit}, {view.position_m or 0:.1f} m"
        )
    table.add_row("readings", ", ".join(f"{name} {count}" for name, count in view.readings.items()))
    for stage in ("infer", "verdict", "output"):
        if (ms := view.stage_ms.get(stage)) is not None:
            table.add_row(stage, f"{ms['p50']:.1f} ms, p99 {ms['p99']:.1f} ms")
    table.add_row("log", f"{view.log.seq} records, {view.link.backlog_records} not yet at the receiver")
    link = "connected" if view.link.connected else f"[bold]not connected[/] {view.link.detail}"
    table.add_row("receiver", "taken away (outage)" if outage.running else link)
    active = [alarm.text for alarm in view.alarms if alarm.active]
    unseen = sum(alarm.acknowledged_by is None for alarm in view.alarms)
    table.add_row("alarms", "; ".join(active) or f"none active, {unseen} to acknowledge")
    return Group(table)


# --- afterwards -------------------------------------------------------------------------------------------


def _outcome(site: Site, view: BoxView, startup_seconds: float) -> dict[str, Any]:
    """Everything the demo promises, from the receiver's records, the box's log and the generator."""
    held = site.held_lines()
    lines = [held[seq] for seq in sorted(held)]
    records = [record.decode(line) for line in lines]
    box_report = verify_log(site.storage / "box.db", None)
    frames = demo_outcome.frames(records)
    truth = demo_outcome.against_truth(records, Strip(site.seed))
    appended = box_report.records
    chain_held = {"box": box_report.ok, "receiver": _chain_holds(site, lines)}
    inspected_by_number = len(demo_outcome.inspected_frames(records))
    return {
        "frames": dataclasses.asdict(frames),
        "verdicts": demo_outcome.verdicts(records),
        "truth": dataclasses.asdict(truth),
        "latency_ms": {
            stage: {"p50": ms["p50"], "p99": ms["p99"]} for stage, ms in sorted(view.stage_ms.items())
        },
        "tags": {"opcua": view.readings.get("opcua", 0), "modbus": view.readings.get("modbus", 0)},
        "alarms": sum(held.kind == "alarm.raised" for held in records),
        "records": {"appended": appended, "received": len(lines)},
        "chain": chain_held,
        "startup_seconds": round(startup_seconds, 2),
        "peak_rss_mb": {name: round(size / 1e6, 1) for name, size in sorted(site.peak_rss_bytes.items())},
        "holds_together": (
            frames.seen == frames.inspected + frames.dropped
            and frames.inspected == inspected_by_number > 0
            and appended == len(lines)
            and all(chain_held.values())
        ),
    }


def _chain_holds(site: Site, lines: list[bytes]) -> bool:
    """Whether the lines that the receiver gives lead to the heads that it signed for, epoch by epoch."""
    boxes = site.ask_receiver("/v1/boxes").json()["boxes"]
    epochs = [epoch for box in boxes if box["box"] == BOX_ID for epoch in box["epochs"]]
    if len(epochs) != 1:
        return False
    head = chain.chain_start(BOX_ID, epochs[0]["epoch"])
    for line in lines:
        head = chain.chain_step(head, chain.leaf_hash(line))
    held: bool = head.hex() == epochs[0]["head"] and epochs[0]["seq"] == len(lines)
    return held


def _show_outcome(screen: Console, outcome: dict[str, Any]) -> None:
    frames, truth, records = outcome["frames"], outcome["truth"], outcome["records"]
    table = Table(title="What the demo achieved", show_header=False)
    seen = f"{frames['seen']} seen = {frames['inspected']} inspected + {frames['dropped']} dropped"
    table.add_row("frames", seen)
    table.add_row("verdicts", ", ".join(f"{name} {count}" for name, count in outcome["verdicts"].items()))
    table.add_row("defects", f"{truth['defects']} in view, {truth['escapes']} escaped")
    table.add_row("clean frames", f"{truth['clean_frames']}, {truth['false_rejects']} falsely rejected")
    for stage, ms in outcome["latency_ms"].items():
        table.add_row(f"latency {stage}", f"p50 {ms['p50']:.1f} ms, p99 {ms['p99']:.1f} ms")
    table.add_row("records", f"{records['appended']} appended, {records['received']} received")
    table.add_row("chain verified", f"box {outcome['chain']['box']}, receiver {outcome['chain']['receiver']}")
    table.add_row("alarms", str(outcome["alarms"]))
    memory = ", ".join(f"{name} {mb:.0f}" for name, mb in outcome["peak_rss_mb"].items())
    table.add_row("start to first verdict", f"{outcome['startup_seconds']} s")
    table.add_row("peak memory, MB", memory)
    screen.print(table)
    held = outcome["holds_together"]
    screen.print("Everything holds together." if held else "It does NOT hold together.", style="bold")


def _write_json(path: Path, outcome: dict[str, Any]) -> None:
    text = json.dumps(outcome, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise DemoFailed(f"{keep} is not empty; name a new folder for --folder")
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="alumiguard-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `_Interrupted`, and let none disturb the tidying up after it."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise _Interrupted

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
