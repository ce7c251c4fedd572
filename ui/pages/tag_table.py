"""The process values, each with its unit and its age; an old one is marked, never passed off as new."""

from nicegui.element import Element

from ui.backend import TagView
from ui.pages.elements import Text, put, tag
from ui.watch import Snapshot
from ui.wording import NOTHING, age, value


class TagRow:
    """A value that stands in the same place for as long as the page is open."""

    def __init__(self) -> None:
        with tag("div", "tag") as self.item:
            self._name = Text("dt")
            with tag("dd"):
                self._value = Text("span", classes="tag-value")
                self._age = Text("span", classes="tag-age")

    def show(self, view: TagView | None) -> None:
        """Show this tag; None hides the row."""
        self.item.set_visibility(view is not None)
        if view is None:
            return
        put(self.item, "data-stale", "yes" if view.stale else None)
        self._name.text = view.name
        put(self._name, "title", view.name)
        self._value.text = f"{value(view.value)} {view.unit}".strip()
        self._age.text = f"STALE · {age(view.age_seconds)}" if view.stale else _fresh(view)


def _fresh(view: TagView) -> str:
    if view.value is None:
        return "no reading yet"
    return age(view.age_seconds) if view.quality == "good" else f"{view.quality} · {age(view.age_seconds)}"


class TagTable:
    """All tags of the box."""

    def __init__(self) -> None:
        self._rows: list[TagRow] = []
        with tag("section", "tags panel", aria_label="Process values"):
            with tag("div", "head"):
                Text("h2", "Process values")
                self._count = Text("span", classes="quiet")
            self._none = Text("p", classes="nothing")
            self._list: Element = tag("dl", "rows", tabindex="0", aria_label="List of process values")

    def show(self, snapshot: Snapshot) -> None:
        """Show the tags."""
        tags = () if snapshot.view is None else snapshot.view.tags
        while len(self._rows) < len(tags):
            with self._list:
                self._rows.append(TagRow())
        for index, row in enumerate(self._rows):
            row.show(tags[index] if index < len(tags) else None)
        self._count.text = str(len(tags)) if tags else ""
        self._none.set_visibility(not tags)
        self._none.text = (
            "Not known: the box does not answer"
            if snapshot.view is None
            else f"No tags are configured {NOTHING}"
        ).rstrip(f" {NOTHING}")
