"""One of the processes that torchrun starts for a cell: ``python -m plw.train.worker <launch folder>``."""

import sys
from pathlib import Path
from typing import Any

from plw.files.writing import write_json_atomic
from plw.launch.worker_main import worker_main


def train_in_group(folder: Path) -> dict[str, Any]:
    """Train with the others; the summary. Rank 0 leaves the step that this attempt begins with."""
    from plw.launch.device import device_of, local_device
    from plw.launch.group import process_group
    from plw.launch.job_folder import STOP
    from plw.launch.progress_file import written_progress
    from plw.progress import no_progress
    from plw.runtime.interrupt import requested
    from plw.train.job import read_job
    from plw.train.launch import BEGINS
    from plw.train.trainer import Trainer

    job = read_job(folder)
    device = local_device(device_of(job.execution.device).type)
    with process_group(device) as group:

        def on_step(row: dict[str, Any]) -> None:
            if group.is_rank0 and not (folder / BEGINS).exists():
                write_json_atomic(folder / BEGINS, [row["step"] - 1, row["steps"]])

        def stop_requested() -> bool:
            return requested() is not None or (folder / STOP).exists()

        trainer = Trainer(
            job,
            device,
            group,
            on_step=on_step,
            stop_requested=stop_requested,
            progress=written_progress(folder) if group.is_rank0 else no_progress,
        )
        return trainer.run().to_dict()


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(worker_main(launched, lambda: train_in_group(launched)))
