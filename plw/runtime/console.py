"""Where words for a person go: as wide as their terminal, and wide enough for a table in a log file."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from plw.progress import Pace, Progress, duration
from plw.runtime.streams import writable

LINES_EVERY_S = 60.0
"""Seconds between two lines on long work where there is no terminal."""
LOG_WIDTH = 200
NUMBER, NOTHING = re.compile(r"[-+~<*]?\d"), ("", "–", "-")
"""How a cell of a column of numbers begins, and what stands where there is none."""
DRAWN_ROWS = 1000
"""A table of more rows is not drawn."""


class WritableConsole(Console):
    """A console that measures a text as its stream will have it, so that columns stay below each other there."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text with plain words for letters that the stream's encoding lacks."""
        return super().render_str(writable(text, self.encoding), **options)


def console() -> Console:
    """A console on standard output, for plain text: lines are never broken inside a path, and a path's `[b]` and
    `:key:` stand as they are.
    """
    plain = partial(WritableConsole, soft_wrap=True, highlight=False, markup=False, emoji=False)
    made = plain()
    return made if made.is_terminal else plain(width=LOG_WIDTH)


def print_table(out: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; one of thousands of rows in plain columns, since rich takes a millisecond a row."""
    if len(rows) <= DRAWN_ROWS:
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        out.print(numbers_right(table))
        return
    written = [[writable(cell, out.encoding) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in written)
    if not out.quiet:
        out.file.writelines(lines)


def numbers_right(table: Table) -> Table:
    """The table with its columns of numbers set to the right, so that digits of one value stand below each other."""
    for column in table.columns:
        cells = [str(cell).strip() for cell in column.cells]
        if any(NUMBER.match(cell) for cell in cells) and all(NUMBER.match(cell) or cell in NOTHING for cell in cells):
            column.justify = "right"
    return table


@contextmanager
def step_bar(name: str, out: Console) -> Iterator[Progress]:
    """A progress bar with the time left on a terminal, and a line a minute elsewhere."""
    if not out.is_terminal:
        with _step_lines(name, out) as told:
            yield told
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    bars = Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=out, transient=True)
    with bars:
        task = bars.add_task(name, total=None)

        def progress(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, description=f"{name}: {note}" if note else name)

        yield progress


@contextmanager
def _step_lines(name: str, out: Console) -> Iterator[Progress]:
    """Says every minute how far the work is, also where the work itself says nothing for long."""
    started, over = time.monotonic(), threading.Event()
    pace: list[Pace] = []
    notes = [""]

    def progress(done: int, total: int, note: str = "") -> None:
        notes[0] = note
        if pace:
            pace[0].move(done, total, time.monotonic())
        else:
            pace.append(Pace.begin(done, total, time.monotonic()))

    def tell() -> None:
        while not over.wait(LINES_EVERY_S):
            words = [notes[0], f"after {duration(time.monotonic() - started)}"]
            if pace:
                left = pace[0].seconds_left_at(time.monotonic())
                words.insert(0, f"{pace[0].done:,}/{pace[0].total:,}")
                words += [] if left is None else [f"about {duration(left)} left"]
            out.print(f"{name}: {', '.join(filter(None, words))}", markup=False)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield progress
    finally:
        over.set()
        teller.join()
