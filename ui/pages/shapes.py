"""Signs drawn as vectors: every state has a shape of its own, so that colour never has to carry it."""

from collections.abc import Mapping, Sequence

from nicegui.element import Element

from ui.headline import Sign
from ui.pages.elements import put, tag

Path = tuple[str, str]
"""How a path is painted ("line", "area" or "hole") and where it runs, in a square of 100 by 100."""

_OCTAGON = "M32 4 H68 L96 32 V68 L68 96 H32 L4 68 V32 Z"
_TRIANGLE = "M50 7 L97 91 H3 Z"

_SHAPES: Mapping[str, Sequence[Path]] = {
    # a ring
    Sign.OK: [("line", "M50 9 A41 41 0 1 1 49.9 9 Z")],
    # an octagon with a cross
    Sign.NG: [("area", _OCTAGON), ("hole", "M33 33 L67 67 M67 33 L33 67")],
    # a triangle with an exclamation mark
    Sign.CHECK: [("area", _TRIANGLE), ("hole", "M50 36 V62 M50 76 V77")],
    # a square with a bar through it
    Sign.NOT_INSPECTING: [("line", "M10 10 H90 V90 H10 Z"), ("line", "M10 90 L90 10")],
    # a diamond with a question mark
    Sign.NOT_ANSWERING: [
        ("line", "M50 5 L95 50 L50 95 L5 50 Z"),
        ("line", "M39 41 A11 11 0 1 1 50 54 V59 M50 71 V72"),
    ],
    "high": [("area", _OCTAGON), ("hole", "M50 26 V56 M50 72 V73")],
    "medium": [("area", _TRIANGLE), ("hole", "M50 36 V62 M50 76 V77")],
    "low": [("area", "M8 8 H92 V92 H8 Z"), ("hole", "M50 70 V44 M50 28 V27")],
    "good": [("line", "M50 12 A38 38 0 1 1 49.9 12 Z"), ("line", "M33 51 L46 64 L69 38")],
    "none": [("line", "M12 50 H88")],
    "real": [("line", "M14 54 L40 80 L88 24")],
    "false": [("line", "M20 20 L80 80 M80 20 L20 80")],
    "missed": [("line", "M50 12 V88 M12 50 H88")],
    "person": [("line", "M50 12 A18 18 0 1 1 49.9 12 Z"), ("line", "M14 90 C14 58 86 58 86 90")],
}


class Shape:
    """A drawing that can become another one in place. It is decoration: its text stands beside it."""

    def __init__(self, name: str, classes: str = "") -> None:
        with tag(
            "svg", f"shape {classes}", viewBox="0 0 100 100", aria_hidden="true", focusable="false"
        ) as svg:
            self._paths: list[Element] = [tag("path"), tag("path")]
        self.svg = svg
        self.show(name)

    def show(self, name: str) -> None:
        """Draw this one."""
        drawn = [*_SHAPES[name], ("line", ""), ("line", "")]
        for path, (paint, line) in zip(self._paths, drawn, strict=False):
            put(path, "d", line)
            put(path, "class", f"paint-{paint}")
