"""How far fine-tuning moved the weights: L1 and L2 distance of two models' parameters, in all and by layer."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plw.errors import UserError
from plw.evaluate.models.hf import load_weights
from plw.files.reading import read_json
from plw.results.score import Score
from plw.runtime.memory import release_memory

if TYPE_CHECKING:
    import torch

BENCHMARK = "weight_distance"
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")


@dataclass(kw_only=True)
class _Sum:
    absolute: float = 0.0
    square: float = 0.0
    numbers: int = 0


def weight_distance(learned: Path, base: Path, suite: str, *, trust_remote_code: bool = False) -> list[Score]:
    """Distance between a trained model's weights and those that it started from.

    What transformers loads from the two folders is compared, parameter by parameter. What else their weights files hold
    (buffers, a tied head that is stored, experts of another model) is no parameter: it is counted and left out. Both
    models are in memory at once, in the number format of their files.

    Args:
        learned: Folder of the trained model.
        base: Folder of the base model.
        suite: The suite's name, for the scores.
        trust_remote_code: Run code that comes with the base model.

    Returns:
        As :func:`parameter_distance`, and ``left_out``: numbers stored beside the parameters in either folder.

    Raises:
        UserError: a folder that is no model's, or models whose parameters do not match.
    """
    mine, theirs = (_parameters(folder, trust_remote_code) for folder in (learned, base))
    scores = parameter_distance(mine, theirs, suite, names=(str(learned), str(base)))
    left_out = sum(
        _stored_numbers(folder) - sum(parameter.numel() for parameter in parameters.values())
        for folder, parameters in ((learned, mine), (base, theirs))
    )
    del mine, theirs
    release_memory()
    return [*scores, Score(suite=suite, benchmark=BENCHMARK, metric="left_out", value=float(max(0, left_out)))]


def parameter_distance(
    learned: "Mapping[str, torch.Tensor]",
    base: "Mapping[str, torch.Tensor]",
    suite: str,
    names: tuple[str, str] = ("learned", "base"),
) -> list[Score]:
    """Distance between tensors of the same names, one pair at a time, in float32 with float64 sums.

    Where one has more rows than the other (embeddings of added tokens), the rows that only one has are left out and
    counted. A layer is what a ``layers.<i>.`` (or ``h.<i>.``) in the name says; everything else, embeddings and final
    norm, is ``other``.

    Args:
        learned: Name -> tensor of the trained model.
        base: Name -> tensor of the base model.
        suite: The suite's name, for the scores.
        names: What the two are called in messages.

    Returns:
        Metrics ``l2`` and ``l1`` over all compared numbers, ``l2.layer.<i>``, ``l1.layer.<i>``, ``l2.other``,
        ``l1.other``, each with n = numbers compared, and ``extra_rows``.

    Raises:
        UserError: a tensor that only one has, or shapes that differ in more than the number of rows.
    """
    import torch

    only = sorted(learned.keys() ^ base.keys())
    if only:
        where = names[0] if only[0] in learned else names[1]
        raise UserError(f"{where}: tensor {only[0]} is not in the other model; {len(only)} such tensors")
    sums: dict[str, _Sum] = defaultdict(_Sum)
    extra_rows = 0
    for name in sorted(learned):
        left, right = learned[name], base[name]
        if left.shape != right.shape:
            if left.ndim == 0 or left.ndim != right.ndim or left.shape[1:] != right.shape[1:]:
                raise UserError(
                    f"{names[0]}: tensor {name} is {list(left.shape)}, in {names[1]} it is {list(right.shape)}"
                )
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


def _parameters(folder: Path, trust_remote_code: bool) -> "dict[str, torch.Tensor]":
    model = load_weights(folder, trust_remote_code=trust_remote_code)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    # Whoever still holds the model does not hold its numbers.
    model.to("meta")  # type: ignore[arg-type]
    return parameters


def _stored_numbers(folder: Path) -> int:
    """Numbers in the weights files that transformers reads: those that the index names, or the single file."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    files = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    total = 0
    for name in files:
        with safe_open(str(folder / name), framework="pt") as opened:
            total += sum(math.prod(opened.get_slice(key).get_shape()) for key in opened.keys())  # noqa: SIM118
    return total
