"""The last defects with their pictures, and what people say of each: real or false, in one tap."""

from collections.abc import Awaitable, Callable, Sequence

from sync.record import Judgement, Verdict
from ui.backend import DefectView
from ui.headline import Sign
from ui.pages.elements import Text, put, tag
from ui.pages.shapes import Shape
from ui.pages.steady import Steady
from ui.watch import Snapshot
from ui.wording import label, local_time, metres

_SIGNS = {Verdict.OK: Sign.OK, Verdict.NG: Sign.NG, Verdict.CHECK: Sign.CHECK}
_SAID = {Judgement.REAL: "Real", Judgement.FALSE: "False", Judgement.MISSED: "Missed"}

Judge = Callable[[DefectView, Judgement], Awaitable[None]]


class DefectCard:
    """A card that shows one defect, and later perhaps another."""

    def __init__(self, judge: Judge) -> None:
        self.defect: DefectView | None = None
        self._judge = judge
        with tag("li", "defect") as self.item:
            with tag("div", "defect-seen"):
                self._picture = tag("img", "crop", loading="eager", draggable="false")
                self._no_picture = Text("span", "No picture kept", "crop no-crop")
                with tag("div", "defect-facts"):
                    with tag("div", "defect-head"):
                        self._shape = Shape(Sign.NG)
                        self._verdict = Text("span")
                    self._label = Text("strong")
                    self._position = Text("span")
                    self._time = Text("span", classes="quiet")
                self._said = Text("span", classes="said")
            with tag("div", "judge"):
                self._real = self._button(Judgement.REAL)
                self._false = self._button(Judgement.FALSE)

    def _button(self, judgement: Judgement) -> Text:
        async def tapped() -> None:
            if self.defect is not None and self.defect.judgement is not judgement:
                await self._judge(self.defect, judgement)

        button = Text("button", classes="action")
        put(button, "type", "button")
        put(button, "data-judgement", judgement.value)
        with button:
            Shape(judgement.value)
            Text("span", _SAID[judgement])
        button.on("click", tapped, args=[])
        return button

    def show(self, defect: DefectView | None, *, can_judge: bool = True) -> None:
        """Show this defect; None hides the card."""
        changed = defect is None or self.defect is None or self.defect.seq != defect.seq
        self.defect = defect
        self.item.set_visibility(defect is not None)
        if defect is None:
            return
        if changed:
            self._show_seen(defect)
        for button, judgement in ((self._real, Judgement.REAL), (self._false, Judgement.FALSE)):
            put(button, "aria-pressed", "true" if defect.judgement is judgement else "false")
            put(button, "disabled", None if can_judge else True)
            put(button, "aria-label", f"{_SAID[judgement]}: {_name(defect)}")
        self._said.set_visibility(defect.judgement is not None)
        self._said.text = f"by {defect.judged_by}"

    def _show_seen(self, defect: DefectView) -> None:
        put(self.item, "data-sign", defect.verdict.name.lower())
        put(self.item, "aria-label", _name(defect))
        kept = defect.evidence_sha256 is not None
        self._picture.set_visibility(kept)
        self._no_picture.set_visibility(not kept)
        put(self._picture, "src", f"/evidence/{defect.evidence_sha256}/marked.jpg" if kept else None)
        put(self._picture, "alt", f"{_labels(defect)}, marked on the picture" if kept else "")
        self._shape.show(_SIGNS[defect.verdict])
        self._verdict.text = f"{defect.verdict.value} · {defect.camera}"
        self._label.text = _labels(defect)
        self._position.text = metres(defect.position_m)
        self._time.text = local_time(defect.at)


class DefectStrip:
    """The newest defects, newest first. It stands still for a moment after somebody has used it."""

    def __init__(self, judge: Judge, steady: Steady) -> None:
        self._judge = judge
        self._steady = steady
        self._cards: list[DefectCard] = []
        self._shown: tuple[DefectView, ...] = ()
        with tag("section", "strip panel", aria_label="Last defects") as section:
            Text("h2", "Last defects")
            self._nothing = Text("p", classes="nothing")
            with tag("ul", "cards", tabindex="0", aria_label="List of the last defects") as self._list:
                pass
            self._newer = Text("span", classes="newer")
            put(self._newer, "role", "status")
        section.on("pointerdown", lambda: steady.used("defects"), args=[])

    def show(self, snapshot: Snapshot) -> None:
        """Show the last defects of the log."""
        defects = self._kept_still(snapshot.defects)
        if [one.seq for one in defects] != [one.seq for one in self._shown]:
            self._steady.moved("defects")
        self._shown = defects
        while len(self._cards) < len(defects):
            with self._list:
                self._cards.append(DefectCard(self._judge))
        for index, card in enumerate(self._cards):
            card.show(defects[index] if index < len(defects) else None, can_judge=snapshot.view is not None)
        newer = sum(one.seq > defects[0].seq for one in snapshot.defects) if defects else 0
        self._newer.text = f"{newer} newer" if newer else ""
        self._newer.set_visibility(newer > 0)
        self._nothing.set_visibility(not defects)
        self._nothing.text = snapshot.defects_trouble or "No defect in the log of this box"

    def _kept_still(self, newest: tuple[DefectView, ...]) -> tuple[DefectView, ...]:
        """The same defects as before while the strip is held, with what has been said of them since."""
        if not self._shown or not self._steady.is_held("defects"):
            return newest
        known = {one.seq: one for one in newest}
        return tuple(known.get(one.seq, one) for one in self._shown)


def _labels(defect: DefectView) -> str:
    return ", ".join(_counted([label(one) for one in defect.labels])) or "Defect"


def _counted(labels: Sequence[str]) -> Sequence[str]:
    return labels if len(labels) <= 2 else [*labels[:2], f"+{len(labels) - 2}"]


def _name(defect: DefectView) -> str:
    return f"{defect.verdict.value} {_labels(defect)} at {metres(defect.position_m)}, {local_time(defect.at)}"
