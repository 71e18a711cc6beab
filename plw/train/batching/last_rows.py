"""What the last layer computes beyond keys and values: the tokens from which something is predicted, and no others."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plw.train.batching.packed_row import PackedRow, make_row
from plw.train.batching.placement import PlacedTokens, visible_pairs

WORTH_IT = 0.95
"""Share of the tokens that predict, up to which leaving the others out saves more than picking rows costs."""


@dataclass(frozen=True, kw_only=True)
class LastRows:
    """Rows of the last layer's queries, and of what is computed from them.

    No later layer asks for a token's state there, so one that predicts nothing needs a key and a value alone.
    """

    query_Q: Tensor
    """int64, places within a row of the tokens whose queries are computed. One row: each example's own tokens from the
    first that predicts on. Padded: the columns from the first in which one predicts on."""
    row: PackedRow | None
    """The examples with these queries; None for padded rows."""
    output_U: Tensor | None
    """int64, which of the flattened queries predict; None: each."""
    place_U: Tensor
    """int64, their places in the flattened tokens, ascending; so many states leave the layer."""
    pairs: int
    """Pairs of a query and a token that it sees."""


def find_last_rows(placed: PlacedTokens, predicting_U: NDArray[np.int64], device: torch.device) -> LastRows | None:
    """The rows that predict, or None where none does, all do or nearly all.

    Args:
        placed: the tokens.
        predicting_U: the places that predict, ascending, each once.
        device: gets the tensors.
    """
    if not 0 < len(predicting_U) <= WORTH_IT * sum(placed.owned):
        return None
    predicts_F = np.zeros(len(placed.token_F), dtype=bool)
    predicts_F[predicting_U] = True
    if placed.padded:
        columns = placed.shape[1]
        first = int((predicting_U % columns).min())
        queried = [max(0, len(path) - first) for path in placed.paths]
        query_Q = np.arange(first, columns)
        output_U = predicting_U // columns * len(query_Q) + predicting_U % columns - first
        row = None
    else:
        owners = zip(placed.paths, placed.owned, strict=True)
        queried = [_from_first(predicts_F[path[len(path) - own :]]) for path, own in owners]
        query_Q = np.concatenate([path[len(path) - count :] for path, count in zip(placed.paths, queried, strict=True)])
        output_U = np.searchsorted(query_Q, predicting_U)
        row = make_row(placed.paths, placed.owned, device, queried=queried)
    every = len(output_U) == len(query_Q) * (placed.shape[0] if placed.padded else 1)
    return LastRows(
        query_Q=torch.from_numpy(query_Q).to(device),
        row=row,
        output_U=None if every else torch.from_numpy(output_U).to(device),
        place_U=torch.from_numpy(predicting_U).to(device),
        pairs=visible_pairs(placed.paths, queried),
    )


def _from_first(predicts_T: NDArray[np.bool_]) -> int:
    """How many tokens there are from the first that predicts on."""
    predicting = np.flatnonzero(predicts_T)
    return len(predicts_T) - int(predicting[0]) if len(predicting) else 0
