"""One of the processes that torchrun starts for a harness stage: ``python -m plw.evaluate.lm_eval.worker <folder>``."""

import dataclasses
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from plw.errors import UserError
from plw.launch.worker_main import serve, tell
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    import torch

    from plw.evaluate.lm_eval.launch import HarnessJob

PATIENCE = timedelta(days=30)
"""The process that holds the claim watches; a slow batch of another process is no reason to end."""
TELL_S = 0.5


def evaluate_with_others(folder: Path) -> None:
    """Evaluate the job's suite; the first process leaves the result."""
    import torch

    from plw.evaluate.lm_eval.data_parallel import data_parallel
    from plw.evaluate.lm_eval.harness import run_tasks
    from plw.evaluate.lm_eval.launch import PROGRESS, RESULT, read_harness_job
    from plw.evaluate.models.hf import EvalModel
    from plw.train.model.parallel import joined

    job = read_harness_job(folder)
    torch.set_num_threads(job.threads)
    device = _own_device(job)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Answers alone are exchanged, which are small and not on the GPU.
    with joined(torch.device("cpu"), PATIENCE) as group:
        model = EvalModel.load(job.model, str(device), job.suite.dtype)
        suite = job.suite if group.first else dataclasses.replace(job.suite, bootstrap_iterations=0)
        progress = _told(folder / PROGRESS, group.size) if group.first else no_progress
        with data_parallel(group):
            result = run_tasks(model, suite, job.files, job.task_folder, progress)
        if group.first:
            tell(folder / RESULT, {"scores": [score.to_dict() for score in result.scores], "raw": result.raw})


def _own_device(job: "HarnessJob") -> "torch.device":
    import torch

    from plw.train.model.parallel import own_device

    there = torch.cuda.device_count()
    kind = job.device if job.device != "auto" else "cuda" if there else "cpu"
    if kind == "cuda" and job.processes > there:
        raise UserError(
            f"execution.processes={job.processes} needs a GPU each, and {there} can be seen; "
            "allowed: as many as there are GPUs, or execution.device=cpu"
        )
    return own_device(kind)


def _told(path: Path, processes: int) -> Progress:
    """Writes how far this process is, times their number: the shares are alike."""
    last = [0.0]

    def progress(done: int, total: int, note: str = "") -> None:
        if time.monotonic() - last[0] >= TELL_S:
            last[0] = time.monotonic()
            tell(path, [min(total, done * processes), total, note])

    return progress


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(serve(launched, lambda: evaluate_with_others(launched)))
