"""A micro-batch as tensors: padded rows or one packed row, and each position's target, coefficient and role."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plw.data.encoding import EncodedExample
from plw.loss.coefficients import expand
from plw.train.plan import Step


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Position t of a row sees token t and predicts token t + 1; padding and last positions have coefficient 0.

    There is no attention mask. Padded: attention is causal and padding stands on the right, so no token sees it.
    Packed: the row's attention knows the boundaries.
    """

    token_BT: Tensor
    """int64."""
    target_BT: Tensor
    """int64, the next token."""
    coefficient_BT: Tensor
    """fp32, the next token's coefficient."""
    completion_BT: Tensor
    """bool, whether the next token is a completion's."""
    position_BT: Tensor | None = None
    """int64, place in the example; None for padded rows, which count from 0 by themselves."""
    bound_E: Tensor | None = None
    """int32 [examples + 1], where each example of a packed row starts, and its end."""
    longest: int = 0
    """Tokens of a packed row's longest example."""


def collate(
    examples: Sequence[EncodedExample],
    step: Step,
    micro_batch: Sequence[int],
    pad_id: int,
    device: torch.device,
    *,
    packed: bool = False,
) -> Batch:
    """Lay out the examples of ``step`` at the places ``micro_batch``.

    No places give one padding token of coefficient 0: something to take part in collectives with.
    """
    chosen = [examples[step.example_E[place]] for place in micro_batch]
    lengths = [len(example.token_T) for example in chosen] or [1]
    shape = (1, sum(lengths)) if packed else (len(lengths), max(lengths))
    token_BT = np.full(shape, pad_id, dtype=np.int64)
    target_BT = np.full(shape, pad_id, dtype=np.int64)
    coefficient_BT = np.zeros(shape, dtype=np.float32)
    completion_BT = np.zeros(shape, dtype=np.bool_)
    bound_E = np.cumsum([0, *lengths], dtype=np.int32)
    for b, (place, example) in enumerate(zip(micro_batch, chosen, strict=True)):
        row, first = (0, int(bound_E[b])) if packed else (b, 0)
        last = first + lengths[b]
        token_BT[row, first:last] = example.token_T
        target_BT[row, first : last - 1] = example.token_T[1:]
        coefficient_BT[row, first : last - 1] = expand(example.role_T, step.coefficient_ER[place])[1:]
        completion_BT[row, first : last - 1] = example.role_T[1:]
    position_BT = np.concatenate([np.arange(length) for length in lengths])[None] if packed else None
    return Batch(
        token_BT=torch.from_numpy(token_BT).to(device),
        target_BT=torch.from_numpy(target_BT).to(device),
        coefficient_BT=torch.from_numpy(coefficient_BT).to(device),
        completion_BT=torch.from_numpy(completion_BT).to(device),
        position_BT=None if position_BT is None else torch.from_numpy(position_BT).to(device),
        bound_E=torch.from_numpy(bound_E).to(device) if packed else None,
        longest=max(lengths) if packed else 0,
    )
