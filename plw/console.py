"""Where words for a person go: as wide as their terminal, and wide enough for a table in a log file."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from plw.progress import Progress

LOG_WIDTH = 200


def console() -> Console:
    """A console on standard output; lines are never broken inside a path."""
    made = Console(soft_wrap=True, highlight=False)
    return made if made.is_terminal else Console(soft_wrap=True, highlight=False, width=LOG_WIDTH)


@contextmanager
def step_bar(name: str, out: Console) -> Iterator[Progress]:
    """A progress bar with the time left on a terminal, and nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    bars = Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=out, transient=True)
    bars.disable = not out.is_terminal
    with bars:
        task = bars.add_task(name, total=None)

        def progress(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, description=f"{name}: {note}" if note else name)

        yield progress
