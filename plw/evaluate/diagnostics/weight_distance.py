"""How far fine-tuning moved the weights: L1 and L2 distance of two safetensors folders, in all and by layer."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plw.errors import UserError
from plw.score import Score

if TYPE_CHECKING:
    import torch

BENCHMARK = "weight_distance"
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")


@dataclass(kw_only=True)
class _Sum:
    absolute: float = 0.0
    square: float = 0.0
    numbers: int = 0


def weight_distance(learned: Path, base: Path, suite: str) -> list[Score]:
    """Distance between a trained model's weights and those that it started from.

    Tensors are compared by name, one at a time, in float32 with float64 sums. Where one has more rows than the other
    (embeddings of added tokens), the rows that only one has are left out and counted. A layer is what a ``layers.<i>.``
    (or ``h.<i>.``) in the name says; everything else, embeddings and final norm, is ``other``.

    Args:
        learned: Folder with the trained model's safetensors.
        base: Folder with the base model's.
        suite: The suite's name, for the scores.

    Returns:
        Metrics ``l2`` and ``l1`` over all compared numbers, ``l2.layer.<i>``, ``l1.layer.<i>``, ``l2.other``,
        ``l1.other``, each with n = numbers compared, and ``extra_rows``.

    Raises:
        UserError: a folder without safetensors, a tensor that only one model has, or shapes that differ in more than
            the number of rows.
    """
    import torch

    learned_files, base_files = _tensor_files(learned), _tensor_files(base)
    only = sorted(learned_files.keys() ^ base_files.keys())
    if only:
        where = learned if only[0] in learned_files else base
        raise UserError(f"{where}: tensor {only[0]} is not in the other model; {len(only)} such tensors")
    sums: dict[str, _Sum] = defaultdict(_Sum)
    extra_rows = 0
    for name in sorted(learned_files):
        left, right = _tensor(learned_files[name], name), _tensor(base_files[name], name)
        if left.shape != right.shape:
            if left.ndim == 0 or left.ndim != right.ndim or left.shape[1:] != right.shape[1:]:
                raise UserError(f"{learned}: tensor {name} is {list(left.shape)}, in {base} it is {list(right.shape)}")
            rows = min(len(left), len(right))
            extra_rows += abs(len(left) - len(right))
            left, right = left[:rows], right[:rows]
        difference = left.to(torch.float32) - right.to(torch.float32)
        part = sums[_part(name)]
        part.absolute += float(difference.abs().sum(dtype=torch.float64))
        part.square += float(difference.square().sum(dtype=torch.float64))
        part.numbers += difference.numel()
    total = _Sum(
        absolute=sum(part.absolute for part in sums.values()),
        square=sum(part.square for part in sums.values()),
        numbers=sum(part.numbers for part in sums.values()),
    )
    scores = _scores(suite, "", total)
    for name in sorted(sums, key=_part_order):
        scores += _scores(suite, f".{name}", sums[name])
    return [*scores, Score(suite=suite, benchmark=BENCHMARK, metric="extra_rows", value=float(extra_rows))]


def _scores(suite: str, suffix: str, part: _Sum) -> list[Score]:
    values = {"l2": part.square**0.5, "l1": part.absolute}
    return [
        Score(suite=suite, benchmark=BENCHMARK, metric=f"{norm}{suffix}", value=value, n=part.numbers)
        for norm, value in values.items()
    ]


def _part(name: str) -> str:
    match = _LAYER.search(name)
    return f"layer.{match.group(1)}" if match else "other"


def _part_order(part: str) -> tuple[bool, int]:
    number = part.removeprefix("layer.")
    return (not number.isdigit(), int(number) if number.isdigit() else 0)


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Tensor name -> the file that holds it."""
    from safetensors import safe_open

    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as opened:
            files |= dict.fromkeys(opened.keys(), path)
    if not files:
        raise UserError(f"{folder}: no safetensors files; the weights cannot be compared")
    return files


def _tensor(path: Path, name: str) -> "torch.Tensor":
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(name)
    return tensor
