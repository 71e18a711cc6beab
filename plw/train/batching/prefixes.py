"""Prefixes that examples have in common, a template's preamble or a system prompt: in a row each stands once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plw.data.encoding import EncodedExample


def rank_by_prefix(examples: Sequence[EncodedExample]) -> NDArray[np.int64]:
    """Each example's place in an order in which those with a common prefix are neighbours.

    The order is that of the tokens' bytes: in memory alone it means something, but equal prefixes have equal bytes.
    """
    bytes_E = [example.token_T.tobytes() for example in examples]
    rank_E = np.empty(len(examples), dtype=np.int64)
    rank_E[sorted(range(len(examples)), key=bytes_E.__getitem__)] = np.arange(len(examples))
    return rank_E


def shared_prefix_lengths(tokens: Sequence[NDArray[np.int32]]) -> NDArray[np.int64]:
    """Tokens of the prefix that each example has in common with the one before it; 0 for the first."""
    length_E = np.array([len(token_T) for token_T in tokens], dtype=np.int64)
    prefix_E = np.zeros(len(tokens), dtype=np.int64)
    if len(tokens) < 2:
        return prefix_E
    # One column more than the longest, of another filling in every other row, so that no two rows are alike to the end.
    token_ET = np.empty((len(tokens), int(length_E.max()) + 1), dtype=np.int32)
    for e, token_T in enumerate(tokens):
        token_ET[e, : len(token_T)] = token_T
        token_ET[e, len(token_T) :] = -1 - e % 2
    prefix_E[1:] = (token_ET[1:] != token_ET[:-1]).argmax(axis=1)
    return prefix_E
