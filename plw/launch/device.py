"""The device that a process computes on."""

import os

import torch

from plw.errors import UserError


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
