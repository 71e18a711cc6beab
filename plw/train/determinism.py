"""A stretch of work with fixed seed, threads and kernels, that leaves the process as it found it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plw.launch.threads import torch_threads


@contextmanager
def deterministic(*, seed: int, threads: int, device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Same seed, same bytes, on the same machine with the same number of threads.

    On CUDA the choice of deterministic kernels is left to the caller's environment: torch refuses them without
    CUBLAS_WORKSPACE_CONFIG, which has to be set before CUDA starts. ``tf32`` lets CUDA round the factors of fp32 matrix
    products to 10 bits, as the papers' recipe does beside bf16.
    """
    matmul_before = torch.get_float32_matmul_precision()
    strict_before = torch.are_deterministic_algorithms_enabled()
    fill_before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch_threads(threads):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(device.type == "cpu")
        # Writing NaN over every new buffer finds bugs; it costs time and changes no result.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_float32_matmul_precision("high" if tf32 and device.type == "cuda" else matmul_before)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul_before)
            torch.use_deterministic_algorithms(strict_before)
            torch.utils.deterministic.fill_uninitialized_memory = fill_before  # type: ignore[attr-defined]
