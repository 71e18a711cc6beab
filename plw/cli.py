"""The ``plw`` command: runs and plans studies through Hydra, and reads what they left in the registry."""

import typer

from plw.commands import compare, data, fit_gam, fit_items, publish, recommend, study, tune
from plw.commands.fit import fit_app
from plw.commands.items import items_app
from plw.commands.registry import registry_app
from plw.commands.world import world_app
from plw.ending import told_in_a_line
from plw.interrupt import interruptible
from plw.logs import configure_logging

app = typer.Typer(
    name="plw",
    help="How much should the prompt count in the loss of instruction fine-tuning? Run the study that answers it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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
    """Entry point; how it ends is :func:`plw.ending.told_in_a_line`'s."""
    with told_in_a_line():
        configure_logging()
        with interruptible():
            app()
