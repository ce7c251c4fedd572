"""What is being made: lot, position, speed, recipe and model stand here always."""

from collections.abc import Callable
from typing import Literal

from ui.backend import BoxView, TagView
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.watch import Snapshot
from ui.wording import NOTHING, age, local_time, metres, value


class Fact:
    """A name and a value that may be stale; one longer than `letters` is written smaller, on two lines."""

    def __init__(self, name: str, *, letters: int = 13) -> None:
        self._letters = letters
        with tag("div", "fact") as self.box:
            self._name = Text("dt", name)
            self._value = Text("dd")

    def show(self, text: str, note: str = "", *, kind: Literal["stale", "plain"] = "stale") -> None:
        """Show the value, and below it what has to be known to trust it."""
        self._value.text = f"{text}\n{note}" if note else text
        put(self._value, "title", text)
        put(self.box, "data-long", "yes" if len(text) > self._letters else None)
        put(self.box, "data-note", kind if note else None)


class JobBar:
    """The bar along the top, with the operator's name and the box's clock."""

    def __init__(self, name_operator: Callable[[], None]) -> None:
        with tag("section", "job panel", aria_label="Job"):
            with tag("dl", "facts"):
                self._lot = Fact("Lot")
                self._position = Fact("Position")
                self._speed = Fact("Line speed")
                self._recipe = Fact("Recipe", letters=8)
                self._model = Fact("Model")
                self._clock = Fact("Box time")
            with tag("button", "action operator", type="button") as self._button:
                Shape("person")
                with tag("span", "who-is"):
                    Text("span", "Operator", "quiet")
                    self._operator = Text("span", classes="name")
        self._button.on("click", name_operator, args=[])

    def show(self, snapshot: Snapshot) -> None:
        """Show the job."""
        if snapshot.view is None:
            for fact in (self._lot, self._position, self._speed, self._recipe, self._model, self._clock):
                fact.show(NOTHING)
        else:
            self._show_job(snapshot.view)

    def show_operator(self, name: str) -> None:
        """Show who is at the line."""
        self._operator.text = name
        put(self._button, "aria-label", f"Operator: {name}. Change")

    def _show_job(self, view: BoxView) -> None:
        self._lot.show(view.lot or NOTHING)
        self._position.show(metres(view.position_m))
        self._show_speed(view.speed)
        self._recipe.show(view.recipe or NOTHING)
        self._model.show(view.model or NOTHING)
        self._show_clock(view)

    def _show_clock(self, view: BoxView) -> None:
        if view.clock == "unset":
            self._clock.show(local_time(view.at), "not set")
        else:
            note = "" if view.clock in {"ntp", "receipt"} else "not synchronised"
            self._clock.show(local_time(view.at), note, kind="plain")

    def _show_speed(self, speed: TagView | None) -> None:
        if speed is None:
            self._speed.show(NOTHING)
        else:
            note = age(speed.age_seconds) if speed.stale else ""
            self._speed.show(f"{value(speed.value)} {speed.unit}".strip(), note)
