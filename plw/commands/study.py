"""`plw run`, `plan`, `status`, `drain` and `report`: a study from its grid to its report."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell, refuse_file_names
from plw.commands.hydra_arguments import option_value, options_first
from plw.errors import UserError
from plw.runtime.interrupt import interruptible

if TYPE_CHECKING:
    from plw.config import CellConfig

PublishedPaper = Literal["wit"]

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_to(app: typer.Typer) -> None:
    """Register the commands; `plw run --help` is Hydra's own page, so typer leaves it alone."""
    app.command(context_settings=PASS_ON | {"help_option_names": []})(run)
    app.command(context_settings=PASS_ON)(plan)
    app.command()(status)
    app.command()(report)
    app.command()(drain)


def run(context: typer.Context) -> None:
    """Run one cell, or with -m a study's whole grid. `plw run --help` shows every choice."""
    _hydra(context.args)


def plan(context: typer.Context) -> None:
    """Say what `plw run -m` with the same words would run, skip or wait for, and why.

    It takes every word of `plw run`: GROUP=CHOICE, FIELD=VALUE, -m, --config-dir DIR. `plw run --help` lists them.
    """
    from hydra_plugins.plw_launchers import PLAN_ONLY

    _hydra(["-m", *context.args, PLAN_ONLY])


def status(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", "-w", help="Go on, live, until nothing is left; lines where there is no terminal."),
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds between two looks; by default 2 on a terminal, 60 elsewhere."),
    ] = None,
) -> None:
    """How far a study is: stages done, running and failed, from the registry; and its jobs in Slurm's queue."""
    from plw.runtime.console import console
    from plw.sweep.slurm.queue import look_at_queue
    from plw.sweep.status import print_status
    from plw.sweep.watch import watch_study

    config, out_console = chosen_cell(overrides, config_dir), console()
    if watch:
        watch_study(config, out_console, every, lambda: look_at_queue(config.study_folder))
        return
    if every is not None:
        raise UserError(f"--every {every:g} goes with --watch alone")
    print_status(config, out_console)
    if (queue := look_at_queue(config.study_folder)) is not None:
        out_console.print(queue.view)


def drain(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let the study take cells again.")] = False,
) -> None:
    """Let a study's workers, wherever they are, finish the cells that they are on and begin no new one."""
    from plw.runtime.console import console
    from plw.sweep.drain import begin_drain, end_drain

    config, out_console = chosen_cell(overrides, config_dir), console()
    name = config.runs_name
    if not undo:
        said = f"{begin_drain(config).text}: cells under way are finished, no new one is begun"
    else:
        said = "takes cells again" if end_drain(config) else "was not drained"
    out_console.print(f"{name}: {said}", markup=False)


def report(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    suite: Annotated[
        str | None, typer.Option(metavar="NAME", help="Suite to show, of several; by default the newest.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Recipe to show, of several; by default the newest.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="NAME", help="Judge to show, of several; by default the newest.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; by default `report`, and the names given, in the runs.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write it also where nothing has changed.")] = False,
    published: Annotated[
        PublishedPaper | None,
        typer.Option(help="Report on a paper's numbers instead; needs no registry."),
    ] = None,
    generations: Annotated[
        int | None,
        typer.Option(min=0, help="Prompts of each benchmark whose answers the page shows; by default what fits 3 MB."),
    ] = None,
) -> None:
    """Write a study's tables (CSV, Markdown, LaTeX), figures (PNG, PDF) and a page to explore them, index.html."""
    if published is not None:
        _report_published(published, overrides or [], out)
        return
    from plw.registry.store import Registry
    from plw.runtime.console import console, step_bar

    refuse_file_names(overrides, "--out")
    config, out_console = chosen_cell(overrides, config_dir), console()
    # What the words and the registry tell comes before the imports of the analysis, which take seconds.
    Registry.open(config.registry.url, create=False).close()
    from analysis.report.write import write_report
    from analysis.scores.choice import Wanted
    from plw.commands.suites import configured_suites

    runs = Path(config.execution.runs)
    with step_bar("report", out_console) as progress:
        page = write_report(
            config.registry.url,
            runs,
            out or runs / config.runs_name / "-".join(["report", *filter(None, (suite, recipe, judge))]),
            study=config.study.name,
            scale=config.scale.name,
            wanted=Wanted(suite=suite, recipe=recipe, judge=judge),
            configured=configured_suites(config, overrides, config_dir),
            progress=progress,
            force=force,
            generations=generations,
        )
    out_console.print(f"report: {page}")
    if config.execution.publish is not None:
        _copy_report(config, page.parent)


def _copy_report(config: "CellConfig", folder: Path) -> None:
    """Copy a report to where the study publishes; a failure is told and ends nothing."""
    from plw.pipeline.publishing import publish_report
    from plw.runtime.console import console
    from plw.sweep.summary import print_unpublished

    done = publish_report(config, folder)
    if done.failed:
        print_unpublished(done.failed, console())
    else:
        console().print(f"published: {config.execution.publish} ({done.copied} files of the report)", markup=False)


def _report_published(published: PublishedPaper, overrides: list[str], out: Path | None) -> None:
    from analysis.report.published_wit import write_wit_report
    from plw.runtime.console import console

    if overrides:
        raise UserError(f"--published {published} takes no overrides, but there is {overrides[0]}")
    console().print(f"report: {write_wit_report(out or Path(f'report-{published}'))}")


def _hydra(arguments: list[str]) -> None:
    """Hand the arguments to Hydra; its complaints become one line.

    Our launchers take a sweep's grid as a whole; any other launcher of Hydra's calls ``job`` for each cell. A single
    cell runs after Hydra has returned, since Hydra would print a line of its own before each mistake.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from plw.config.compose import one_line_errors, register_schema, typed
    from plw.config.overrides import tell_repeated
    from plw.config.own_files import check_config_dir
    from plw.config.study_tables import check_hydra_tables
    from plw.paths import conf_folder
    from plw.sweep.summary import run_and_summarise

    options, words = options_first(arguments)
    if (folder := option_value(options, "--config-dir", "-cd")) is not None:
        check_config_dir(Path(folder))
    tell_repeated(words)
    words = register_schema(words, sweep=bool({"-m", "--multirun"} & set(options)))
    single: list[tuple[DictConfig, DictConfig]] = []

    def job(config: DictConfig) -> None:
        hydra_node: Any = HydraConfig.get()
        if hydra_node.mode == RunMode.RUN:
            single.append((config, hydra_node))
        else:
            # Another launcher's process has no handlers yet.
            with interruptible():
                run_one(config, hydra_node)

    def run_one(config: DictConfig, hydra_node: DictConfig) -> None:
        cell = typed(config)
        check_hydra_tables([cell], hydra_node)
        run_and_summarise([cell])

    decorated: Callable[[], None] = hydra.main(
        version_base="1.3", config_path=str(conf_folder()), config_name="config"
    )(job)
    # Without this Hydra prints its own error page and leaves with 1; with it the exception arrives here.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["plw run", *options, *words]
    # Hydra reads it where it shows the config, and nowhere else.
    shown = option_value(options, "--cfg", "-c") is not None
    with one_line_errors(), _telling_of_package(option_value(options, "--package", "-p") if shown else None):
        decorated()
    if single:
        run_one(*single[0])


@contextmanager
def _telling_of_package(package: str | None) -> Iterator[None]:
    """Hydra prints that a config has no such part, and leaves: a line of ours in its place.

    Raises:
        UserError: it has no such part.
    """
    if package is None:
        yield
        return
    try:
        with redirect_stderr(StringIO()):
            yield
    except SystemExit as end:
        if end.code == 1:
            raise UserError(
                f"--package {package}: the config has no such part; give one such as loss or suite.tasks"
            ) from None
        raise
