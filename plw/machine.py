"""What this machine has for work: its GPUs and processor cores, found without importing torch."""

import os
from pathlib import Path

import psutil


def visible_gpus() -> list[str]:
    """Ids of the GPUs this process may use."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [name for name in asked.split(",") if name.strip()]
    return [str(index) for index, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def available_cores() -> int:
    """Cores that this process may use, where the system tells; all of the machine's otherwise."""
    process = psutil.Process()
    return len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1
