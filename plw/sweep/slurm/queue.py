"""What Slurm's queue says of a study's jobs, and what was submitted: one file a submission, in the study's folder."""

import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from plw.errors import UserError
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.sweep.watch import QueueLook

FOLDER = "slurm"
"""In the study's folder of results: submissions, and below `logs` submitit's files and the jobs' output."""
FORMAT = "ArrayJobID:|,ArrayTaskID:|,State:|,Reason:|,TimeUsed:|,NodeList:|,RestartCnt:"
"""What is asked of each job, a bar between."""
SLURM_TIMEOUT_S = 60
ENDED_TASK = re.compile(r"srun: error: .+: tasks? .+: (?!Exited with)")
"""What srun says of a task that a signal or the want of memory has ended."""
GONE = ("Invalid job id", "slurm_load_jobs error: Invalid")


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """One job of an array that Slurm still holds."""

    array: str
    index: int
    state: str
    """Slurm's own word: PENDING, RUNNING, REQUEUED, COMPLETING, ..."""
    reason: str
    used: str
    """Time used, as Slurm writes it."""
    nodes: str
    restarts: int
    """Times that it was put back into the queue."""

    @property
    def text(self) -> str:
        """Its state in a few words."""
        again = f", requeued {self.restarts} times" if self.restarts > 1 else ", requeued once" if self.restarts else ""
        if self.state == "RUNNING":
            return f"running for {self.used} on {self.nodes}{again}"
        why = "" if self.reason in ("", "None") else f" ({self.reason})"
        return f"{self.state.lower()}{why}{again}"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An array of jobs: index in the array -> the cell's fingerprint and label."""

    array: str
    cells: list[tuple[str, str]]

    def write(self, folder: Path) -> None:
        """Keep it in a study's folder."""
        write_json_atomic(
            folder / FOLDER / f"{self.array}.json",
            {"array": self.array, "submitted": time.time(), "cells": [list(cell) for cell in self.cells]},
        )


def submissions(folder: Path) -> list[Submission]:
    """Every submission of a study, by the number of its array."""
    found = [read_json(path) for path in (folder / FOLDER).glob("*.json")]
    read = [Submission(array=one["array"], cells=[(cell, label) for cell, label in one["cells"]]) for one in found]
    return sorted(read, key=lambda one: int(one.array))


def queued(arrays: list[str], *, ended: bool = False) -> list[QueuedJob]:
    """The jobs of some arrays that wait, run or end just now; an array that Slurm has forgotten has none.

    Args:
        arrays: their numbers.
        ended: those that have ended as well, as long as Slurm remembers them (MinJobAge, five minutes by default).

    Raises:
        UserError: Slurm does not answer.
    """
    if not arrays:
        return []
    found = []
    states = ("--states=all",) if ended else ()
    for line in _ask("squeue", "--noheader", "--array", *states, f"--jobs={','.join(arrays)}", f"--Format={FORMAT}"):
        job, index, state, reason, used, nodes, restarts = line.split("|")
        found.append(
            QueuedJob(
                array=job,
                index=int(index) if index.isdigit() else 0,
                state=state,
                reason=reason,
                used=used,
                nodes=nodes,
                restarts=int(restarts or 0),
            )
        )
    return found


def _ask(*command: str) -> list[str]:
    """The lines of one of Slurm's commands; none where the job is no longer known."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SLURM_TIMEOUT_S)
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not on this machine; run this where Slurm's commands are") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} gave no answer within {SLURM_TIMEOUT_S} s; try again later") from None
    if done.returncode and not any(words in done.stderr for words in GONE):
        raise UserError(f"{command[0]}: {' '.join(done.stderr.split())}")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def last_words(log: str) -> str:
    """What a job's log of errors says of its end: our own line, or the signal that ended it, whichever is the later;
    else its last line that is neither Slurm's nor submitit's.
    """
    lines = [line for line in log.splitlines() if line.strip() and not line[0].isspace()]
    telling = [line for line in lines if line.startswith("plw: ") or ENDED_TASK.match(line)]
    others = [line for line in lines if not line.startswith(("srun:", "slurmstepd", "submitit "))]
    return next(reversed(telling or others), "nothing")


def look_at_queue(folder: Path) -> QueueLook | None:
    """The jobs of a study that Slurm still holds, by the study's folder of results; None where it holds none."""
    by_array = {one.array: one.cells for one in submissions(folder)}
    try:
        jobs = queued(list(by_array))
    except UserError as error:
        said = f"Slurm's queue: {error}"
        return QueueLook(line=said, view=Text(said))
    if not jobs:
        return None
    states = Counter(job.state.lower() for job in jobs)
    table = Table("job", "cell", "state", title="Slurm", title_justify="left")
    for job in jobs:
        cells = by_array[job.array]
        table.add_row(f"{job.array}_{job.index}", cells[job.index][1] if job.index < len(cells) else "", job.text)
    return QueueLook(line="Slurm: " + ", ".join(f"{n} {state}" for state, n in states.items()), view=table)
