"""One of the processes that torchrun starts for a stage's part: ``python -m plw.pipeline.worker <launch folder>``."""

import sys
from pathlib import Path
from typing import Any

from plw.launch.worker_main import worker_main


def work_in_group(folder: Path) -> dict[str, Any]:
    """Do the part with the others; its scores."""
    import torch

    from plw.config import CellConfig
    from plw.config.plain import from_plain
    from plw.launch.group import GROUP_TIMEOUT, process_group
    from plw.launch.job_folder import job_fields
    from plw.launch.progress_file import written_progress
    from plw.pipeline.cell import resolve_cell
    from plw.pipeline.context import CellContext
    from plw.pipeline.judge_cache import JudgeCache
    from plw.pipeline.model_parts import MODEL_PARTS
    from plw.progress import no_progress

    job = job_fields(folder)
    cell = resolve_cell(from_plain(CellConfig, job["config"]))
    # Results alone are exchanged, which are small and not on the GPU.
    with process_group(torch.device("cpu"), GROUP_TIMEOUT) as group, JudgeCache() as judges:
        said = written_progress(folder) if group.is_rank0 else no_progress

        def progress(_: str, done: int, total: int, note: str) -> None:
            said(done, total, note)

        with CellContext(cell, progress, judges, group) as context:
            scores = MODEL_PARTS[job["kind"]](context, lambda: None)
    return {"scores": [score.to_dict() for score in scores]}


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(worker_main(launched, lambda: work_in_group(launched)))
