"""A process that evaluates a harness job and is killed after so many answers: ``python -m ... JOB ANSWERS``.

Run as ``together`` with ANSWERS 0 it evaluates in several processes and is killed from outside.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from plw.evaluate.lm_eval.answer_log import AnswerLog
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.lm_eval.launch import read_harness_job
from plw.evaluate.models.hf import EvalModel
from tests.distributed.harness_jobs import together


def main(folder: Path, answers: int) -> None:
    """Evaluate; SIGKILL to oneself at the answer of that number, 0: never."""
    job = read_harness_job(folder)
    if not answers:
        together(job)
        return
    torch.set_num_threads(1)
    left = [answers]

    def progress(done: int, total: int, note: str = "") -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    with AnswerLog(job.folder, job.identity) as log:
        run_tasks(EvalModel.load(job.model), job.suite, job.files, job.task_folders, progress, answers=log)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
