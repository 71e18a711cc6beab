"""Giving memory back to the system between stages: a worker lives over many cells."""

import ctypes
import gc
import sys
from contextlib import suppress

import psutil

COLLECTED_ABOVE = 2 * 2**30
"""Resident bytes from which a full collection is worth its tenth of a second; torch and harnesses alone take 1 GB."""


def release_memory() -> None:
    """Give back what nothing refers to any more: to the system, and to the GPU where there is one.

    glibc keeps what was freed in pieces below 32 MB, such as a small model's layers, for itself.
    """
    if psutil.Process().memory_info().rss > COLLECTED_ABOVE:
        gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
