"""The alarms: what is wrong, what to do, since when, and one tap to say that somebody has seen it."""

from collections.abc import Awaitable, Callable

from ui.backend import AlarmView, BoxView
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.pages.steady import Steady
from ui.watch import Snapshot
from ui.wording import duration, seconds_between, value

MOST_ROWS = 30
_PRIORITY = {"high": 0, "medium": 1, "low": 2}


class AlarmRow:
    """A row that shows one alarm, and later perhaps another."""

    def __init__(self, acknowledge: Callable[[AlarmView], Awaitable[None]]) -> None:
        self.alarm: AlarmView | None = None
        self._acknowledge = acknowledge
        with tag("li", "alarm") as self.item:
            self._shape = Shape("low", "alarm-shape")
            with tag("div", "alarm-text"):
                with tag("div", "alarm-head"):
                    self._priority = Text("span", classes="priority")
                    self._age = Text("span", classes="quiet")
                self._text = Text("strong")
                self._action = Text("span", classes="alarm-action")
            with tag("button", "action", type="button") as self._button:
                self._done = Text("span")
        self._button.on("click", self._tapped, args=[])

    async def _tapped(self) -> None:
        if self.alarm is not None:
            await self._acknowledge(self.alarm)

    def show(self, alarm: AlarmView | None, now: str = "") -> None:
        """Show this alarm; None hides the row."""
        self.alarm = alarm
        self.item.set_visibility(alarm is not None)
        if alarm is None:
            return
        put(self.item, "data-priority", alarm.priority)
        put(self.item, "data-state", _state(alarm))
        self._shape.show(alarm.priority)
        self._priority.text = (
            alarm.priority.upper() if alarm.active else f"{alarm.priority.upper()} · CLEARED"
        )
        lasted = duration(seconds_between(alarm.raised_at, now))
        measured = "" if alarm.value is None else f" · {value(alarm.value)} {alarm.unit}".rstrip()
        again = f" ×{alarm.times:,}" if alarm.times > 1 else ""
        self._age.text = f"{lasted} ago{again}{measured}"
        self._text.text = alarm.text
        self._action.text = alarm.action
        seen = alarm.acknowledged_by is not None
        self._done.text = f"Seen by {alarm.acknowledged_by}" if seen else "Acknowledge"
        put(self._button, "aria-label", self._done.text if seen else f"Acknowledge: {alarm.text}")
        put(self._button, "disabled", True if seen else None)


class AlarmList:
    """All alarms that are active, or cleared and not yet seen by anybody."""

    def __init__(self, acknowledge: Callable[[AlarmView], Awaitable[None]], steady: Steady) -> None:
        self._acknowledge = acknowledge
        self._steady = steady
        self._rows: list[AlarmRow] = []
        with tag("section", "alarms panel", aria_label="Alarms"):
            with tag("div", "head"):
                Text("h2", "Alarms")
                self._count = Text("span", classes="count", text="")
            self._none = Text("p", classes="nothing")
            with tag("ul", "rows", tabindex="0", aria_label="List of alarms") as self._list:
                pass

    def show(self, snapshot: Snapshot) -> None:
        """Show the alarms, those that nobody has seen first."""
        view = snapshot.view
        alarms = [] if view is None else sorted(view.alarms, key=_rank)[:MOST_ROWS]
        before = [row.alarm.raised_seq for row in self._rows if row.alarm is not None]
        if before != [alarm.raised_seq for alarm in alarms]:
            self._steady.moved("alarms")
        while len(self._rows) < len(alarms):
            with self._list:
                self._rows.append(AlarmRow(self._acknowledge))
        for index, row in enumerate(self._rows):
            row.show(alarms[index] if index < len(alarms) else None, "" if view is None else view.at)
        self._none.set_visibility(not alarms)
        self._none.text = "Not known: the box does not answer" if view is None else "No alarms"
        self._count.text = "" if view is None else _count(view)


def _state(alarm: AlarmView) -> str:
    if alarm.acknowledged_by is not None:
        return "seen"
    return "unseen" if alarm.active else "cleared"


def _rank(alarm: AlarmView) -> tuple[bool, bool, int, int]:
    return (alarm.acknowledged_by is not None, not alarm.active, _PRIORITY[alarm.priority], -alarm.raised_seq)


def _count(view: BoxView) -> str:
    if not view.alarms:
        return ""
    unseen = sum(alarm.acknowledged_by is None for alarm in view.alarms)
    more = f", {len(view.alarms) - MOST_ROWS} not listed" if len(view.alarms) > MOST_ROWS else ""
    of_all = "" if unseen == len(view.alarms) else f" of {len(view.alarms)}"
    return f"{unseen}{of_all} not acknowledged{more}"
