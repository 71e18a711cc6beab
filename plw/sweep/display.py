"""What a person sees while a grid runs: one bar with rate and time left, and a line for each cell under way.

Away from a terminal it is a few plain lines every minute; the same lines go to a log file in either case.
"""

import logging
import threading
from datetime import datetime
from pathlib import Path
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

from plw.runtime.console import LINES_EVERY_S
from plw.sweep.progress_lines import ProgressLines

PROGRESS_LOG = "progress.log"
"""File of the plain lines, in the study's folder of results; a later run appends to it."""

logger = logging.getLogger(__name__)


class GridDisplay:
    """Counts finished stages over all cells; safe to call from threads.

    Args:
        name: the grid's name on screen.
        cells: how many will run.
        stages: how many stages they have together.
        console: where a person reads; a terminal gets bars, anything else the plain lines.
        folder: gets the progress log.
        lines_every_s: seconds between two looks at the plain lines.
    """

    def __init__(
        self,
        name: str,
        *,
        cells: int,
        stages: int,
        console: Console,
        folder: Path,
        lines_every_s: float = LINES_EVERY_S,
    ) -> None:
        self._console = console
        self._log = folder / PROGRESS_LOG
        self._lines_every_s = lines_every_s
        self._known = ProgressLines(name=name, cells=cells)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._teller = threading.Thread(target=self._tell_lines, daemon=True)
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
        self._bars: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self._stages_done: set[tuple[str, str]] = set()

    def __enter__(self) -> "GridDisplay":
        self._bar.start()
        self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._teller.join()
        self._bar.stop()

    def stage_moved(self, label: str, stage: str, done: int, total: int | None, note: str) -> None:
        """A cell's stage is ``done`` units of ``total``; no total means that the stage has ended."""
        with self._lock:
            if total is None:
                # A cell that waits for another worker is gone through again; its stages count once.
                self._stages_done.add((label, stage))
                self._bar.update(self._total, completed=len(self._stages_done))
                self._known.stage_ended(label, stage)
            elif label not in self._ended:
                self._known.moved(label, stage, done, total, note)
                if label not in self._bars:
                    self._bars[label] = self._bar.add_task("", note="")
                text = f"  {label} · {stage}"
                self._bar.update(self._bars[label], description=text, completed=done, total=total, note=note)

    def cell_ended(self, label: str) -> None:
        """A cell has no more to do here."""
        with self._lock:
            # Its last words may still be on their way from the worker.
            self._ended.add(label)
            self._known.ended(label)
            if label in self._bars:
                self._bar.remove_task(self._bars.pop(label))
            self._bar.update(self._total, note=f"{self._known.cells_per_minute():.1f} cells/min")

    def _tell_lines(self) -> None:
        while not self._over.wait(self._lines_every_s):
            with self._lock:
                lines = self._known.lines()
            if not self._console.is_terminal:
                self._console.print("\n".join(lines), markup=False)
            stamp = datetime.now().astimezone().isoformat(timespec="seconds")
            try:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                with self._log.open("a", encoding="utf-8") as file:
                    file.writelines(f"{stamp} {line}\n" for line in lines)
            except OSError as error:
                # A full disk ends the stage that writes results; the log is no reason to end a grid.
                logger.info("%s is not written: %s", self._log, error.strerror)
