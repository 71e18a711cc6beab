"""Where the tokens of a micro-batch's examples stand, in rows that are written one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plw.config.study import PADDED, PREFIX
from plw.train.batching.packed_row import TokenPath
from plw.train.batching.prefixes import shared_prefix_lengths


@dataclass(frozen=True, kw_only=True)
class PlacedTokens:
    """The places of a micro-batch's tokens: F of them."""

    padded: bool
    """A row for each example, or one for all."""
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
        padded=layout == PADDED,
        shape=shape,
        paths=paths,
        owned=owned,
        token_F=token_F,
        position_F=position_F,
        before_F=before_F,
    )


def without_tails(placed: PlacedTokens, predicts_F: NDArray[np.bool_]) -> tuple[PlacedTokens, NDArray[np.int64]]:
    """Leave out what stands behind the last place of an example that predicts: no prediction sees it.

    An example's last token is predicted and predicts nothing, so at least that one goes. Where nothing predicts at
    all, everything stays.

    Args:
        placed: the tokens.
        predicts_F: the places that predict.

    Returns:
        The tokens that are left, and the new place of each old one that is; the others' numbers mean nothing.
    """
    stays_F = np.zeros(len(placed.token_F), dtype=bool)
    for path in placed.paths:
        predicting = np.flatnonzero(predicts_F[path])
        stays_F[path[: predicting[-1] + 1 if len(predicting) else 0]] = True
    if not stays_F.any():
        return placed, np.arange(len(stays_F))
    # A place on the way to one that stays does so too: what goes is the end of a path.
    left = [int(stays_F[path].sum()) for path in placed.paths]
    if placed.padded:
        width = max(left)
        stays_F = np.arange(len(stays_F)) % placed.shape[1] < width
        shape = (placed.shape[0], width)
    else:
        shape = (1, int(stays_F.sum()))
    place_F = np.cumsum(stays_F) - 1
    return (
        PlacedTokens(
            padded=placed.padded,
            shape=shape,
            paths=[place_F[path[:count]] for path, count in zip(placed.paths, left, strict=True)],
            owned=[
                max(0, own - len(path) + count)
                for path, own, count in zip(placed.paths, placed.owned, left, strict=True)
            ],
            token_F=placed.token_F[stays_F],
            position_F=placed.position_F[stays_F],
            before_F=place_F[placed.before_F[stays_F]],
        ),
        place_F,
    )


def visible_pairs(paths: Sequence[TokenPath], queried: Sequence[int]) -> int:
    """Pairs of one of each example's last ``queried`` tokens and one that it sees: itself and all before it."""
    return sum(count * (2 * len(path) - count + 1) // 2 for path, count in zip(paths, queried, strict=True))


def _paths(shares: list[int], owned: list[int]) -> list[TokenPath]:
    """One example after the other; each begins at the places of the one before it, as far as the two are alike."""
    paths: list[TokenPath] = []
    end = 0
    for share, own in zip(shares, owned, strict=True):
        start = paths[-1][:share] if paths else np.zeros(0, dtype=np.int64)
        paths.append(np.concatenate([start, np.arange(end, end + own)]))
        end += own
    return paths
