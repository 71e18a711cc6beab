"""One of the processes that torchrun starts for a harness stage: ``python -m plw.evaluate.lm_eval.worker <folder>``."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from plw.launch.progress_file import written_progress
from plw.launch.worker_main import worker_main
from plw.progress import no_progress
from plw.results.items import write_items


def evaluate_in_group(folder: Path) -> dict[str, Any]:
    """Evaluate the job's suite with the others; the result."""
    import torch

    from plw.evaluate.lm_eval.answer_log import AnswerLog
    from plw.evaluate.lm_eval.data_parallel import data_parallel
    from plw.evaluate.lm_eval.harness import run_tasks
    from plw.evaluate.lm_eval.launch import read_harness_job
    from plw.evaluate.models.hf import EvalModel
    from plw.launch.device import device_in_group
    from plw.launch.group import GROUP_TIMEOUT, process_group

    job = read_harness_job(folder)
    torch.set_num_threads(job.threads)
    device = device_in_group(job.device, job.processes)
    # Answers alone are exchanged, which are small and not on the GPU.
    with process_group(torch.device("cpu"), GROUP_TIMEOUT) as group:
        trusted = job.trust_remote_code
        model = EvalModel.load(job.model, str(device), job.suite.dtype, trust_remote_code=trusted)
        suite = job.suite if group.is_rank0 else dataclasses.replace(job.suite, bootstrap_iterations=0)
        progress = written_progress(folder, group.size) if group.is_rank0 else no_progress
        with data_parallel(group), AnswerLog(job.folder, job.identity, group.rank) as answers:
            result = run_tasks(
                model,
                suite,
                job.files,
                job.task_folders,
                progress,
                keep_items=group.is_rank0,
                answers=answers,
                samples=job.samples if group.is_rank0 and suite.samples else None,
            )
        if group.is_rank0:
            write_items(job.items, result.items)
        return {"scores": [score.to_dict() for score in result.scores], "raw": result.raw}


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(worker_main(launched, lambda: evaluate_in_group(launched)))
