"""How many threads torch computes with, and how they wait for each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SPIN_COUNT = "10000"
"""Looks that a thread takes for the others before it sleeps; GNU's OpenMP takes 300,000 of its own, 20 ms on a Xeon."""


def spin_briefly() -> None:
    """Threads that wait leave their cores to other work soon; before torch is imported, and unless the user chose.

    Where other programs have work, two threads at the default wait for each other longer than they compute
    (docs/benchmarks.md, "Beside other work").
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many for a while, then as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
