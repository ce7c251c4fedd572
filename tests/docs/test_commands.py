"""What the documents tell people to type exists."""

import re
import shlex
import subprocess
import sys

from tests.support.command import alumiguard
from tests.support.documents import VERBS
from tests.support.tree import ROOT, code_in, documents, recipes


def test_every_documented_recipe_is_in_the_justfile() -> None:
    known = recipes()
    assert {"demo", "test", "ci"} <= known
    for document in documents():
        for code in code_in(document):
            for recipe in re.findall(r"(?:^|\s)(?:\./justw|just) ([a-z][a-z-]*)", code):
                assert recipe in known, f"{document.relative_to(ROOT)} names `just {recipe}`"


def test_every_documented_verb_and_option_is_one_of_the_command() -> None:
    helps = {verb: alumiguard(*verb.split(), "--help").out for verb in VERBS}
    for document in documents():
        for code in code_in(document):
            for call in re.findall(r"(?:^|\s|/)alumiguard ([a-z-].*)", code):
                check_call(f"{document.relative_to(ROOT)}: alumiguard {call}", call, helps)


def check_call(place: str, call: str, helps: dict[str, str]) -> None:
    """The longest verb that the call begins with has to know its options."""
    words = shlex.split(call.replace("…", "").replace("[", "").replace("]", ""), comments=True)
    verb = next((v for v in (" ".join(words[:2]), words[0]) if v in helps), "")
    assert verb or words[0].startswith("-") or words[0] == "audit", place
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"(^|\s){re.escape(option)}\b", helps[verb]), f"{place}: {option}"


def test_the_generated_parts_of_the_documents_are_current() -> None:
    files = [str(document) for document in documents()]
    checked = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--verbosity=1", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, f"run `just docs`: {checked.stdout}{checked.stderr}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in documents():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links to {target}"
