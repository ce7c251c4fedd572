"""The verdict, to be read from five metres: a shape, a word and a colour that agree."""

from ui.headline import Sign, headline
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.watch import Snapshot


class VerdictPanel:
    """The largest thing on the page."""

    def __init__(self) -> None:
        with tag("section", "verdict panel", aria_label="Verdict", role="status") as self.section:
            self._shape = Shape(Sign.NOT_ANSWERING)
            self._word = Text("h1", classes="word")
            self._detail = Text("p", classes="detail")

    def show(self, snapshot: Snapshot) -> None:
        """Show the sign for all cameras."""
        now = headline(snapshot.view, snapshot.held)
        put(self.section, "data-sign", now.sign.name.lower())
        self._shape.show(now.sign)
        self._word.text = now.sign.value
        self._detail.text = now.detail
