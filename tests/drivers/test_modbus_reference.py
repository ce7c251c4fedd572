"""Our decoding against expected values that others published with the words: see SOURCE.txt of the data."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it ships no types

from drivers.modbus_words import NoValue, Table, Words, WordType, decode

DATA = Path(__file__).parents[3] / "shared" / "data" / "modbus_maps" / "modbus_schema"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the reference words are not on this machine")

TYPES = {"ieee754_32": WordType.FLOAT32, "ieee754_64": WordType.FLOAT64}
EXPRESSION = re.compile(
    r"(?P<type>u?int\d+|ieee754_\d+)\(hr:(?P<at>\d+)\s*(?:#\s*\d+)?\s*(?P<none>(?:;\s*0x[0-9A-Fa-fx ]+)*)\)"
    r"\s*(?:\*\s*\(10\^(?P<exponent>\w+)\))?"
)


def _cases() -> Iterator[tuple[str, Words, list[int], Any]]:
    for file in sorted(DATA.rglob("*.yaml")):
        schema = yaml.safe_load(file.read_text(encoding="utf-8"))
        for test in schema.get("tests", ()):
            registers = _registers(test["input"])
            for block in test["blocks"]:
                fields = next(b["fields"] for b in schema["blocks"] if b["id"] == block["id"])
                for name, expected in block["expected"].items():
                    yield from _case(f"{file.stem}: {test['id']}: {name}", fields, name, registers, expected)


def _case(
    title: str, fields: list[Mapping[str, str]], name: str, registers: Mapping[int, int], expected: list[Any]
) -> Iterator[tuple[str, Words, list[int], Any]]:
    found = _words(fields, name, registers)
    if found is None:
        return
    raw = [registers.get(found.address + i) for i in range(found.count)]
    if all(word is not None for word in raw):
        yield title, found, [word for word in raw if word is not None], expected[0] if expected else None


def _words(fields: list[Mapping[str, str]], name: str, registers: Mapping[int, int]) -> Words | None:
    expression = next((field["expression"] for field in fields if field["id"] == name), "")
    match = EXPRESSION.fullmatch(expression.strip())
    if match is None:
        return None  # text, bit sets and formulas are no Modbus numbers
    scale = 1.0
    if match["exponent"]:
        exponent = _words(fields, match["exponent"], registers)
        if exponent is None or exponent.address not in registers:
            return None
        try:
            scale = 10.0 ** int(decode(exponent, [registers[exponent.address]]))
        except NoValue:
            return None  # "scale factor not implemented"
    sentinels = tuple(int(re.sub(r"0x|\s", "", text), 16) for text in match["none"].split(";")[1:])
    kind = TYPES[match["type"]] if match["type"] in TYPES else WordType(match["type"])
    return Words(Table.HOLDING, int(match["at"]), kind, scale=scale, invalid=sentinels)


def _registers(inputs: list[Mapping[str, str]]) -> dict[int, int]:
    registers: dict[int, int] = {}
    for part in (part for part in inputs if part["firstAddress"].startswith("hr:")):
        text = re.sub(r"#.*", "", str(part["rawValues"]))
        first = int(part["firstAddress"].partition(":")[2])
        registers |= {first + i: int(word, 16) for i, word in enumerate(text.split()) if word != "----"}
    return registers


def test_the_words_have_the_values_that_others_found_in_them() -> None:
    checked, wrong = 0, []
    for title, tag, raw, expected in _cases():
        checked += 1
        try:
            value: object = decode(tag, raw)
        except NoValue:
            value = None
        if not _same(value, expected):
            wrong.append(f"{title}: {value!r} instead of {expected!r}")
    assert not wrong
    assert checked > 300


def _same(value: object, expected: object) -> bool:
    if expected is None and isinstance(value, int) and value >= 2**63:
        return True  # "too large for unsigned 64 bit in JVM", says the reference, and gives no value
    if expected is None or expected in {"NaN", "+Infinite", "-Infinite"}:
        return value is None  # such a reading is BAD to us
    return isinstance(value, int | float) and math.isclose(value, float(str(expected)), rel_tol=1e-6)
