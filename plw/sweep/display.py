"""What a person sees while a grid runs: one bar with rate and time left, and a line for each cell under way.

Away from a terminal it is quiet: one plain line every half minute.
"""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_LINE_EVERY_S = 30.0


class GridDisplay:
    """Counts finished stages over all cells; safe to call from threads."""

    def __init__(self, name: str, *, cells: int, stages: int, console: Console) -> None:
        self._name = name
        self._cells = cells
        self._console = console
        self._started = time.monotonic()
        self._said = self._started
        self._cells_done = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._total = self._bar.add_task(f"{name} stages", total=stages, note="")
        self._lines: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._stages_done: set[tuple[str, str]] = set()

    def __enter__(self) -> "GridDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage_moved(self, label: str, stage: str, done: int, total: int | None, note: str) -> None:
        """A cell's stage is ``done`` units of ``total``; no total means that the stage has ended."""
        if total is None:
            # A cell that waits for another worker is gone through again; its stages count once.
            self._stages_done.add((label, stage))
            self._bar.update(self._total, completed=len(self._stages_done))
        elif label not in self._ended:
            if label not in self._lines:
                self._lines[label] = self._bar.add_task("", note="")
            text = f"  {label} · {stage}"
            self._bar.update(self._lines[label], description=text, completed=done, total=total, note=note)
        self._say_plainly()

    def cell_ended(self, label: str) -> None:
        """A cell has no more to do here."""
        self._cells_done += 1
        # Its last words may still be on their way from the worker.
        self._ended.add(label)
        if label in self._lines:
            self._bar.remove_task(self._lines.pop(label))
        self._bar.update(self._total, note=f"{self._rate():.1f} cells/min")
        self._say_plainly()

    def _rate(self) -> float:
        return 60 * self._cells_done / max(time.monotonic() - self._started, 1e-9)

    def _say_plainly(self) -> None:
        if self._console.is_terminal or time.monotonic() - self._said < PLAIN_LINE_EVERY_S:
            return
        self._said = time.monotonic()
        left = (self._cells - self._cells_done) / self._rate() if self._cells_done else None
        remaining = f"about {left:.0f} min left" if left is not None else "time left not known yet"
        self._console.print(
            f"{self._name}: {self._cells_done}/{self._cells} cells, {self._rate():.1f} cells/min, {remaining}"
        )
