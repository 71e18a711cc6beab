"""The ``plw`` command: runs and plans studies through Hydra, and reads what they left in the registry."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plw.errors import StageError, UserError

if TYPE_CHECKING:
    from plw.config import CellConfig

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
CELL_CHOICES = "study=NAME scale=NAME, or any field, as `plw run` takes them."

app = typer.Typer(
    name="plw",
    help="How much should the prompt count in the loss of instruction fine-tuning? Run the study that answers it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
registry_app = typer.Typer(help="The database of cells, stages, scores and curves.", no_args_is_help=True)
app.add_typer(registry_app, name="registry")

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[GROUP=CHOICE|FIELD=VALUE]...", help=CELL_CHOICES)]


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, a failed stage 1, an interrupt 130."""
    try:
        app()
    except UserError as error:
        print(f"plw: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except StageError as error:
        print(f"plw: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("plw: stopped; the same command continues where it was", file=sys.stderr)  # noqa: T201
        sys.exit(130)


@app.command(context_settings=PASS_ON | {"help_option_names": []})
def run(context: typer.Context) -> None:
    """Run one cell, or with -m a study's whole grid. `plw run --help` shows every choice."""
    _hydra(context.args)


@app.command(context_settings=PASS_ON)
def plan(context: typer.Context) -> None:
    """Say what `plw run -m` with the same words would run, skip or wait for, and why."""
    _hydra(["-m", *context.args, "hydra/launcher=plan"])


@app.command()
def status(overrides: Overrides = None) -> None:
    """How far a study is: stages done, running and failed, from the registry."""
    from plw.console import console
    from plw.sweep.status import print_status

    print_status(_cell(overrides), console())


@app.command()
def report(
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; by default `report` in the study's runs.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write it also where nothing has changed.")] = False,
) -> None:
    """Write a study's tables (CSV, Markdown), figures (PNG, PDF) and index.html from the registry."""
    from analysis.report import write_report
    from plw.console import console, step_bar
    from plw.sweep.status import benchmark_groups, benchmark_info

    config, out_console = _cell(overrides), console()
    runs = Path(config.execution.runs)
    with step_bar("report", out_console) as progress:
        page = write_report(
            config.registry.url,
            runs,
            out or runs / config.runs_name / "report",
            study=config.study.name,
            scale=config.scale.name,
            groups=benchmark_groups(config),
            benchmark_info=benchmark_info(config),
            progress=progress,
            force=force,
        )
    out_console.print(f"report: {page}")


@registry_app.command()
def export(
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="CSV file; standard output when not given.")] = None,
) -> None:
    """Every score of the study as CSV, one row a metric, floats to the last digit."""
    from plw.registry import Registry, export_csv

    config = _cell(overrides)
    with Registry.open(config.registry.url, create=False) as registry:
        export_csv(registry, out, study=config.study.name, scale=config.scale.name)


@registry_app.command()
def rebuild(overrides: Overrides = None) -> None:
    """Make the database again from the record files below the runs folder."""
    from plw.console import console, step_bar
    from plw.registry import rebuild as rebuild_registry

    config = _cell(overrides)
    out_console = console()
    with step_bar("rebuild", out_console) as progress:
        found = rebuild_registry(config.registry.url, Path(config.execution.runs), progress)
    out_console.print(
        f"{config.registry.url}: {found.cells} cells, {found.scores} scores and {found.curves} training steps "
        f"from {found.records} records"
    )
    for damage in found.damaged:
        out_console.print(f"left out: {damage}", markup=False)
    if found.damaged:
        raise typer.Exit(1)


def _hydra(arguments: list[str]) -> None:
    """Hand the arguments to Hydra; its complaints become one line.

    Our launchers take a sweep's grid as a whole; any other launcher of Hydra's calls ``job`` for each cell. A single
    cell runs after Hydra has returned, since Hydra would print a line of its own before each mistake.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from plw.compose import one_line_errors, register_schema, typed
    from plw.paths import conf_folder
    from plw.sweep.summary import run_and_summarise

    register_schema()
    single: list[DictConfig] = []

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.RUN:
            single.append(config)
        else:
            run_and_summarise([typed(config)])

    decorated: Callable[[], None] = hydra.main(
        version_base="1.3", config_path=str(conf_folder()), config_name="config"
    )(job)
    # Without this Hydra prints its own error page and leaves with 1; with it the exception arrives here.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["plw run", *arguments]
    with one_line_errors():
        decorated()
    if single:
        run_and_summarise([typed(single[0])])


def _cell(overrides: list[str] | None) -> "CellConfig":
    """The config of one cell of the study that the overrides name."""
    from hydra import compose, initialize_config_dir

    from plw.compose import one_line_errors, register_schema, typed
    from plw.paths import conf_folder

    register_schema()
    with one_line_errors(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return typed(compose("config", overrides=overrides or []))
