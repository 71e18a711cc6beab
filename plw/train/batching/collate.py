"""A micro-batch as tensors: where each token of each example stands, and what is predicted from where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plw.data.encoding import IS_COMPLETION_R, EncodedExample
from plw.loss.coefficients import expand
from plw.train.batching.layout import PADDED, PREFIX
from plw.train.batching.packed_row import PackedRow, TokenPath, make_row
from plw.train.batching.plan import Step
from plw.train.batching.prefixes import shared_prefix_lengths


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tokens, and the predictions that have a coefficient.

    There is no attention mask. Padded: attention is causal and padding stands on the right, so no token sees it.
    Packed and shared: the row knows which tokens an example has.
    """

    token_BT: Tensor
    """int64."""
    place_N: Tensor
    """int64, the place in the flattened tokens that predicts; one with several successors is there several times."""
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
    tokens: int
    """Tokens that are computed, padding excluded."""
    pairs: int
    """Pairs of a computed token and one that it sees."""


@dataclass(frozen=True, kw_only=True)
class PlacedTokens:
    """Where the tokens of a micro-batch's examples stand, in rows that are written one after the other: F places."""

    shape: tuple[int, int]
    """Rows, and places of each."""
    paths: list[TokenPath]
    """Each example's places."""
    owned: list[int]
    """How many of them, its last ones, are not an earlier example's as well."""
    token_F: NDArray[np.int64]
    position_F: NDArray[np.int64]
    """A token's place in its examples."""
    before_F: NDArray[np.int64]
    """The place of the token before it, which predicts it."""


def collate(
    examples: Sequence[EncodedExample],
    step: Step,
    micro_batch: Sequence[int],
    pad_id: int,
    device: torch.device,
    *,
    layout: str = PADDED,
) -> Batch:
    """Lay out the examples of ``step`` at the places ``micro_batch``.

    No places give one padding token without a prediction: something to take part in collectives with.
    """
    chosen = [examples[step.example_E[place]] for place in micro_batch]
    placed = place_tokens([example.token_T for example in chosen], layout, pad_id)
    coefficient_F, count_2F = np.zeros(len(placed.token_F)), np.zeros((2, len(placed.token_F)), dtype=np.int32)
    for place, example, path in zip(micro_batch, chosen, placed.paths, strict=True):
        coefficient_T = expand(example, step.coefficient_ER[place])
        coefficient_F[path] += coefficient_T
        count_2F[IS_COMPLETION_R[example.role_T].astype(np.int64), path] += coefficient_T != 0
    predicted_N = np.flatnonzero(coefficient_F)

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    packed = layout != PADDED
    return Batch(
        token_BT=tensor(placed.token_F.reshape(placed.shape)),
        place_N=tensor(placed.before_F[predicted_N]),
        target_N=tensor(placed.token_F[predicted_N]),
        coefficient_N=tensor(coefficient_F[predicted_N].astype(np.float32)),
        prompts_N=tensor(count_2F[0, predicted_N]),
        completions_N=tensor(count_2F[1, predicted_N]),
        position_BT=tensor(placed.position_F[None]) if packed else None,
        row=make_row(placed.paths, placed.owned, device) if packed else None,
        tokens=sum(placed.owned),
        # A token sees itself and all before it.
        pairs=sum(own * (2 * len(path) - own + 1) // 2 for path, own in zip(placed.paths, placed.owned, strict=True)),
    )


def place_tokens(tokens: Sequence[NDArray[np.int32]], layout: str, pad_id: int = 0) -> PlacedTokens:
    """Give every token of every example its place; padding takes what is left."""
    lengths = [len(token_T) for token_T in tokens]
    if layout == PADDED:
        shape = (max(1, len(lengths)), max(lengths, default=1))
        paths, owned = [b * shape[1] + np.arange(length) for b, length in enumerate(lengths)], lengths
    else:
        prefix_E = shared_prefix_lengths(tokens) if layout == PREFIX else np.zeros(len(tokens), dtype=np.int64)
        owned = (np.array(lengths, dtype=np.int64) - prefix_E).tolist()
        shape, paths = (1, max(1, sum(owned))), _paths(prefix_E.tolist(), owned)
    token_F = np.full(shape[0] * shape[1], pad_id, dtype=np.int64)
    position_F, before_F = np.zeros((2, len(token_F)), dtype=np.int64)
    for token_T, path in zip(tokens, paths, strict=True):
        token_F[path], position_F[path] = token_T, np.arange(len(path))
        before_F[path[1:]] = path[:-1]
    return PlacedTokens(
        shape=shape, paths=paths, owned=owned, token_F=token_F, position_F=position_F, before_F=before_F
    )


def _paths(shares: list[int], owned: list[int]) -> list[TokenPath]:
    """One example after the other; each begins at the places of the one before it, as far as the two are alike."""
    paths: list[TokenPath] = []
    end = 0
    for share, own in zip(shares, owned, strict=True):
        start = paths[-1][:share] if paths else np.zeros(0, dtype=np.int64)
        paths.append(np.concatenate([start, np.arange(end, end + own)]))
        end += own
    return paths
