"""One packed row: where each example has its own tokens in it, and where those before them that it sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TokenPath = NDArray[np.int64]
"""[tokens of an example] -> their places in the row."""


@dataclass(frozen=True, kw_only=True)
class PackedRow:
    """The examples of a row that have tokens of their own, in order.

    An example's queries are its own tokens, or the last of them; its keys are all of its tokens, of which the first may
    stand with another example of the same prefix. So its queries are the last of its keys, and attention is causal
    counted from the end.
    All of it is said twice: for kernels that want bounds and indices, and for tensors that are split and joined.
    """

    query_bound_E: Tensor
    """int32 [examples + 1], where each example's own tokens start, and the row's end."""
    key_bound_E: Tensor
    """int32 [examples + 1], the same of the keys, written one example after the other."""
    key_K: Tensor | None
    """int64 [keys], each key's place in the row; None where every token has one place, its own."""
    longest_query: int
    longest_key: int
    queries_E: list[int]
    """How many tokens are each example's queries."""
    stretches_I: list[int]
    """Lengths of the stretches of the row that no example uses a part of."""
    keys_E: list[list[int]]
    """The stretches that make up each example's keys."""


def make_row(
    paths: Sequence[TokenPath],
    owned: Sequence[int],
    device: torch.device,
    *,
    queried: Sequence[int] | None = None,
) -> PackedRow:
    """The row whose examples stand at ``paths``, of which the last ``owned`` tokens are their own.

    Args:
        paths: of each example, ascending.
        owned: of each example; one that has none is left out, as there is nothing to compute for it.
        device: gets the tensors.
        queried: how many of the last ones are queries, at most ``owned``; then an example without any is left out,
            and the queries are those of the others, one example after the other. All own ones if None.

    No example at all gives the row of one token that sees itself.
    """
    pairs = [(path, own) for path, own in zip(paths, owned, strict=True) if own] or [(np.zeros(1, dtype=np.int64), 1)]
    tokens = sum(own for _, own in pairs)
    starts = {0}
    for path, own in pairs:
        jumps = np.flatnonzero(np.diff(path) != 1)
        starts.update((*(path[jumps] + 1).tolist(), *path[jumps + 1].tolist(), int(path[-own])))
    start_I = np.array(sorted(starts), dtype=np.int64)
    asked = pairs if queried is None else [(path, own) for path, own in zip(paths, queried, strict=True) if own]
    queries = [own for _, own in asked]
    keys = [len(path) for path, _ in asked]
    key_K = np.concatenate([path for path, _ in asked])
    return PackedRow(
        query_bound_E=_bounds(queries, device),
        key_bound_E=_bounds(keys, device),
        key_K=None if np.array_equal(key_K, np.arange(tokens)) else torch.from_numpy(key_K).to(device),
        longest_query=max(queries),
        longest_key=max(keys),
        queries_E=queries,
        stretches_I=np.diff([*start_I, tokens]).tolist(),
        keys_E=[np.unique(np.searchsorted(start_I, path, side="right") - 1).tolist() for path, _ in asked],
    )


def _bounds(lengths: Sequence[int], device: torch.device) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32)).to(device)
