"""Tells the operator when the page itself is no longer being told anything."""

from nicegui.element import Element

from ui.pages.elements import put


class Pulse(Element, component="pulse.js"):
    """Counts up while the console lives; when it stands still for two seconds the browser covers the page."""

    def __init__(self) -> None:
        super().__init__()
        self._beat = 0

    def beat(self) -> None:
        """The console lives."""
        self._beat = (self._beat + 1) % 1_000_000
        put(self, "beat", self._beat)
