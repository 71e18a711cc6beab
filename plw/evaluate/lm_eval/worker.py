"""One of the processes that torchrun starts for a harness stage: ``python -m plw.evaluate.lm_eval.worker <folder>``."""

import dataclasses
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError
from plw.files import write_json_atomic
from plw.items import write_items
from plw.launch.worker_main import worker_main
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    import torch

    from plw.evaluate.lm_eval.launch import HarnessJob

GROUP_TIMEOUT = timedelta(days=30)
"""The process that holds the claim watches; a slow batch of another process is no reason to end."""
REPORT_S = 0.5


def evaluate_in_group(folder: Path) -> dict[str, Any]:
    """Evaluate the job's suite with the others; the result."""
    import torch

    from plw.evaluate.lm_eval.answer_log import AnswerLog
    from plw.evaluate.lm_eval.data_parallel import data_parallel
    from plw.evaluate.lm_eval.harness import run_tasks
    from plw.evaluate.lm_eval.launch import PROGRESS, read_harness_job
    from plw.evaluate.models.hf import EvalModel
    from plw.launch.group import process_group

    job = read_harness_job(folder)
    torch.set_num_threads(job.threads)
    device = _device(job)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Answers alone are exchanged, which are small and not on the GPU.
    with process_group(torch.device("cpu"), GROUP_TIMEOUT) as group:
        trusted = job.trust_remote_code
        model = EvalModel.load(job.model, str(device), job.suite.dtype, trust_remote_code=trusted)
        suite = job.suite if group.is_rank0 else dataclasses.replace(job.suite, bootstrap_iterations=0)
        progress = _progress_file(folder / PROGRESS, group.size) if group.is_rank0 else no_progress
        with data_parallel(group), AnswerLog(job.folder, job.identity, group.rank) as answers:
            result = run_tasks(
                model,
                suite,
                job.files,
                job.task_folder,
                progress,
                keep_items=group.is_rank0,
                answers=answers,
                samples=job.samples if group.is_rank0 and suite.samples else None,
            )
        if group.is_rank0:
            write_items(job.items, result.items)
        return {"scores": [score.to_dict() for score in result.scores], "raw": result.raw}


def _device(job: "HarnessJob") -> "torch.device":
    import torch

    from plw.launch.device import local_device

    gpus = torch.cuda.device_count()
    kind = job.device if job.device != "auto" else "cuda" if gpus else "cpu"
    if kind == "cuda" and job.processes > gpus:
        raise UserError(
            f"execution.processes={job.processes} needs a GPU each, and {gpus} can be seen; "
            "allowed: as many as there are GPUs, or execution.device=cpu"
        )
    return local_device(kind)


def _progress_file(path: Path, processes: int) -> Progress:
    """Writes how far this process is, times their number: the shares are alike."""
    last = [0.0]

    def progress(done: int, total: int, note: str = "") -> None:
        if time.monotonic() - last[0] >= REPORT_S:
            last[0] = time.monotonic()
            write_json_atomic(path, [min(total, done * processes), total, note])

    return progress


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(worker_main(launched, lambda: evaluate_in_group(launched)))
