"""How far the processes of a launch are: a small file that one of them writes and the claim's holder reads."""

import time
from pathlib import Path

from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.progress import Progress

PROGRESS = "progress.json"
REPORT_S = 0.5
"""Seconds between two writings."""


def written_progress(folder: Path, shares: int = 1) -> Progress:
    """Progress that goes to a launch's file; ``shares`` is how many processes do as much as this one says."""
    last = [0.0]

    def progress(done: int, total: int, note: str = "") -> None:
        if time.monotonic() - last[0] >= REPORT_S:
            last[0] = time.monotonic()
            write_json_atomic(folder / PROGRESS, [min(total, done * shares), total, note])

    return progress


class ProgressReader:
    """Passes on what a launch's file says, each time that it says something new."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._path = folder / PROGRESS
        self._progress = progress
        self._last: object = None

    def poll(self) -> None:
        """Look."""
        if self._path.exists():
            done, total, note = now = read_json(self._path)
            if now != self._last:
                self._last = now
                self._progress(done, total, note)
