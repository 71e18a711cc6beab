"""A micro-batch as tensors: tokens padded on the right, and each position's target, coefficient and role."""

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

    There is no attention mask: attention is causal and padding stands on the right, so no token sees it.
    """

    token_BT: Tensor
    """int64."""
    target_BT: Tensor
    """int64, the next token."""
    coefficient_BT: Tensor
    """fp32, the next token's coefficient."""
    completion_BT: Tensor
    """bool, whether the next token is a completion's."""


def collate(
    examples: Sequence[EncodedExample], step: Step, micro_batch: Sequence[int], pad_id: int, device: torch.device
) -> Batch:
    """Lay out the examples of ``step`` at the places ``micro_batch``."""
    chosen = [examples[step.example_E[place]] for place in micro_batch]
    shape = (len(chosen), max(len(example.token_T) for example in chosen))
    token_BT = np.full(shape, pad_id, dtype=np.int64)
    target_BT = np.full(shape, pad_id, dtype=np.int64)
    coefficient_BT = np.zeros(shape, dtype=np.float32)
    completion_BT = np.zeros(shape, dtype=np.bool_)
    for b, (place, example) in enumerate(zip(micro_batch, chosen, strict=True)):
        length = len(example.token_T)
        token_BT[b, :length] = example.token_T
        target_BT[b, : length - 1] = example.token_T[1:]
        coefficient_BT[b, : length - 1] = expand(example.role_T, step.coefficient_ER[place])[1:]
        completion_BT[b, : length - 1] = example.role_T[1:]
    return Batch(
        token_BT=torch.from_numpy(token_BT).to(device),
        target_BT=torch.from_numpy(target_BT).to(device),
        coefficient_BT=torch.from_numpy(coefficient_BT).to(device),
        completion_BT=torch.from_numpy(completion_BT).to(device),
    )
