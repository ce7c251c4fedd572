"""The line along the bottom: the way out, the log, and the frames that were not inspected."""

from ui.backend import BoxView, LinkView, LogView
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.watch import Snapshot
from ui.wording import age, duration


class Lamp:
    """A shape and a text."""

    def __init__(self, name: str) -> None:
        with tag("div", "lamp", role="group", aria_label=name) as self.box:
            self._shape = Shape("none")
            self._text = Text("span")

    def show(self, level: str, text: str) -> None:
        """`level` is good, none, medium or high."""
        put(self.box, "data-level", level)
        self._shape.show(level)
        self._text.text = text
        put(self._text, "title", text)


class StatusBar:
    """Link, log, frames and the box's name."""

    def __init__(self) -> None:
        with tag("section", "status panel", aria_label="State of the box"):
            self._link = Lamp("Receiver")
            self._log = Lamp("Log")
            self._frames = Lamp("Frames")
            self._box = Text("span", classes="box-name")

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of the box itself."""
        view = snapshot.view
        if view is None:
            for lamp, name in ((self._link, "Receiver"), (self._log, "Log"), (self._frames, "Frames")):
                lamp.show("none", f"{name}: not known")
            return
        self._link.show(*_link(view.link))
        self._log.show(*_log(view.log))
        self._frames.show(*_frames(view))
        self._box.text = f"{view.box} · {view.site}"


class Banner:
    """One line across the page while something is wrong that no other part can say loudly enough."""

    def __init__(self) -> None:
        with tag("div", "banner", role="alert") as self._box:
            self._shape = Shape("high")
            self._text = Text("span")

    def show(self, snapshot: Snapshot) -> None:
        """Show it, or hide it."""
        text = _trouble(snapshot)
        self._box.set_visibility(bool(text))
        self._text.text = text


def _trouble(snapshot: Snapshot) -> str:
    if snapshot.view is None:
        return f"The box has not answered for {duration(snapshot.silent_seconds)}. {snapshot.trouble}"
    if not snapshot.view.log.writable:
        return f"The log takes no records: nothing is being kept. {snapshot.view.log.detail}".rstrip()
    return ""


def _link(link: LinkView) -> tuple[str, str]:
    if not link.configured:
        return "none", "No receiver configured: records stay on this box"
    waiting = f"{link.backlog_records:,} record{'' if link.backlog_records == 1 else 's'} waiting"
    held = link.last_receipt_age_seconds
    receipt = "no receipt yet" if held is None else f"receipt {age(held)}"
    if link.connected:
        return "good", f"Receiver connected · {waiting} · {receipt}"
    return "medium", f"Receiver not connected · {waiting} · {receipt}"


def _log(log: LogView) -> tuple[str, str]:
    if log.writable:
        return "good", f"Log is writing · record {log.seq:,}"
    return "high", "LOG NOT WRITABLE"


def _frames(view: BoxView) -> tuple[str, str]:
    seen = sum(camera.seen for camera in view.cameras)
    inspected = sum(camera.inspected for camera in view.cameras)
    dropped = sum(camera.dropped for camera in view.cameras)
    if not dropped and seen == inspected:
        return "good", f"{seen:,} frames inspected"
    text = f"{inspected:,} of {seen:,} inspected"
    return ("medium", f"{text} · {dropped:,} dropped") if dropped else ("good", text)
