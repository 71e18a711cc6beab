"""Submits a grid as one array of Slurm jobs, a cell each, and watches it from outside; the jobs need no watcher."""

import dataclasses
import inspect
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plw.config import CellConfig
from plw.config.checks import above_zero, at_least
from plw.errors import CellsLeftError, StageError, UserError
from plw.pipeline import Cell, open_registry
from plw.progress import count
from plw.runtime.interrupt import Interrupted
from plw.sweep.drain import read_drain
from plw.sweep.grid import prepare_grid, undone
from plw.sweep.needs import print_needs
from plw.sweep.slurm.job import CellJob
from plw.sweep.slurm.queue import FOLDER, QueuedJob, Submission, last_words, queued, submissions
from plw.sweep.slurm.turn import turn_to_submit

LOGS = "logs"
OURS = ("command", "folder", "use_srun")
"""Arguments of submitit's that are not the user's to give."""


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """How a grid is submitted."""

    sbatch: dict[str, Any] = field(default_factory=dict)
    """submitit's names (`partition`, `time`, `gpus_per_node`, ...) and any other of sbatch's long options."""
    wait: bool = True
    """Stay and say how far the jobs are, until they are done."""
    poll_s: float = 15.0
    """Seconds between two looks at the queue."""
    requeues: int = 20
    """Times that a job whose time is up puts itself back into the queue."""

    def __post_init__(self) -> None:
        if not isinstance(self.wait, bool):
            raise UserError(f"hydra.launcher.wait={self.wait} is not known; allowed: true, false")
        above_zero("hydra.launcher.poll_s", self.poll_s)
        at_least("hydra.launcher.requeues", self.requeues, 0)
        if isinstance(self.requeues, float):
            raise UserError(f"hydra.launcher.requeues={self.requeues:g} is no whole number")
        if wrong := [key for key in OURS if self.sbatch.get(key) is not None]:
            raise UserError(f"hydra.launcher.sbatch.{wrong[0]} is set by the launcher; leave it out")
        time_min, delay_s = self.sbatch.get("time"), self.sbatch.get("signal_delay_s")
        if isinstance(time_min, int | float) and isinstance(delay_s, int | float) and 0 < 60 * time_min <= delay_s:
            raise UserError(
                f"hydra.launcher.sbatch.time={time_min:g} (minutes) is no longer than "
                f"hydra.launcher.sbatch.signal_delay_s={delay_s:g} (seconds), so each job would be told to stop as it "
                "begins, and queue again; give more time, or a shorter delay"
            )


def submit_grid(configs: list[CellConfig], options: SlurmOptions, console: Console) -> None:
    """Check the whole grid here, submit what is neither done nor in the queue, and wait for it if asked to.

    Raises:
        UserError: a mistake in a config, an input or a field of sbatch's; or no Slurm here.
        StageError: a job that was waited for left its cell undone.
        CellsLeftError: the study is drained.
        Interrupted: while waiting; the jobs go on.
    """
    # Jobs may wait for others that do what theirs rest on (sbatch's dependency).
    todo, cells = prepare_grid(configs, console, needs=print_needs)
    done = len(cells) - len(todo)
    name = configs[0].runs_name
    drain = read_drain(configs[0])
    if drain is not None and todo:
        left = f"{count(len(todo), 'cell')} left for later: {drain.text}"
        raise CellsLeftError(f"{left}; after `plw drain --undo` the same command submits them")
    known = _submit_new(todo, options, console, done) if todo else []
    if not todo:
        console.print(f"{name}: nothing to submit, {done} done before")
    if options.wait and todo:
        _watch(todo, known, options.poll_s, console)


def _submit_new(todo: list[Cell], options: SlurmOptions, console: Console, done: int) -> list[Submission]:
    """Submit the cells that no job in the queue has; every submission of the study."""
    config = todo[0].config
    name, folder = config.runs_name, config.study_folder
    with turn_to_submit(folder / FOLDER, config.execution, lambda line: console.print(line, soft_wrap=True)) as turn:
        known = submissions(folder)
        busy = _in_queue(known)
        new = [cell for cell in todo if cell.fingerprint not in busy]
        held = len(todo) - len(new)
        said = f"{done} done before" + (f", {held} in the queue already" if held else "")
        if not new:
            console.print(f"{name}: nothing to submit, {said}")
            return known
        made = _submit(new, folder, options, turn.confirm)
    console.print(f"{name}: {count(len(new), 'cell')} submitted as Slurm's array {made.array}, {said}")
    console.print(f"Their logs: {folder / FOLDER / LOGS}. To end them: scancel {made.array}", soft_wrap=True)
    return [*known, made]


def _submit(cells: list[Cell], folder: Path, options: SlurmOptions, is_my_turn: Callable[[], None]) -> Submission:
    import submitit
    from submitit.slurm.slurm import _make_sbatch_string

    config = cells[0].config
    with open_registry(config) as registry:
        registry.ensure_cells(cell.row() for cell in cells)
    known = inspect.signature(_make_sbatch_string).parameters
    fields = {"job_name": cells[0].config.runs_name, "cpus_per_task": _cores(config), **options.sbatch}
    fields = {key: value for key, value in fields.items() if value is not None}
    nodes = config.execution.nodes
    fields |= {"nodes": nodes, "ntasks_per_node": 1}
    own = {key: value for key, value in fields.items() if key in known}
    more = {key.replace("_", "-"): value for key, value in fields.items() if key not in known}
    if more:
        own["additional_parameters"] = {**own.get("additional_parameters", {}), **more}
    if nodes > 1:
        # The cell is over with the node that holds it.
        own["srun_args"] = [*own.get("srun_args", []), "--kill-on-bad-exit=1"]
    try:
        executor = submitit.SlurmExecutor(folder=folder / FOLDER / LOGS, max_num_timeout=options.requeues)
        executor.update_parameters(**own)
        is_my_turn()
        with executor.batch():
            jobs = [
                executor.submit(CellJob(_one_at_a_time(cell.config), options.requeues, tuple(cell.inputs)))
                for cell in cells
            ]
    except (RuntimeError, ValueError, submitit.core.utils.FailedJobError) as error:
        raise UserError(f"Slurm took no jobs: {' '.join(str(error).split())}") from None
    array = str(jobs[0].job_id).partition("_")[0]
    made = Submission(array=array, cells=[(cell.fingerprint, cell.label) for cell in cells])
    made.write(folder)
    return made


def _cores(config: CellConfig) -> int:
    threads = config.execution.threads
    return config.execution.processes * (threads if isinstance(threads, int) else 1)


def _one_at_a_time(config: CellConfig) -> CellConfig:
    """A job has one cell; its paths hold wherever it runs."""
    execution = dataclasses.replace(
        config.execution,
        workers=1,
        runs=str(config.execution.runs_folder),
        cache=str(config.execution.cache_folder),
    )
    return dataclasses.replace(config, execution=execution)


def _in_queue(known: list[Submission]) -> dict[str, QueuedJob]:
    """Fingerprint -> the job that has it in Slurm's queue."""
    jobs = queued([one.array for one in known])
    by_array = {one.array: one for one in known}
    return {
        by_array[job.array].cells[job.index][0]: job
        for job in jobs
        if job.array in by_array and job.index < len(by_array[job.array].cells)
    }


def _watch(cells: list[Cell], known: list[Submission], poll_s: float, console: Console) -> None:
    """Say how far the jobs are whenever that changes; at the end, which cells are undone."""
    arrays = " ".join(one.array for one in known)
    try:
        last = ""
        while left := undone(cells):
            states, now = _look(cells, left, known)
            if now != last:
                console.print(f"{time.strftime('%H:%M:%S')} {now}")
                last = now
            if states is not None and not states:
                # The last job may have finished between the two looks.
                left = undone(cells)
                break
            time.sleep(poll_s)
        else:
            console.print(f"{time.strftime('%H:%M:%S')} {len(cells)}/{len(cells)} cells")
    except Interrupted:
        console.print(f"The jobs go on. plw status with the same words says how far; scancel {arrays} ends them.")
        raise
    drain = read_drain(cells[0].config)
    if left and drain is not None:
        raise CellsLeftError(f"{count(len(left), 'cell')} left for later: {drain.text}")
    if left:
        ended = _ended(known)
        table = Table("cell", "says", title="Left undone by their jobs", title_justify="left")
        for cell in left:
            table.add_row(cell.label, Text(_why(cell, known, ended)))
        console.print(table)
        raise StageError(f"{count(len(left), 'cell')} undone; the same command submits them again")


def _look(cells: list[Cell], left: list[Cell], known: list[Submission]) -> tuple[Counter[str] | None, str]:
    """How many jobs of the cells that are left are in which state, and the line that says so; None: no answer."""
    done = f"{len(cells) - len(left)}/{len(cells)} cells"
    try:
        jobs = _in_queue(known)
    except UserError as error:
        # A controller that is busy or started anew says nothing of the jobs, which go on.
        return None, f"{done}; Slurm's queue is not known now and is asked again: {error}"
    states = Counter(jobs[cell.fingerprint].state.lower() for cell in left if cell.fingerprint in jobs)
    return states, ", ".join([done, *(f"{n} {state}" for state, n in states.items())])


def _ended(known: list[Submission]) -> dict[tuple[str, int], str]:
    """(array, index) -> the state in which Slurm has a job, also of one that has ended; empty where it does not say."""
    try:
        jobs = queued([one.array for one in known], ended=True)
    except UserError:
        return {}
    return {(job.array, job.index): job.state.lower().replace("_", " ") for job in jobs}


def _why(cell: Cell, known: list[Submission], ended: dict[tuple[str, int], str]) -> str:
    """What the registry has of the cell's failure, or else how its last job ended and what it said last."""
    config = cell.config
    with open_registry(config) as registry:
        found = registry.overview(study=config.study.name, scale=config.scale.name).open
    errors = [row.error for _, row in found if row.cell == cell.fingerprint and row.error]
    if errors:
        return errors[0]
    logs = config.study_folder / FOLDER / LOGS
    for one in reversed(known):
        for index, (fingerprint, _) in enumerate(one.cells):
            if fingerprint != cell.fingerprint:
                continue
            log, job = logs / f"{one.array}_{index}_0_log.err", f"{one.array}_{index}"
            state = ended.get((one.array, index))
            if log.is_file():
                words = last_words(log.read_text(encoding="utf-8", errors="replace"))
                return ": ".join(filter(None, [state, f"{words} ({log.name})"]))
            if state is not None:
                return f"{state}; job {job} left no log"
    return f"see {logs}"
