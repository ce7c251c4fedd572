"""The HTML report is one file that needs nothing else, and a file's name can do nothing in it."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from provisioning import report
from tests.support.command import alumiguard, picture

EVIL = "<script>alert(1)</script> & \"x\" 'y' é 日本.png".replace("/", "∕")


class Page(HTMLParser):
    """What a browser would make of a page: its tags, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "srcset", "action"}
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def made(tmp_path: Path, *arguments: object) -> str:
    out = tmp_path / "out.html"
    assert alumiguard("inspect", *arguments, "--report", out).status in (0, 2)
    return out.read_text(encoding="utf-8")


def test_a_report_holds_its_pictures_and_names_no_other_place(
    tmp_path: Path, tiny_model: list[object]
) -> None:
    text = made(tmp_path, picture(tmp_path / "in" / "a.jpg"), *tiny_model)
    page = Page(text)
    assert [address[:23] for address in page.addresses] == ["data:image/jpeg;base64,"]
    assert not re.search(r"(?i)https?://|url\(|@import|<link|<script|javascript:", text)


def test_the_defects_are_drawn_into_the_pictures(tmp_path: Path, tiny_model: list[object]) -> None:
    (address,) = Page(made(tmp_path, picture(tmp_path / "in" / "a.png", 640, 960), *tiny_model)).addresses
    encoded = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (640, 960, 3)
    colourful = np.ptp(image.astype(int), axis=2) > 60
    assert colourful.sum() > 500  # the picture itself is grey


def test_a_name_with_html_in_it_is_text(tmp_path: Path, tiny_model: list[object]) -> None:
    page = Page(made(tmp_path, picture(tmp_path / "in" / EVIL), *tiny_model))
    assert "script" not in page.tags
    assert EVIL in page.text


def test_what_was_skipped_is_in_the_report(tmp_path: Path, tiny_model: list[object]) -> None:
    picture(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "<i>empty.jpg").write_bytes(b"")
    page = Page(made(tmp_path, tmp_path / "in", *tiny_model))
    assert "Skipped: these were not inspected" in page.text
    assert "<i>empty.jpg" in page.text


def test_a_name_that_is_not_utf_8_breaks_nothing(tmp_path: Path, tiny_model: list[object]) -> None:
    name = b"caf\xe9\x1b[31m.jpg"
    source = picture(tmp_path / "in" / "a.jpg")
    source.rename(source.parent / name.decode(errors="surrogateescape"))
    text = made(tmp_path, tmp_path / "in", *tiny_model)
    assert r"caf\xe9\x1b[31m.jpg" in text


def test_there_are_so_many_pictures_in_a_report_and_all_verdicts(
    tmp_path: Path, tiny_model: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_PICTURES", 2)
    page = Page(made(tmp_path, *(picture(tmp_path / "in" / f"{n}.jpg") for n in range(4)), *tiny_model))
    assert len(page.addresses) == 2
    assert "2 of 4 pictures are shown" in page.text
    assert page.tags.count("tr") > 4


def test_a_report_beside_its_pictures_is_not_inspected_the_next_time(
    tmp_path: Path, tiny_model: list[object]
) -> None:
    picture(tmp_path / "in" / "a.jpg")
    for _ in range(2):
        out = tmp_path / "in" / "report.html"
        assert alumiguard("inspect", tmp_path / "in", *tiny_model, "--report", out).status == 0


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, tiny_model: list[object]
) -> None:
    out = tmp_path / "no such folder" / "out.html"
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *tiny_model, "--report", out, "--json")
    assert ended.status == 1
    assert ended.answer["problems"][0]["where"] == str(out)


def test_a_file_that_is_no_report_is_kept(tmp_path: Path, tiny_model: list[object], box_toml: Path) -> None:
    before = box_toml.read_bytes()
    ended = alumiguard("inspect", picture(tmp_path / "a.jpg"), *tiny_model, "--report", box_toml)
    assert (ended.status, ended.out, box_toml.read_bytes()) == (1, "", before)
    assert "no inspection report" in ended.err
