"""The ``plw`` command: runs and plans studies through Hydra, and reads what they left in the registry."""

import sys
from typing import Annotated

import typer

from plw import __version__
from plw.commands import compare, data, fit_gam, fit_items, publish, recommend, study, tune
from plw.commands.fit import fit_app
from plw.commands.items import items_app
from plw.commands.registry import registry_app
from plw.commands.world import world_app
from plw.errors import UserError
from plw.runtime.ending import told_in_a_line
from plw.runtime.interrupt import interruptible
from plw.runtime.logs import configure_logging

app = typer.Typer(
    name="plw",
    help="How much should the prompt count in the loss of instruction fine-tuning? Run the study that answers it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plw {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    pass


study.add_to(app)
publish.add_to(app)
data.add_to(app)
recommend.add_to(app)
tune.add_to(app)
compare.add_to(app)
fit_gam.add_to(fit_app)
fit_items.add_to(fit_app)
app.add_typer(registry_app, name="registry")
app.add_typer(fit_app, name="fit")
app.add_typer(items_app, name="items")
app.add_typer(world_app, name="world")


def main() -> None:
    """Entry point; how it ends is :func:`plw.runtime.ending.told_in_a_line`'s."""
    with told_in_a_line():
        configure_logging()
        with interruptible():
            try:
                sys.exit(app(prog_name="plw", standalone_mode=False))
            except typer.TyperException as error:
                raise UserError(_in_a_line(error)) from None


def _in_a_line(error: typer.TyperException) -> str:
    """Typer's words for a mistake in the command line, and where to read on."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if not message:
        # No command was given: Typer has shown the help.
        sys.exit(2)
    message = message.rstrip(".").replace("Value error, ", "")
    return f"{message}; see {context.command_path} --help" if context else message
