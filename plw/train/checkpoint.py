"""Checkpoints: weights, optimizer moments and random states, written whole or not at all, the last few kept.

A checkpoint is a folder ``step-N`` with ``state.safetensors`` (every tensor) and ``state.json`` (the rest). It is
written under a temporary name and renamed into place.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

TENSORS = "state.safetensors"
POSITION = "state.json"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where in which run a checkpoint stands."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Seconds of training so far, over all attempts."""
    run: str
    """Fingerprint of what decides the result of the run."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A position and the tensors to continue from it."""

    position: Position
    tensors: dict[str, Tensor]


def save(folder: Path, position: Position, tensors: dict[str, Tensor], *, keep: int) -> None:
    """Write ``folder/step-N`` and remove all but the newest ``keep``."""
    from safetensors.torch import save_file

    temporary, final = folder / f".step-{position.step}.tmp", folder / f"step-{position.step}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / TENSORS)
    (temporary / POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")
    for path in (temporary / TENSORS, temporary / POSITION, temporary):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    _flush(folder)
    for old in _by_age(folder)[keep:]:
        shutil.rmtree(old)


def load_latest(folder: Path, *, at_most: int) -> Checkpoint | None:
    """The newest readable checkpoint of at most ``at_most`` steps; broken ones and leftovers are passed over."""
    for path in _by_age(folder):
        checkpoint = _load(path)
        if checkpoint is not None and checkpoint.position.step <= at_most:
            return checkpoint
    return None


def capture(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor that the next step depends on, by name."""
    tensors = {f"model.{name}": tensor for name, tensor in _model_tensors(model).items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if any(parameter.is_cuda for parameter in model.parameters()):
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put captured tensors back."""
    with torch.no_grad():
        for name, tensor in _model_tensors(model).items():
            tensor.copy_(tensors[f"model.{name}"])
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            moment, _, name = rest.partition(".")
            parameter = parameters[name]
            # The step counter of a fused optimizer lives on the parameter's device too.
            optimizer.state[parameter][moment] = value.clone().to(parameter.device)
    torch.set_rng_state(tensors["random.cpu"].clone())
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"].clone())


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters (a tied one once) and the buffers that belong to the saved state."""
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**dict(model.named_parameters()), **buffers}


def _load(path: Path) -> Checkpoint | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        position = Position(**json.loads((path / POSITION).read_text(encoding="utf-8")))
        return Checkpoint(position=position, tensors=load_file(path / TENSORS))
    except (OSError, ValueError, TypeError, SafetensorError):
        return None


def _by_age(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    finished = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(finished, key=lambda path: -int(path.name.removeprefix("step-")))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
