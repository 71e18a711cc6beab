"""What a contender computed, and what the machine could have: tokens, FLOPs, product speed and memory."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.setting import Machine

PRODUCT = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices by which a device's peak is measured."""
REPEATS = 6
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ProductSpeed:
    """The peak: FLOP/s of large matrix products, in the precision and with the threads of the training."""

    by_clock: float
    """FLOP a second, of the fastest product."""
    by_cpu: float
    """FLOP a CPU second of all threads together: holds where other work shares the cores."""


def product_speed(machine: Machine) -> ProductSpeed:
    """Multiply two square matrices some times; the best counts."""
    import torch

    size = PRODUCT[machine.device]
    dtype = torch.float32 if machine.precision == "fp32" else torch.bfloat16
    dice = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=dice).to(machine.device, dtype) for _ in range(2))
    product = torch.empty_like(left)
    clock, cpu = [], []
    for _ in range(REPEATS):
        started = time.perf_counter(), time.process_time()
        torch.mm(left, right, out=product)
        if machine.device == "cuda":
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    return ProductSpeed(by_clock=2 * size**3 / min(clock), by_cpu=2 * size**3 / min(cpu))


@dataclass
class DecoderCount:
    """What goes through a peer's decoder, padding included: it is computed too."""

    tokens: int = 0
    pairs: int = 0
    """Of a token and one that it sees."""

    def watch(self, decoder: Any) -> None:
        """Count with each forward."""

        def count(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            token_BT = named["input_ids"] if "input_ids" in named else positional[0]
            rows, columns = token_BT.shape
            self.tokens += rows * columns
            position_BT = named.get("position_ids")
            # Packed into one row, positions begin anew with each example.
            self.pairs += rows * columns * (columns + 1) // 2 if position_BT is None else int((position_BT + 1).sum())

        decoder.register_forward_pre_hook(count, with_kwargs=True)


def memory_peak_mib(device: str) -> float:
    """The most memory so far: of the GPU, or resident of this process (not ru_maxrss: a child begins with its
    parent's).
    """
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / MIB
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return int(status.read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1024
