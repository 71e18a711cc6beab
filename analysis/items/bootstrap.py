"""The paired bootstrap: both models' scores on the same resamples of items, as sacreBLEU draws them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.items.benchmark import Floats
from analysis.items.clustered import Codes
from analysis.items.corpus import corpus_scores
from plw.items import MEAN

RESAMPLES = 1000
SEED = 12345
"""Both as sacreBLEU's defaults, so that its numbers come out."""


@dataclass(frozen=True, kw_only=True)
class PairedBootstrap:
    """Scores of two models, on all items and on B resamples."""

    a: float
    b: float
    a_B: Floats
    b_B: Floats

    @property
    def difference(self) -> float:
        """Of b less a, on all items."""
        return self.b - self.a

    @property
    def se(self) -> float:
        """Standard deviation of the difference over resamples."""
        return float((self.b_B - self.a_B).std(ddof=1))

    def interval(self, level: float) -> tuple[float, float]:
        """Percentiles of the difference."""
        low, high = np.percentile(self.b_B - self.a_B, [50 * (1 - level), 50 * (1 + level)])
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided: how often a resample's difference lies as far from their mean as the difference lies from 0."""
        off_B = np.abs(self.b_B - self.a_B - (self.b_B - self.a_B).mean())
        if self.difference == 0 and not off_B.any():
            return 1.0
        return (int((off_B >= abs(self.difference)).sum()) + 1) / (len(off_B) + 1)

    @property
    def p_sacrebleu(self) -> float:
        """As sacreBLEU has it: it takes absolute differences before it centres them, so 0.05 is one side's."""
        size_B = np.abs(self.b_B - self.a_B)
        return (int((size_B - size_B.mean() > abs(self.difference)).sum()) + 1) / (len(size_B) + 1)


def paired_bootstrap(
    aggregation: str, a_NK: Floats, b_NK: Floats, cluster_N: Codes, resamples: int = RESAMPLES
) -> PairedBootstrap:
    """Draw clusters with replacement; where each item is a cluster, the draws are sacreBLEU's.

    Args:
        aggregation: ``mean``, or one of ``plw.items.CORPUS_METRICS``.
        a_NK: Counts of the first model's items; for a mean one column of values.
        b_NK: Likewise of the second, row by row the same items.
        cluster_N: Code of each item's cluster, from 0.
        resamples: How many.
    """
    both_NK = np.concatenate([a_NK, b_NK, np.ones((len(a_NK), 1))], axis=1)
    names, place_N = np.unique(cluster_N, return_inverse=True)
    if len(names) < len(cluster_N):
        both_GK = np.stack([np.bincount(place_N, weights=column_N) for column_N in both_NK.T], axis=1)
    else:
        both_GK = both_NK  # in the order of the rows, as sacreBLEU numbers them
    sums_BK = np.concatenate([both_GK.sum(axis=0, keepdims=True), _draws(len(both_GK), resamples) @ both_GK])
    width = a_NK.shape[1]
    a_B, b_B = sums_BK[:, :width], sums_BK[:, width : 2 * width]
    if aggregation == MEAN:
        count_B = sums_BK[:, -1]
        a, b = a_B[:, 0] / count_B, b_B[:, 0] / count_B
    else:
        a, b = corpus_scores(aggregation, a_B), corpus_scores(aggregation, b_B)
    return PairedBootstrap(a=float(a[0]), b=float(b[0]), a_B=a[1:], b_B=b[1:])


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int) -> Floats:
    """How often each of ``count`` things is in each resample. Benchmarks of one size share their draws."""
    picks_BN = np.random.default_rng(SEED).choice(count, size=(resamples, count), replace=True)
    picks_BN += np.arange(resamples)[:, None] * count
    return np.bincount(picks_BN.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def pseudo_values(aggregation: str, counts_NK: Floats) -> Floats:
    """Each item's part in a corpus metric, by the jackknife: N x the score less N - 1 x the score without the item.

    Their mean is the score to first order, so what holds for means (clusters, training runs) holds for them.
    """
    n, sum_K = len(counts_NK), counts_NK.sum(axis=0)
    whole = corpus_scores(aggregation, sum_K[None, :])[0]
    without_N = corpus_scores(aggregation, sum_K - counts_NK)
    pseudo_N: Floats = n * whole - (n - 1) * without_N
    return pseudo_N
