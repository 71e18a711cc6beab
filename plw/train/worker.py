"""One of the processes that torchrun starts for a cell: ``python -m plw.train.worker <launch folder>``."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from plw.launch.worker_main import serve, tell


def train_with_others(folder: Path) -> None:
    """Carry the job out; the first process leaves the summary and the step that this attempt begins with."""
    from plw.train.jobfile import read_job
    from plw.train.model.parallel import joined, own_device
    from plw.train.trainer import carry_out, device_of

    job = read_job(folder)
    device = own_device(device_of(job.device).type)
    with joined(device) as group:

        def on_step(row: dict[str, Any]) -> None:
            if group.first and not (folder / "begins.json").exists():
                tell(folder / "begins.json", [row["step"] - 1, row["steps"]])

        summary = carry_out(job, device, group, on_step=on_step, check_lease=lambda: None)
        if group.first:
            tell(folder / "summary.json", dataclasses.asdict(summary))


if __name__ == "__main__":
    launched = Path(sys.argv[1])
    sys.exit(serve(launched, lambda: train_with_others(launched)))
