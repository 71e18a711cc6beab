"""Does the prompt weight change any of several benchmarks? Tests in which effects of opposite sign do not cancel."""

from collections.abc import Sequence

import numpy as np

from analysis.arrays import Array, Index
from analysis.levels import SIGNIFICANCE

PERMUTATIONS = 4999
PERMUTATION_SEED = 0


def omnibus_p(score_NG: Array, w_N: Array, run_N: Sequence[str], permutations: int = PERMUTATIONS) -> float | None:
    """P of the hypothesis that the weight changes none of the benchmarks, in none of the training runs.

    Then the weights of a run's cells are labels that could be exchanged. The statistic is the share of each benchmark's
    variance within runs that a parabola in w_p explains, summed over benchmarks: a common curve raises it, and so do
    curves of opposite sign. The labels are permuted for all benchmarks together, so benchmarks may hang together as
    they like; nothing is assumed of the scores' distribution.

    Args:
        score_NG: Scores, one row a cell and one column a benchmark.
        w_N: The cells' weights on the scale of w_p.
        run_N: Training run: base model and seed.
        permutations: Random ones; the smallest p is 1 in so many and one.

    Returns:
        None where no run has two cells of different weight, where no score varies, and where the cells are so few that
        no scores could bring p below the level: every permutation that leaves the parabolas the same set ties with the
        weights as they are. Of three weights and one run all do so, of two runs one in six.
    """
    run = np.unique(np.asarray(run_N, dtype=str), return_inverse=True)[1]
    places = [np.flatnonzero(run == number) for number in range(int(run.max()) + 1)]
    centred_NG = _centre(score_NG, places)
    total_G = (centred_NG**2).sum(axis=0)
    known_G = total_G > 1e-18
    basis_NC = _basis(_centre(np.stack([w_N, w_N**2], axis=1), places))
    if not known_G.any() or not basis_NC.size:
        return None
    standard_NG = centred_NG[:, known_G] / np.sqrt(total_G[known_G])
    # Exchanged within runs, the rows of the basis stay orthonormal columns: it need not be made again.
    generator = np.random.default_rng(PERMUTATION_SEED)
    mixed_ZN = np.tile(np.arange(len(w_N)), (permutations + 1, 1))
    for rows in places:
        mixed_ZN[1:, rows] = generator.permuted(mixed_ZN[1:, rows], axis=1)
    mixed_ZNC = basis_NC[mixed_ZN]
    shared_Z = (np.einsum("znc,nd->zcd", mixed_ZNC, basis_NC) ** 2).sum(axis=(1, 2))
    tied_Z = shared_Z >= basis_NC.shape[1] * (1 - 1e-9)
    if tied_Z.mean() >= SIGNIFICANCE:
        return None
    found_Z = (np.einsum("znc,ng->zcg", mixed_ZNC, standard_NG) ** 2).sum(axis=(1, 2))
    return (int((found_Z[1:] >= found_Z[0] * (1 - 1e-9)).sum()) + 1) / (permutations + 1)


def combined_p(p_mean: float, p_G: Sequence[float]) -> float:
    """P of the hypothesis that the weight changes none of the benchmarks, from the tests of each and of their mean.

    The Cauchy combination (Liu and Xie 2020), which holds however the tests depend on each other; half of its weight is
    the mean's. It says of base models as a sample what the tests say of them. The permutation test cannot: where each
    base model goes its own way, the weight does change scores, and on average it changes none.

    Args:
        p_mean: Of the mean over benchmarks.
        p_G: Of each benchmark.
    """
    return cauchy_p([p_mean, *p_G], [1 / 2, *[1 / 2 / len(p_G)] * len(p_G)])


def cauchy_p(p_N: Sequence[float] | Array, weight_N: Sequence[float] | None = None) -> float:
    """P of several tests together (Liu and Xie 2020), however they depend on each other.

    Args:
        p_N: Of each.
        weight_N: Of each, 1 together; equal when not given.
    """
    # p of nearly 1 would outweigh all others.
    tangent_N = np.tan((0.5 - np.clip(p_N, 1e-15, 0.99)) * np.pi)
    return float(0.5 - np.arctan(np.average(tangent_N, weights=weight_N)) / np.pi)


def _basis(power_NC: Array) -> Array:
    """Orthonormal columns that span the parabolas: one where there are two weights alone, none where there is one."""
    vector_NC, value_C, _ = np.linalg.svd(power_NC, full_matrices=False)
    return np.asarray(vector_NC[:, value_C > 1e-9])


def _centre(value_NC: Array, places: Sequence[Index]) -> Array:
    """Less the mean of each run."""
    centred_NC = value_NC.copy()
    for rows in places:
        centred_NC[rows] -= value_NC[rows].mean(axis=0)
    return centred_NC
