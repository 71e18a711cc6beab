"""`plw registry`: the database of cells, stages, scores and curves."""

from pathlib import Path
from typing import Annotated

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell, refuse_file_names
from plw.errors import UserError
from plw.progress import count
from plw.storage import storage_error

registry_app = typer.Typer(help="The database of cells, stages, scores and curves.", no_args_is_help=True)


@registry_app.command()
def export(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Annotated[Path | None, typer.Option(help="CSV file; standard output when not given.")] = None,
) -> None:
    """Every score of the study as CSV, one row a metric, floats to the last digit."""
    from plw.registry import Registry, export_csv

    refuse_file_names(overrides, "--out")
    config = chosen_cell(overrides, config_dir)
    with Registry.open(config.registry.url, create=False) as registry:
        try:
            export_csv(registry, out, study=config.study.name, scale=config.scale.name)
        except OSError as error:
            if out is None or storage_error(error, str(out)) is not None:
                raise
            raise UserError(f"--out {out} cannot be written: {error.strerror}") from None


@registry_app.command()
def rebuild(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Make the database again from the record files below the runs folder."""
    from plw.console import console, step_bar
    from plw.registry import rebuild as rebuild_registry

    config = chosen_cell(overrides, config_dir)
    out_console = console()
    with step_bar("rebuild", out_console) as progress:
        found = rebuild_registry(config.registry.url, Path(config.execution.runs), progress)
    out_console.print(
        f"{config.registry.url}: {count(found.cells, 'cell')}, {count(found.scores, 'score')} and "
        f"{count(found.curves, 'training step')} from {count(found.records, 'record')}"
    )
    for damage in found.damaged:
        out_console.print(f"left out: {damage}", markup=False)
    if found.damaged:
        raise typer.Exit(1)


@registry_app.command()
def verify(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Compare every file and row with the records of the stages that left them; changes nothing."""
    from plw.console import console, step_bar
    from plw.registry import verify_results

    config = chosen_cell(overrides, config_dir)
    out_console = console()
    with step_bar("verify", out_console) as progress:
        found = verify_results(config.registry.url, Path(config.execution.runs), progress)
    for problem in found.problems:
        out_console.print(problem, markup=False, soft_wrap=True)
    out_console.print(
        f"{config.execution.runs}: {count(found.records, 'record')}, {count(found.files, 'file')} "
        f"({found.bytes / 1e9:.2f} GB) read; {count(len(found.problems), 'problem')}"
    )
    if found.problems:
        raise typer.Exit(1)
