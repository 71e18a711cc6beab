"""One model over several processes: DDP or FSDP2, whole tensors and local parts of them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch import distributed as dist


def parallelize(
    weighted: nn.Module, *, decoder: nn.Module, sharding: str, device: torch.device, mixed: bool
) -> nn.Module:
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
def synchronised(module: nn.Module, *, now: bool) -> Iterator[None]:
    """A micro-batch whose gradients DDP exchanges ``now``, or keeps for later; FSDP always exchanges, to stay small."""
    waits = isinstance(module, nn.parallel.DistributedDataParallel) and not now
    with module.no_sync() if waits else nullcontext():  # type: ignore[operator]
        yield


def reshard(module: nn.Module) -> None:
    """Give gathered tensors back after a forward that no backward follows; FSDP would keep them for it."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(module, FSDPModule):
        module.reshard()


def layers(decoder: nn.Module) -> nn.ModuleList:
    """The decoder's layers: its module list with the most parameters."""
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda found: sum(parameter.numel() for parameter in found.parameters()))


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor that may be spread over processes, whole in each of them."""
    from torch.distributed.tensor import DTensor

    found: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found


def local_tensor(tensor: Tensor) -> Tensor:
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
