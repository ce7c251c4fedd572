"""Plain HTML elements that are changed in place, and only when something changed.

Text goes to the browser as text and is never read as HTML there.
"""

from typing import Any

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement


class Text(TextElement):
    """An element that holds one text: `Text("span", "12.3 m").text = "12.4 m"`."""

    def __init__(self, tag: str, text: str = "", classes: str = "") -> None:
        super().__init__(text=text, tag=tag)
        self.classes(classes)


def tag(name: str, classes: str = "", **attributes: str) -> Element:
    """An HTML element: `tag("section", "alarms", aria_label="Alarms")`."""
    element = Element(name)
    element.classes(classes)
    for attribute, text in attributes.items():
        put(element, attribute.replace("_", "-"), text)
    return element


def put(element: Element, attribute: str, content: Any) -> None:
    """Set an attribute of an element, None takes it away; the browser hears of it only when it changed."""
    if content is None:
        if attribute in element.props:
            del element.props[attribute]
    elif element.props.get(attribute) != content:
        element.props[attribute] = content
