"""Several processes as one: who is in the group, what they add up, and how the model is wrapped for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


@dataclass(frozen=True, kw_only=True)
class Group:
    """The processes that train one cell together, seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes logs and files for all."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in each of them."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def first_says(self, value: Any) -> Any:
        """The first process's value (plain types), in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def each_says(self, value: Any) -> list[Any]:
        """Every process's value (plain types), by rank, in every process; of a group of processes on CPUs (gloo)."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values


ALONE = Group()


@contextmanager
def joined(device: torch.device, patience: timedelta | None = None) -> Iterator[Group]:
    """The group that torchrun started this process in; ``patience``: how long one waits for another (None: torch's)."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=patience)
    try:
        yield Group(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def own_device(name: str) -> torch.device:
    """The device of this process on its machine: one GPU each."""
    return torch.device(name, int(os.environ["LOCAL_RANK"])) if name == "cuda" else torch.device(name)


def wrap(weighted: nn.Module, *, decoder: nn.Module, sharding: str, device: torch.device, mixed: bool) -> nn.Module:
    """The model with its loss, spread over the processes of the group; gradients are summed, not averaged.

    ``ddp`` keeps a copy in each process. ``fsdp`` keeps a part of every tensor in each: the matrices of a layer's
    children (attention, feed-forward) are gathered together when the child runs, in bf16 if ``mixed``, which is what
    autocast would make of them; embeddings, norms and the head are gathered in fp32 with the whole model, so the
    fused loss finds its weight whole. Gradients are summed in fp32.
    """
    if sharding == "ddp":
        weighted.to(device)
        parallel = nn.parallel.DistributedDataParallel(
            weighted, device_ids=[device] if device.index is not None else None
        )
        parallel.register_comm_hook(None, _summed)
        return parallel
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    gathered = torch.bfloat16 if mixed else None
    for layer in layers(decoder):
        for child in layer.children():
            if any(parameter.ndim > 1 for parameter in child.parameters()):
                policy = MixedPrecisionPolicy(
                    param_dtype=gathered, reduce_dtype=torch.float32, cast_forward_inputs=False
                )
                fully_shard(child, mesh=mesh, mp_policy=policy)
    fully_shard(
        weighted, mesh=mesh, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    )
    for module in weighted.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # gloo knows plain sums only.
            module.set_force_sum_reduction_for_comms(True)
    return weighted


@contextmanager
def synchronised(module: nn.Module, now: bool) -> Iterator[None]:
    """A micro-batch whose gradients DDP exchanges ``now``, or keeps for later; FSDP always exchanges, to stay small."""
    waits = isinstance(module, nn.parallel.DistributedDataParallel) and not now
    with module.no_sync() if waits else nullcontext():  # type: ignore[operator]
        yield


def put_back(module: nn.Module) -> None:
    """Give gathered tensors back after a forward that no backward follows; FSDP would keep them for it."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(module, FSDPModule):
        module.reshard()


def layers(decoder: nn.Module) -> nn.ModuleList:
    """The decoder's layers: its module list with the most parameters."""
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda found: sum(parameter.numel() for parameter in found.parameters()))


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over processes, whole in each of them."""
    from torch.distributed.tensor import DTensor

    found: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found


def own_part(tensor: Tensor) -> Tensor:
    """The part that this process holds of a tensor that may be spread over processes."""
    from torch.distributed.tensor import DTensor

    found: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return found


def _summed(_: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """DDP's exchange without its division by the number of processes: the coefficients hold every denominator."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    future: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return future
