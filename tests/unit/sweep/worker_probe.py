"""What a worker process finds when its first cell comes; run by the processes of the sweep's own pool."""

import os
import sys
import time
from pathlib import Path


def look(folder: str, workers: int) -> tuple[str | None, str, bool]:
    """Devices, threads and whether torch is there already; waits until every worker of the pool has looked."""
    found = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"], "torch" in sys.modules
    (Path(folder) / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < workers and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
