"""The `alumiguard` command: one file a verb, each importing what it needs only when it runs."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from provisioning import audit, check, demo_verb, enrol, init, inspect, run, status
from provisioning.answers import USAGE_STATUS


class Verbs(TyperGroup):
    """The verbs, with an exit status of its own for a command line that makes no sense."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line up to the verb."""
        try:
            return super().make_context(*args, **kwargs)
        except typer.TyperException as error:
            error.exit_code = USAGE_STATUS
            raise

    def invoke(self, ctx: Any) -> Any:
        """Read the rest of it and do what it says."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            error.exit_code = USAGE_STATUS
            raise


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an unexpected failure shows Python's own traceback
    rich_markup_mode=None,  # plain help: it starts faster, and reads the same in a document
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"alumiguard {version('alumiguard')}")
        raise typer.Exit


@app.callback()
def alumiguard(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Inspect metal at line speed, and prove years later what was seen.

    A command line that makes no sense ends with exit status 64; each verb's help names its others.
    """


app.command()(init.init)
app.command()(check.check)
app.command()(demo_verb.demo)
app.command()(run.run)
app.command()(status.status)
app.command()(enrol.enrol)
app.command()(inspect.inspect)

audit_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prove what the log says.")
audit_app.command()(audit.verify)
app.add_typer(audit_app, name="audit")
