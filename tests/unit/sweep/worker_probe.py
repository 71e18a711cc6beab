"""What a worker process finds when its first cell comes; run by the processes of the sweep's own pool."""

import os
import sys
import time
from pathlib import Path


def bar_semaphores() -> int:
    """Semaphores between processes that a bar of tqdm's has made here."""
    from multiprocessing import synchronize
    from unittest import mock

    import tqdm

    with mock.patch.object(synchronize.SemLock, "__init__", autospec=True) as made:
        list(tqdm.tqdm(range(3), disable=False))
    return made.call_count


def look(folder: str, workers: int) -> tuple[str | None, str, bool]:
    """Devices, threads and whether torch is there already; waits until every worker of the pool has looked."""
    found = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"], "torch" in sys.modules
    (Path(folder) / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < workers and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
