"""`plw registry`: the database of cells, stages, scores and curves."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell, refuse_file_names, study_cells
from plw.commands.output_file import output_file
from plw.errors import UserError
from plw.files.storage import storage_error
from plw.progress import count

logger = logging.getLogger(__name__)

registry_app = typer.Typer(help="The database of cells, stages, scores and curves.", no_args_is_help=True)


@registry_app.command()
def export(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file; standard output when not given.", callback=output_file)
    ] = None,
) -> None:
    """Every score of the study as CSV, one row a metric, floats to the last digit."""
    from plw.registry import Registry, export_csv

    refuse_file_names(overrides, "--out")
    if out is not None and out.suffix.lower() != ".csv" and (out.is_file() or not out.exists()):
        raise UserError(f"--out {out}: allowed are names that end in .csv")
    config = chosen_cell(overrides, config_dir)
    with Registry.open(config.registry.url, create=False) as registry:
        study_cells(registry, config.registry.url, config.study.name, config.scale.name)
        try:
            scores = export_csv(registry, out, study=config.study.name, scale=config.scale.name)
        except OSError as error:
            if out is None:
                raise
            full = storage_error(error, f"--out {out}")
            raise full or UserError(f"--out {out} cannot be written: {error.strerror}") from None
    if not scores:
        logger.warning("no stage of the study has scored yet: the table has its header alone")


@registry_app.command()
def rebuild(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Make the database again from the record files below the runs folder."""
    from plw.registry import rebuild as rebuild_registry
    from plw.registry import shown_address
    from plw.runtime.console import console, step_bar

    config = chosen_cell(overrides, config_dir)
    out_console = console()
    with step_bar("rebuild", out_console) as progress:
        found = rebuild_registry(
            config.registry.url,
            Path(config.execution.runs),
            progress,
            lease_timeout_s=config.execution.lease_timeout_s,
        )
    out_console.print(
        f"{shown_address(config.registry.url)}: {count(found.cells, 'cell')}, {count(found.scores, 'score')} and "
        f"{count(found.curves, 'training step')} from {count(found.records, 'record')}"
    )
    if found.kept is not None:
        out_console.print(f"what lay there before was no registry that can be read; it is kept as {found.kept}")
    for damage in found.damaged:
        out_console.print(f"left out: {damage}", markup=False)
    if found.damaged:
        raise typer.Exit(1)


@registry_app.command()
def migrate(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Bring a registry of an older plw to this one's schema: in place, all or nothing, none of its workers at work."""
    from plw.registry import migrate_registry
    from plw.registry.schema import SCHEMA_VERSION
    from plw.runtime.console import console

    config = chosen_cell(overrides, config_dir)
    found, _ = migrate_registry(config.registry.url, lease_timeout_s=config.execution.lease_timeout_s)
    if found == SCHEMA_VERSION:
        console().print(f"the registry is of schema version {found}, as this plw works with", markup=False)


@registry_app.command()
def verify(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Compare every file and row with the records of the stages that left them; changes nothing."""
    from plw.registry import verify_results
    from plw.runtime.console import console, step_bar

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


@registry_app.command()
def gc(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list.")] = False,
) -> None:
    """Remove what no record names (failed attempts, files left in finished stages, rows); lists it and asks first."""
    from plw.registry import find_garbage, remove_garbage
    from plw.runtime.console import console

    config = chosen_cell(overrides, config_dir)
    url, lease_timeout_s = config.registry.url, config.execution.lease_timeout_s
    found = find_garbage(url, Path(config.execution.runs), lease_timeout_s=lease_timeout_s)
    out_console = console()
    for item in found:
        size = "" if item.path is None else f" ({item.bytes / 1e6:.1f} MB)"
        out_console.print(f"{item.kind}: {item.where}{size}", markup=False, soft_wrap=True)
    total = f"{count(len(found), 'thing')} that no record names, {sum(item.bytes for item in found) / 1e6:,.1f} MB"
    if not found or dry_run:
        out_console.print(total)
        return
    if not yes and not _agreed(f"{total}. Remove?"):
        raise typer.Exit(1)
    gone = remove_garbage(url, found, lease_timeout_s=lease_timeout_s)
    out_console.print(f"{count(len(gone), 'thing')} removed, {sum(item.bytes for item in gone) / 1e6:,.1f} MB")
    if len(gone) < len(found):
        out_console.print(f"{len(found) - len(gone)} left: changed in the meantime, or not to be removed")
        raise typer.Exit(1)


def _agreed(question: str) -> bool:
    """Whether a person says yes.

    Raises:
        UserError: there is nobody to ask, as in a job or a pipe.
    """
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise UserError(
            "nothing was removed, since nobody answered; --yes removes without asking, --dry-run lists alone"
        ) from None


@registry_app.command()
def merge(
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another runs folder of the study.")],
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
) -> None:
    """Take over the finished stages of another runs folder, with their rows; what differs is told and left as it is."""
    from plw.registry import merge as merge_results
    from plw.runtime.console import console, step_bar

    config = chosen_cell(overrides, config_dir)
    out_console = console()
    with step_bar("merge", out_console) as progress:
        found = merge_results(
            config.registry.url,
            Path(config.execution.runs),
            other,
            progress,
            lease_timeout_s=config.execution.lease_timeout_s,
        )
    for problem in found.problems:
        out_console.print(f"left out: {problem}", markup=False, soft_wrap=True)
    out_console.print(
        f"{config.execution.runs}: {count(found.taken, 'stage')} taken from {other}, {found.same} the same in both",
        markup=False,
    )
    if found.problems:
        raise typer.Exit(1)
