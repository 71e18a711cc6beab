"""What a command line chooses: the same words as `plw run` takes."""

from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.errors import UserError

if TYPE_CHECKING:
    from plw.config import CellConfig
    from plw.registry import Registry
    from plw.registry.rows import CellRow

CELL_CHOICES = "study=NAME scale=NAME, or any field, as `plw run` takes them."

Overrides = Annotated[list[str] | None, typer.Argument(metavar="GROUP=CHOICE|FIELD=VALUE", help=CELL_CHOICES)]
ConfigDir = Annotated[
    Path | None,
    typer.Option("--config-dir", metavar="DIR", help="A folder of further groups: DIR/dataset/NAME.yaml and others."),
]


def in_paragraphs(docstring: str) -> str:
    """A docstring for ``--help``, one line a paragraph: Typer would keep the breaks within all but the first."""
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in cleandoc(docstring).split("\n\n"))


def refuse_file_names(overrides: list[str] | None, option: str) -> None:
    """Refuse a word that is meant as the name of what a command writes.

    Args:
        overrides: words of the command line.
        option: names what is written.

    Raises:
        UserError: a word without ``=``.
    """
    for word in overrides or []:
        if "=" not in word and not word.startswith("~"):
            raise UserError(
                f"{word} is neither FIELD=VALUE nor GROUP=CHOICE; what is written is named by {option} {word}"
            )


def chosen_cell(overrides: list[str] | None, config_dir: Path | None = None) -> "CellConfig":
    """The config of one cell of the study that the overrides name.

    Args:
        overrides: groups and fields, as Hydra takes them.
        config_dir: a folder of further groups beside our own, as Hydra's ``--config-dir``.

    Raises:
        UserError: no such folder, or a mistake in what is chosen.
    """
    from hydra import compose, initialize_config_dir

    from plw.config.compose import one_line_errors, register_schema, typed
    from plw.config.overrides import quoted
    from plw.config.own_files import check_config_dir
    from plw.config.study_tables import check_study_tables
    from plw.paths import conf_folder

    words = list(overrides or [])
    if config_dir is not None:
        check_config_dir(config_dir)
        words.append(f"hydra.searchpath=[{quoted(f'file://{config_dir.absolute()}')}]")
    words = register_schema(words)
    with one_line_errors(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = typed(compose("config", overrides=words))
    check_study_tables([config], words, [conf_folder(), *([] if config_dir is None else [config_dir])])
    return config


def group_choices(group: str, config_dir: Path | None = None) -> list[str]:
    """The names that a group of the config has files of, ours and the user's."""
    from plw.paths import conf_folder

    folders = [conf_folder(), *([] if config_dir is None else [config_dir])]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def study_cells(registry: "Registry", url: str, study: str, scale: str) -> "list[CellRow]":
    """A study's cells in a registry.

    Raises:
        UserError: it has none; the line says which studies it holds.
    """
    from plw.registry import shown_address

    cells = registry.cells(study=study, scale=scale)
    if not cells:
        held = sorted({f"study={cell.study} scale={cell.scale}" for cell in registry.cells()})
        there = f"it holds {'; '.join(held)}" if held else "it is empty"
        raise UserError(f"{shown_address(url)}: no cell of study={study} scale={scale}; {there}")
    return cells
