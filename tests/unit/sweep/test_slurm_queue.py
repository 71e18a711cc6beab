"""What is read of Slurm's jobs: which there are, and why one ended."""

import os
from pathlib import Path

import pytest

from plw.sweep.slurm.queue import last_words, queued

WARNED = """lib/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked semaphore objects
  warnings.warn('resource_tracker: There appear to be %d '
"""
REQUEUED = "plw: stopped by SIGUSR2; the same command continues where it was\n"
KILLED = "srun: error: node1: task 0: Killed\nsrun: Force Terminated StepId=6.0\n"
MISTAKE = "plw: data.json is not there\n"
EXITED = "srun: error: node1: task 0: Exited with exit code 2\n"
STEPS = "srun: Job step aborted\nslurmstepd-node1: error: *** STEP 5.0 ON node1 CANCELLED ***\n"
SUBMITIT = "submitit WARNING (2026-11-30 16:49:39,580) - Bypassing signal SIGCONT\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no\n'


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (WARNED + KILLED, "srun: error: node1: task 0: Killed"),
        (REQUEUED + KILLED.replace("Killed", "Out Of Memory"), "srun: error: node1: task 0: Out Of Memory"),
        (MISTAKE + WARNED + EXITED, MISTAKE.strip()),
        (KILLED + MISTAKE + EXITED, MISTAKE.strip()),
        (TRACEBACK + EXITED + STEPS + SUBMITIT, "ValueError: no"),
        (STEPS + SUBMITIT, "nothing"),
        ("", "nothing"),
    ],
)
def test_a_jobs_log_says_why_it_ended(log: str, said: str) -> None:
    assert last_words(log) == said


def commands_of_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put commands of these names first on the path."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_jobs_that_have_ended_are_asked_for_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "5|1|CANCELLED|None|0:01|node1|0"
    commands_of_slurm(tmp_path, monkeypatch, squeue=f'case "$*" in *--states=all*) echo "{answer}";; esac')
    assert queued(["5"]) == []
    (job,) = queued(["5"], ended=True)
    assert (job.array, job.index, job.state) == ("5", 1, "CANCELLED")
