"""The generated parts of the documents, called from between their cog markers; `just docs` rewrites them."""

from typer.testing import CliRunner

from provisioning.cli import app

VERBS = ("", "init", "check", "demo", "run", "status", "enrol", "inspect", "audit verify")
_WIDTH = 92


def cli_help() -> str:
    """The help of `alumiguard` and of each verb, as fenced text."""
    return "\n".join(_help_of(verb) for verb in VERBS)


def _help_of(verb: str) -> str:
    command = [*verb.split(), "--help"]
    shown = CliRunner().invoke(app, command, prog_name="alumiguard", terminal_width=_WIDTH)
    lines = [line.rstrip() for line in shown.stdout.splitlines()]
    return "\n".join([f"### `{f'alumiguard {verb}'.strip()}`", "", "```text", *lines, "```", ""])
