"""What a command line chooses: the same words as `plw run` takes."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from plw.config import CellConfig

CELL_CHOICES = "study=NAME scale=NAME, or any field, as `plw run` takes them."

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[GROUP=CHOICE|FIELD=VALUE]...", help=CELL_CHOICES)]


def chosen_cell(overrides: list[str] | None) -> "CellConfig":
    """The config of one cell of the study that the overrides name."""
    from hydra import compose, initialize_config_dir

    from plw.config.compose import one_line_errors, register_schema, typed
    from plw.paths import conf_folder

    register_schema()
    with one_line_errors(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return typed(compose("config", overrides=overrides or []))
