"""Several processes that train one cell: the job is handed to them as files, and their log is read from there.

This process keeps the stage's claim and does no work of its own. A worker ends when torchrun or this process ends, so
none works on unseen.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plw.files.reading import read_json
from plw.launch.job_folder import LAUNCH
from plw.launch.progress_file import ProgressReader
from plw.launch.torchrun import Workers
from plw.paths import LOG
from plw.progress import Progress
from plw.train.job import TrainingJob, TrainingSummary, write_job
from plw.train.log import logged_steps

BEGINS = "begins.json"
"""The steps done before this attempt, and the steps in all."""


def launch(
    job: TrainingJob,
    *,
    on_step: Callable[[dict[str, Any]], None] | None,
    check_lease: Callable[[], None],
    progress: Progress,
) -> TrainingSummary:
    """``train`` in the job's processes on this machine, and on the others that join at the rendezvous.

    Raises:
        UserError, StageError: what the first process to fail says, in its own words.
    """
    log, said = _LogFollower(job.folder / LOG, on_step), ProgressReader(job.folder / LAUNCH, progress)

    def on_poll() -> None:
        check_lease()
        said.poll()
        log.poll()

    result = workers(job).run(
        lambda folder: write_job(job, folder, owner=os.getpid()), on_poll=on_poll, makes_checkpoints=True
    )
    return TrainingSummary(**result)


def workers(job: TrainingJob) -> Workers:
    """The job's processes on this machine."""
    execution = job.execution
    return Workers(
        module="plw.train.worker",
        folder=job.folder / LAUNCH,
        processes=execution.processes,
        threads=execution.thread_count,
        what="training",
        nodes=execution.nodes,
        rendezvous=execution.rendezvous,
    )


class _LogFollower:
    """Passes log rows on as they appear, each once, from the step that this attempt begins with."""

    def __init__(self, path: Path, on_step: Callable[[dict[str, Any]], None] | None) -> None:
        self._path, self._on_step = path, on_step
        self._state = self._stat()
        self._last: int | None = None

    def poll(self) -> None:
        """Pass on what is new."""
        if self._on_step is None or self._stat() == self._state:
            return
        self._state = self._stat()
        rows = logged_steps(self._path)
        begins = self._path.parent / LAUNCH / BEGINS
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
