"""The words at a grid's end: what ran, where the time went, what failed and how to see more."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plw.config import CellConfig
from plw.errors import CellsLeftError, StageError
from plw.progress import count
from plw.runtime.console import console, numbers_right
from plw.sweep.grid import GridResult, run_grid, stage_seconds


def run_and_summarise(configs: list[CellConfig], wait_s: float = 0.0) -> None:
    """Run the grid and print what became of it.

    Args:
        configs: of the cells.
        wait_s: seconds to wait for a registry that is away at the start. A person at a terminal is told at once.

    Raises:
        StageError, CellsLeftError: as :func:`raise_if_unfinished`; the summary has said more.
    """
    out = console()
    result = run_grid(configs, out, wait_s)
    print_summary(result, configs[0].runs_name, out)
    raise_if_unfinished(result)


def raise_if_unfinished(result: GridResult) -> None:
    """End the command where the grid is not done.

    Raises:
        StageError: a stage failed.
        CellsLeftError: the study is drained, or its hours are used up.
    """
    if result.failed:
        raise StageError(f"{count(len(result.failed), 'stage')} failed; the same command tries them again")
    if result.not_begun:
        raise CellsLeftError(f"{count(result.not_begun, 'cell')} left for later; the same command continues")


def print_summary(result: GridResult, name: str, out: Console) -> None:
    """One line, a table of time by stage, and a table of failures where there are any."""
    others = len(result.outcomes) - len(result.ran)
    elsewhere = f"{others} done by other workers, " if others else ""
    out.print(
        f"{name}: {count(len(result.ran), 'cell')} run, {result.skipped} done before, {elsewhere}"
        f"{count(len(result.failed), 'stage')} failed, in {result.seconds:.1f} s"
    )
    if result.not_begun:
        out.print(f"{count(result.not_begun, 'cell')} not begun: {result.why_not}", markup=False)
    if result.unpublished:
        print_unpublished(result.unpublished, out)
    if result.taken_over:
        table = Table("cell", "stage", "begun by", title="Taken over from workers that were silent or dead")
        table.title_justify = "left"
        for label, kind, worker in result.taken_over:
            table.add_row(label, kind, worker)
        out.print(table)
    seconds = stage_seconds(result)
    if seconds:
        table = Table(
            "stage", "seconds of work", "share", title="Time by stage, over all workers", title_justify="left"
        )
        for kind, value in seconds.most_common():
            table.add_row(kind, f"{value:.1f}", f"{value / seconds.total():.0%}")
        out.print(numbers_right(table))
    if result.failed:
        table = Table("cell", "stage", "error", title="Failed", title_justify="left")
        for label, kind, error in result.failed:
            table.add_row(label, kind, Text(error))
        out.print(table)
        out.print("Tracebacks are in failure.json of the stage folders.")


def print_unpublished(failed: Mapping[str, str], out: Console) -> None:
    """Say which files (name -> reason) could not be copied, and how to copy them."""
    name, reason = next(iter(failed.items()))
    out.print(
        f"{count(len(failed), 'file')} not published, first {name} ({reason}); `plw publish` copies what is missing",
        markup=False,
    )
