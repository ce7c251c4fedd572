"""Who is at the line. Not a login: a name or badge number that the records of this tab carry."""

import json
from collections.abc import Callable

from nicegui import Client, ui

from ui.pages.elements import Text, put, tag
from ui.watch import Snapshot

UNNAMED = "unnamed"
"""Written down when nobody has said who they are: a tap is never lost for want of a name."""

NAMES_OFFERED = 6
MOST_LETTERS = 64
"""As `ui.backend.JudgeCommand.by` allows."""


class OperatorName:
    """The name, the dialog to change it, and its memory in the browser's tab (sessionStorage)."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        self.name = UNNAMED
        self._client = client
        self._changed = changed
        self._offered: list[str] = []
        with ui.dialog().props('aria-label="Who is at the line?"') as self._dialog, tag("div", "who panel"):
            Text("h2", "Who is at the line?")
            Text(
                "p", "The name or badge number stands in the log beside what you do. It is no login.", "quiet"
            )
            with tag("div", "who-names"):
                self._buttons = [self._name_button(index) for index in range(NAMES_OFFERED)]
            self._input = ui.input("Name or badge number")
            self._input.props(f'outlined dark autofocus maxlength={MOST_LETTERS} autocomplete="off"')
            self._input.on("keydown.enter", lambda: self.use(self._input.value), args=[])
            with tag("div", "who-done"):
                self._plain_button("Cancel", self._dialog.close)
                self._plain_button("Use this name", lambda: self.use(self._input.value))

    def open(self) -> None:
        """Ask who is at the line."""
        self._input.value = ""
        self._dialog.open()

    def use(self, name: str) -> None:
        """Write this name on what is done from now on."""
        name = " ".join(name.split())[:MOST_LETTERS]
        if not name:
            return
        self.name = name
        self._client.run_javascript(f"sessionStorage.setItem('operator', {json.dumps(name)})")
        self._changed(name)
        self._dialog.close()

    async def recall(self) -> None:
        """Take the name that this tab remembers from before it was loaded again."""
        name = await self._client.run_javascript("return sessionStorage.getItem('operator')", timeout=5.0)
        if isinstance(name, str) and name:
            self.name = name[:MOST_LETTERS]
            self._changed(self.name)

    def show(self, snapshot: Snapshot) -> None:
        """Offer the names that the log has seen lately."""
        names = [self.name if self.name != UNNAMED else ""]
        names += [defect.judged_by or "" for defect in snapshot.defects]
        names += [alarm.acknowledged_by or "" for alarm in (snapshot.view.alarms if snapshot.view else ())]
        offered = [name for name in dict.fromkeys(names) if name not in {"", UNNAMED}][:NAMES_OFFERED]
        if offered == self._offered:
            return
        self._offered = offered
        for index, button in enumerate(self._buttons):
            button.set_visibility(index < len(offered))
            button.text = offered[index] if index < len(offered) else ""

    def _name_button(self, index: int) -> Text:
        button = Text("button", classes="action")
        put(button, "type", "button")
        button.set_visibility(False)
        button.on("click", lambda: self.use(self._offered[index]), args=[])
        return button

    def _plain_button(self, text: str, done: Callable[[], object]) -> None:
        button = Text("button", text, "action")
        put(button, "type", "button")
        button.on("click", done, args=[])
