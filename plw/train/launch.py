"""Several processes that train one cell: the job is handed to them as files, and their log is read from there.

This process keeps the stage's claim and does no work of its own. A worker ends when torchrun or this process ends, so
none works on unseen.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plw.files import read_json
from plw.launch.torchrun import LAUNCH, torchrun, watch
from plw.train.job import LOG, TrainingJob, TrainingSummary
from plw.train.jobfile import write_job
from plw.train.log import logged_steps

SUMMARY = "summary.json"
WORKER = "plw.train.worker"


def launch(
    job: TrainingJob, *, on_step: Callable[[dict[str, Any]], None] | None, check_lease: Callable[[], None]
) -> TrainingSummary:
    """``train`` in ``job.processes`` processes on this machine, and on the others that join at the rendezvous.

    Raises:
        UserError, StageError: what the first process to fail says, in its own words.
    """
    folder = job.folder / LAUNCH
    shutil.rmtree(folder, ignore_errors=True)
    write_job(job, folder, owner=os.getpid())
    told = _Told(job.folder / LOG, on_step)

    def turn() -> None:
        check_lease()
        told.more()

    watch(torchrun_command(job, folder), WORKER, folder, threads=job.threads, what="training", turn=turn)
    summary = TrainingSummary(**read_json(folder / SUMMARY))
    shutil.rmtree(folder)
    return summary


def torchrun_command(job: TrainingJob, folder: Path) -> list[str]:
    """The command that starts this machine's processes; other machines join with the same one."""
    meeting = ["--standalone"]
    if job.nodes > 1:
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={job.rendezvous}", f"--rdzv-id={job.folder.parent.name}"]
    return torchrun(WORKER, folder, processes=job.processes, nodes=job.nodes, meeting=meeting)


class _Told:
    """Passes log rows on as they appear, each once, from the step that this attempt begins with."""

    def __init__(self, path: Path, on_step: Callable[[dict[str, Any]], None] | None) -> None:
        self._path, self._on_step = path, on_step
        self._state = self._stat()
        self._last: int | None = None

    def more(self) -> None:
        """Pass on what is new."""
        if self._on_step is None or self._stat() == self._state:
            return
        self._state = self._stat()
        rows = logged_steps(self._path)
        begins = self._path.parent / LAUNCH / "begins.json"
        if self._last is None:
            if not begins.exists():
                return
            self._last, self._steps = read_json(begins)
        assert self._last is not None
        for row in rows[self._last :]:
            self._on_step({**row, "steps": self._steps})
        self._last = max(self._last, len(rows))

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size
