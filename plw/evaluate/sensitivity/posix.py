"""POSIX, the prompt sensitivity index (arXiv 2410.02185), from log-likelihoods alone.

For N wordings x of one prompt and the model's response y to each,
psi = 1 / (N (N - 1)) * sum over i, j of |log P(y_j | x_i) - log P(y_j | x_j)| / L_j, with L_j the tokens of y_j; the
index of several prompts is the mean of their psi. Lower is steadier; 0 is a model that does not hear the wording.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]


def posix_index(log_probability_ij: ArrayLike, length_j: ArrayLike) -> float:
    """Psi of one prompt by the paper's formula, in nats a token.

    Args:
        log_probability_ij: [N, N]: log P(y_j | x_i), natural, summed over the tokens of y_j.
        length_j: [N]: tokens of y_j; an empty response moves by nothing.

    Raises:
        ValueError: shapes that do not fit, fewer than two wordings, a length below 0 or a number that is not finite.
    """
    likelihood_NN = _square(log_probability_ij)
    length_N = np.asarray(length_j, dtype=np.float64)
    if length_N.shape != likelihood_NN.shape[:1] or not (np.isfinite(length_N) & (length_N >= 0)).all():
        raise ValueError(f"length_j must be {len(likelihood_NN)} numbers of tokens, found {length_j!r}")
    moved_NN = np.abs(likelihood_NN - np.diag(likelihood_NN)[None, :])
    return _mean_of_pairs(moved_NN / np.where(length_N > 0, length_N, 1.0)[None, :])


def posix_index_as_released(log_probability_ij: ArrayLike, max_new_tokens: int) -> float:
    """Psi as the authors' code has it (kowndinya-renduchintala/POSIX at 8e73401).

    It compares the responses under one prompt, |log P(y_i | x_j) - log P(y_j | x_j)|, and divides by the greatest
    length allowed; with two responses of that length it is the formula.

    Raises:
        ValueError: as ``posix_index``.
    """
    likelihood_NN = _square(log_probability_ij)
    moved_NN = np.abs(likelihood_NN - np.diag(likelihood_NN)[:, None])
    return _mean_of_pairs(moved_NN / max_new_tokens)


def bootstrap_interval(psi_P: Sequence[float], *, iterations: int, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of psi over prompts drawn anew (percentile bootstrap).

    Args:
        psi_P: psi of each prompt.
        iterations: Draws; 0 gives NaN.
        seed: Of the draws.
    """
    if not iterations or len(psi_P) < 2:
        return float("nan"), float("nan")
    value_P = np.asarray(psi_P, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(value_P), size=(iterations, len(value_P)))
    low, high = np.quantile(value_P[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _square(log_probability_ij: ArrayLike) -> Float64:
    likelihood_NN = np.asarray(log_probability_ij, dtype=np.float64)
    if likelihood_NN.ndim != 2 or likelihood_NN.shape[0] != likelihood_NN.shape[1] or len(likelihood_NN) < 2:
        raise ValueError(f"log_probability_ij must be [N, N] with N of 2 or more, found {list(likelihood_NN.shape)}")
    if not np.isfinite(likelihood_NN).all():
        raise ValueError("log_probability_ij holds a number that is not finite")
    return likelihood_NN


def _mean_of_pairs(moved_NN: Float64) -> float:
    count = len(moved_NN)
    return float(moved_NN.sum() / (count * (count - 1)))
