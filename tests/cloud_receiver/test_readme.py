"""What the README says of routes, refusals and verbs is what there is."""

import re
from pathlib import Path

from fastapi.routing import iter_route_contexts
from typer.main import get_command

from cloud_receiver.app import create_app
from cloud_receiver.cli import app
from tests.support.receiver_site import SiteUnderTest

FOLDER = Path(__file__).parents[2] / "cloud_receiver"
README = (FOLDER / "README.md").read_text()


def test_every_route_is_in_the_table_of_routes(site: SiteUnderTest) -> None:
    routes = {
        f"{method} {route.path}"
        for route in iter_route_contexts(create_app(site.receiver).routes)
        for method in route.methods or ()
    }
    assert set(re.findall(r"^\| `((?:GET|POST) [^`]+)`", README, re.MULTILINE)) == routes


def test_every_code_of_a_refusal_is_in_the_table_of_refusals() -> None:
    source = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    raised = set(re.findall(r"""\b[45]\d\d(?:,|:)\s+"([a-z-]+)\"""", source))
    table = README.split("## Fails how")[1]
    told = {
        code
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for code in re.findall("`([a-z-]+)`", row)
    }
    assert told == raised


def test_every_verb_is_in_the_readme() -> None:
    for group, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        for verb in getattr(command, "commands", {"": None}):
            assert f"{group} {verb}".strip() in README
