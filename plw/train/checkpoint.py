"""Checkpoints: weights, optimizer moments and random states, written whole or not at all, the last few kept.

A checkpoint is a folder ``step-N`` with safetensors files, of which each process writes its own, and ``state.json``.
It is written under a temporary name and renamed into place. torch.distributed.checkpoint reads it into any number of
processes and either sharding; it is told to write safetensors, because its own format is pickle.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from plw.errors import UserError
from plw.files.products import check_products, note_products
from plw.files.sealed import read_sealed_json, sealed_json
from plw.launch.group import ALONE, Group

STATE = "state.json"
FILE_BYTES = 128 << 20
"""Tensors of one file. torch makes all of a file's bytes, twice over, before it writes them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where in which run a checkpoint stands."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Seconds of training so far, over all attempts."""
    run: str
    """Fingerprint of what decides the result of the run."""


def save(
    folder: Path,
    position: TrainProgress,
    tensors: dict[str, Tensor],
    *,
    keep: int,
    group: Group = ALONE,
    check_lease: Callable[[], None] = lambda: None,
) -> None:
    """Write ``folder/step-N`` and remove all but the newest ``keep``; every process of the group calls it.

    ``check_lease`` is called once all is written, before it is put in its place; it raises where the claim is lost, and
    then nothing stays of it.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as save_tensors

    temporary, final = folder / f".step-{position.step}.tmp", folder / f"step-{position.step}"
    if group.is_rank0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    group.broadcast_object(None)
    with _quiet(), _plain_errors():
        writer = HuggingFaceStorageWriter(str(temporary), _files(tensors, group), save_distributed=True)
        save_tensors(tensors, storage_writer=writer, no_dist=group.size == 1)
    group.broadcast_object(None)
    if group.is_rank0:
        files = sorted(temporary.glob("*.safetensors"))
        state = {**asdict(position), "files": note_products(temporary)}
        (temporary / STATE).write_text(sealed_json(state), encoding="utf-8")
        for path in (*files, temporary / STATE, temporary):
            _flush(path)
        _check_before_renaming(check_lease, temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _flush(folder)
        for old in _by_age(folder)[keep:]:
            shutil.rmtree(old)
    group.broadcast_object(None)


def _files(tensors: dict[str, Tensor], group: Group) -> dict[str, int]:
    """In which file each tensor goes, numbered from 1; the first process's answer holds for all of them.

    They have tensors of the same names and whole sizes, but for the random states, which all go in the first file.
    """
    files = {_random_name(kind, rank): 1 for kind in ("cpu", "cuda") for rank in range(group.size)}
    number, filled = 1, 0
    for name, tensor in tensors.items():
        if name in files:
            continue
        size = tensor.numel() * tensor.element_size()
        if filled and filled + size > FILE_BYTES:
            number, filled = number + 1, 0
        files[name], filled = number, filled + size
    return files


def _check_before_renaming(check_lease: Callable[[], None], temporary: Path) -> None:
    try:
        check_lease()
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            # Made for it alone, where another process has finished the stage meanwhile.
            temporary.parent.rmdir()
        raise


def latest(folder: Path, *, at_most: int) -> TrainProgress | None:
    """Where the newest whole checkpoint of at most ``at_most`` steps stands; broken ones are passed over."""
    for path in _by_age(folder):
        position = _position(path)
        if position is not None and position.step <= at_most:
            return position
    return None


def load(folder: Path, step: int, tensors: dict[str, Tensor], *, group: Group = ALONE) -> set[str]:
    """Fill tensors in place from ``folder/step-N``, however many processes wrote it; the names that it has."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load as load_tensors

    path = str(folder / f"step-{step}")
    with _quiet(), _plain_errors():
        there = set(HuggingFaceStorageReader(path).read_metadata().state_dict_metadata)
        found = {name: tensor for name, tensor in tensors.items() if name in there}
        load_tensors(found, storage_reader=HuggingFaceStorageReader(path), no_dist=group.size == 1)
    return set(found)


def capture(model: nn.Module, optimizer: torch.optim.Optimizer, group: Group = ALONE) -> dict[str, Tensor]:
    """Every tensor that the next step depends on, by name: the very ones, so that loading into them restores."""
    tensors = {f"model.{name}": tensor for name, tensor in _model_tensors(model).items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            # Step counters have no dimension, which safetensors slices cannot address.
            tensors[f"optimizer.{key}.{name}"] = value.view(1) if value.dim() == 0 else value
    for name, state in _random_states(model).items():
        tensors[_random_name(name, group.rank)] = state
    return {name: tensor.detach() for name, tensor in tensors.items()}


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, step: int, group: Group = ALONE) -> None:
    """Put model, optimizer and random states back to where ``folder/step-N`` has them.

    A process that did not exist then keeps the random state that it has.
    """
    for parameters in optimizer.param_groups:
        for parameter in parameters["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
    tensors = capture(model, optimizer, group)
    found = load(folder, step, tensors, group=group)
    if (name := _random_name("cpu", group.rank)) in found:
        torch.set_rng_state(tensors[name])
    if (name := _random_name("cuda", group.rank)) in found:
        torch.cuda.set_rng_state(tensors[name])


def _random_name(kind: str, rank: int) -> str:
    return f"random.{kind}.{rank}"


def _random_states(model: nn.Module) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if any(parameter.is_cuda for parameter in model.parameters()):
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Trained parameters (a tied one once) and the buffers that belong to the saved state."""
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**{name: p for name, p in model.named_parameters() if p.requires_grad}, **buffers}


def _position(path: Path) -> TrainProgress | None:
    """The checkpoint's position, if its files are what was written."""
    try:
        state = read_sealed_json(path / STATE)
        check_products(path, state.pop("files"), made_by="train", exact=False)
        return TrainProgress(**state)
    except UserError as error:
        logger.warning("%s; an earlier checkpoint is taken", error)
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _by_age(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    finished = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(finished, key=lambda path: -int(path.name.removeprefix("step-")))


@contextmanager
def _quiet() -> Iterator[None]:
    """Outside a process group torch warns that it assumes one process, which is what is meant."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What went wrong in a process (a full disk, a signal) as itself.

    Torch raises it inside an exception that is no ``Exception``, which passes by all that handles failures.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        cause, _ = error.failures[min(error.failures)]
        raise cause from None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
