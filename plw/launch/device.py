"""The device that a process computes on."""

import os

import torch

from plw.errors import UserError
from plw.runtime.machine import check_gpu_count


def device_of(name: str) -> torch.device:
    """The device that ``execution.device`` names.

    Raises:
        UserError: CUDA is asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device=cuda, but torch sees no CUDA device; allowed here: cpu, auto")
    return torch.device(name)


def local_device(name: str) -> torch.device:
    """The device of this process among those that torchrun started on its machine: one GPU each."""
    return torch.device(name, int(os.environ["LOCAL_RANK"])) if name == "cuda" else torch.device(name)


def device_in_group(name: str, processes: int) -> torch.device:
    """The device of this process, one of several that each hold a copy of a model; it becomes torch's current one.

    Args:
        name: as ``execution.device`` has it.
        processes: of the group on this machine.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    gpus = torch.cuda.device_count()
    kind = name if name != "auto" else "cuda" if gpus else "cpu"
    if kind == "cuda":
        check_gpu_count(processes, gpus)
    device = local_device(kind)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
