"""What a configuration's validator found, as a sentence and a next step for who wrote the file."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

_LIST_TYPES = ("tuple_type", "list_type")
_TABLE_TYPES = ("dict_type", "model_type", "model_attributes_type", "mapping_type")

_NAMED = "letters, digits, '_', '.' and '-', beginning with a letter or digit"
_SHAPES = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": (
        "small letters, digits and hyphens, beginning with a letter or digit, at most 63 in all"
    ),
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": _NAMED,
    r"^https?://[^\s/]+(/[^\s]*)?$": "an address: https://HOST or https://HOST:PORT, without spaces",
    r"^(ns=[0-9]+;)?[isgb]=.+$": "an OPC UA node id: ns=2;s=Line.Speed, or ns=2;i=1001",
}
"""The patterns of the sections and drivers in words; a test holds that none is missing."""

_KINDS = {
    "string": ("a text", 'Write it in quotes: "…"'),
    "path": ("a path", 'Write it in quotes: "/a/path"'),
    "int": ("a whole number", "Write a whole number, without quotes"),
    "float": ("a number", "Write a number, without quotes"),
    "finite": ("a finite number", "Write a number, without quotes"),
    "bool": ("true or false", "Write true or false, without quotes"),
}
_KEYS = {
    "missing": ("is missing", "Add it"),
    "extra_forbidden": ("is not known here", "Remove it, or check its spelling"),
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def in_words(detail: Mapping[str, Any]) -> tuple[str, str]:
    """What is wrong, and what to do. `detail` is one entry of pydantic's `ValidationError.errors()`."""
    kind, given, context = str(detail["type"]), detail["input"], detail.get("ctx", {})
    if kind in _KEYS:
        return _KEYS[kind]
    if kind in ("literal_error", "enum", "union_tag_invalid", "union_tag_not_found"):
        return _of_a_choice(kind, given, context)
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"{given!r} is outside its range", f"Write a number that is {word} {context[key]:g}"
    if kind == "string_pattern_mismatch":
        return _of_a_shape(str(given), str(context["pattern"]))
    if kind.startswith(("string_too", "too_")):
        return _of_a_length(kind, context)
    return _of_a_kind(kind, given) or (
        str(detail["msg"]).removeprefix("Value error, "),
        f"You gave {given!r}" if isinstance(given, str | int | float) else "Change one of the two",
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The next step for a name that is not known."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean {close[0]!r}?" if close else f"Remove it. Known are: {', '.join(sorted(known))}"


def _of_a_choice(kind: str, given: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "union_tag_not_found":
        return "does not say which driver it takes", 'Add driver = "…"; `alumiguard init` shows one of each'
    said = str(context.get("expected", context.get("expected_tags")))
    value = context.get("tag", given)
    what = f"{'driver ' if kind == 'union_tag_invalid' else ''}{value!r} is not known"
    choices = re.findall(r"'([^']*)'", said) or [said]
    close = difflib.get_close_matches(str(value), choices, 1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    allowed = f"Allowed are: {', '.join(choices)}" if len(choices) > 1 else f"Write {choices[0]}"
    return what, guess + allowed


def _of_a_shape(given: str, pattern: str) -> tuple[str, str]:
    shape = _SHAPES.get(pattern, f"what this pattern allows: {pattern}")
    plain = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")[:63].rstrip("-")
    proposal = f", for example {plain!r}" if plain and pattern.startswith("^[a-z0-9]") else ""
    return f"{given!r} is not written as it has to be", f"Write {shape}{proposal}"


def _of_a_length(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    things = "character" if kind.startswith("string") else "entry"
    if not kind.endswith("short"):
        return "is too long", f"Write at most {context['max_length']} {_several(things)}"
    least = context["min_length"]
    what = "is empty" if least == 1 else "is too short"
    return what, f"Write at least {least} {things if least == 1 else _several(things)}"


def _several(thing: str) -> str:
    return {"entry": "entries"}.get(thing, f"{thing}s")


def _of_a_kind(kind: str, given: Any) -> tuple[str, str] | None:
    shown = repr(given) if isinstance(given, str | int | float) else "this"
    if kind in _LIST_TYPES:
        return f"{shown} is not a list", "Write a list in [ ], or tables under [[…]]"
    if kind in _TABLE_TYPES:
        return f"{shown} is not a section of keys and values", "Write it as a table: key = value on each line"
    wanted, _, rest = kind.partition("_")
    if wanted not in _KINDS or not rest:
        return None
    what, next_step = _KINDS[wanted]
    return f"{shown} is not {what}", next_step
