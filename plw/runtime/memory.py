"""When unused memory is looked for: seldom while objects are made, and between stages, as a worker has many cells."""

import ctypes
import gc
import sys
from contextlib import suppress

COLLECTED_ABOVE = 2 * 2**30
"""Resident bytes from which a full collection is worth its tenth of a second; torch and harnesses alone take 1 GB."""

FULL_COLLECTIONS = 200
"""Collections of the middle generation before one of all objects, 1.4 million objects; Python's own is 10. The
libraries make a million on import, which nearly all stay."""


def collect_rarely() -> None:
    """Let Python look through all objects seldom; at a process's start, before torch and others are imported.

    It looks after each quarter that they grow by, an eighth of the CPU time of the imports. Cycles of young objects are
    found as before.
    """
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)


def release_memory() -> None:
    """Give back what nothing refers to any more: to the system, and to the GPU where there is one.

    glibc keeps what was freed in pieces below 32 MB, such as a small model's layers, for itself.
    """
    import psutil

    if psutil.Process().memory_info().rss > COLLECTED_ABOVE:
        gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
