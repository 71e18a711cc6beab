"""Several processes as one: who is in the group, and what its members tell each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

GROUP_TIMEOUT = timedelta(days=30)
"""Of an evaluation: the process that holds the claim watches, and a slow batch of another is no reason to end."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes that work on one job together, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_rank0(self) -> bool:
        """Whether this process writes logs and files for all."""
        return self.rank == 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place, in each of them."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value (plain types), in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def all_gather_object(self, value: Any) -> list[Any]:
        """Every process's value (plain types), by rank, in every process; of a group of processes on CPUs (gloo)."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values


ALONE = Group()


@contextmanager
def process_group(device: torch.device, timeout: timedelta | None = None) -> Iterator[Group]:
    """The group that torchrun started this process in; ``timeout``: how long one waits for another (None: torch's)."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timeout)
    try:
        yield Group(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()
