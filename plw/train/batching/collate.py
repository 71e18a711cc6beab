"""A micro-batch as tensors: where each token of each example stands, and what is predicted from where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plw.config.study import PADDED
from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.loss.coefficients import expand
from plw.train.batching.counts import TokenCounts
from plw.train.batching.last_rows import LastRows, find_last_rows
from plw.train.batching.packed_row import PackedRow, make_row
from plw.train.batching.placement import place_tokens, visible_pairs, without_tails
from plw.train.batching.plan import Step


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tokens, and the predictions that have a coefficient.

    There is no attention mask. Padded: attention is causal and padding stands on the right, so no token sees it.
    Packed and shared: the row knows which tokens an example has.
    """

    token_BT: Tensor
    """int64."""
    state_N: Tensor
    """int64, which of the decoder's flattened states predicts; one with several successors is there several times."""
    target_N: Tensor
    """int64, the token that follows."""
    coefficient_N: Tensor
    """fp32, its coefficient, summed over the examples that share it; never 0."""
    prompts_N: Tensor
    """int32, in how many examples it is a prompt token with a coefficient."""
    completions_N: Tensor
    """int32, in how many it is a completion token with one."""
    position_BT: Tensor | None = None
    """int64, place in the example; None for padded rows, which count from 0 by themselves."""
    row: PackedRow | None = None
    """None for padded rows."""
    last_rows: LastRows | None = None
    """The tokens for which the last layer is computed, whose states alone the decoder returns; None: all."""
    counts: TokenCounts
    """What is computed, padding excluded."""


def collate(
    examples: Sequence[EncodedExample],
    step: Step,
    micro_batch: Sequence[int],
    pad_id: int,
    device: torch.device,
    *,
    layout: str = PADDED,
    shorten_last_layer: bool = False,
) -> Batch:
    """Lay out the examples of ``step`` at the places ``micro_batch``.

    What stands behind an example's last prediction is left out. No places give one padding token without a
    prediction: something to take part in collectives with.

    Args:
        examples: the dataset.
        step: its coefficients.
        micro_batch: places in the step.
        pad_id: the padding token.
        device: gets the tensors.
        layout: of the rows.
        shorten_last_layer: leave out of the last layer what predicts nothing, where that pays.
    """
    chosen = [examples[step.example_E[place]] for place in micro_batch]
    placed = place_tokens([example.token_T for example in chosen], layout, pad_id)
    coefficient_F, count_2F = np.zeros(len(placed.token_F)), np.zeros((2, len(placed.token_F)), dtype=np.int32)
    for place, example, path in zip(micro_batch, chosen, placed.paths, strict=True):
        coefficient_T = expand(example, step.coefficient_ER[place])
        coefficient_F[path] += coefficient_T
        count_2F[IS_COMPLETION_R[example.role_T].astype(np.int64), path] += coefficient_T != 0
    predicted_N = np.flatnonzero(coefficient_F)
    target_N, before_N = placed.token_F[predicted_N], placed.before_F[predicted_N]
    predicts_F = np.zeros(len(placed.token_F), dtype=bool)
    predicts_F[before_N] = True
    placed, place_F = without_tails(placed, predicts_F)
    state_N = place_F[before_N]
    last = find_last_rows(placed, np.unique(state_N), device) if shorten_last_layer else None
    if last is not None:
        state_N = np.unique(state_N, return_inverse=True)[1]
    tokens, pairs = sum(placed.owned), visible_pairs(placed.paths, placed.owned)

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    packed = layout != PADDED
    return Batch(
        token_BT=tensor(placed.token_F.reshape(placed.shape)),
        state_N=tensor(state_N),
        target_N=tensor(target_N),
        coefficient_N=tensor(coefficient_F[predicted_N].astype(np.float32)),
        prompts_N=tensor(count_2F[0, predicted_N]),
        completions_N=tensor(count_2F[1, predicted_N]),
        position_BT=tensor(placed.position_F[None]) if packed else None,
        row=make_row(placed.paths, placed.owned, device) if packed else None,
        last_rows=last,
        counts=TokenCounts(
            tokens=tokens,
            predictions=len(predicted_N),
            pairs=pairs,
            last_tokens=tokens if last is None else len(last.place_U),
            last_pairs=pairs if last is None else last.pairs,
        ),
    )
