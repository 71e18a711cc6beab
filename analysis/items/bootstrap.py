"""The paired bootstrap: both models' scores on the same resamples of items, as sacreBLEU draws them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.items.benchmark import Floats
from analysis.items.clustered import Codes
from plw.results.corpus_metrics import corpus_scores
from plw.results.items import MEAN

RESAMPLES = 1000
BOOTSTRAP_SEED = 12345
"""Both as sacreBLEU's defaults, so that its numbers come out."""


@dataclass(frozen=True, kw_only=True)
class PairedBootstrap:
    """Scores of two models, on all items and on Z resamples."""

    a: float
    b: float
    a_Z: Floats
    b_Z: Floats

    @property
    def difference(self) -> float:
        """Of b less a, on all items."""
        return self.b - self.a

    @property
    def se(self) -> float:
        """Standard deviation of the difference over resamples."""
        return float((self.b_Z - self.a_Z).std(ddof=1))

    def interval(self, level: float) -> tuple[float, float]:
        """Percentiles of the difference."""
        low, high = np.percentile(self.b_Z - self.a_Z, [50 * (1 - level), 50 * (1 + level)])
        return float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided: how often a resample's difference lies as far from their mean as the difference lies from 0."""
        off_Z = np.abs(self.b_Z - self.a_Z - (self.b_Z - self.a_Z).mean())
        if self.difference == 0 and not off_Z.any():
            return 1.0
        return (int((off_Z >= abs(self.difference)).sum()) + 1) / (len(off_Z) + 1)

    @property
    def p_sacrebleu(self) -> float:
        """As sacreBLEU has it: it takes absolute differences before it centres them, so 0.05 is one side's."""
        size_Z = np.abs(self.b_Z - self.a_Z)
        return (int((size_Z - size_Z.mean() > abs(self.difference)).sum()) + 1) / (len(size_Z) + 1)


def paired_bootstrap(
    aggregation: str, a_NC: Floats, b_NC: Floats, cluster_N: Codes, resamples: int = RESAMPLES
) -> PairedBootstrap:
    """Draw clusters with replacement; where each item is a cluster, the draws are sacreBLEU's.

    Args:
        aggregation: ``mean``, or one of ``plw.results.corpus_metrics.COUNTED``.
        a_NC: Counts of the first model's items; for a mean one column of values.
        b_NC: Likewise of the second, row by row the same items.
        cluster_N: Code of each item's cluster, from 0.
        resamples: How many.
    """
    both_NC = np.concatenate([a_NC, b_NC, np.ones((len(a_NC), 1))], axis=1)
    names, place_N = np.unique(cluster_N, return_inverse=True)
    if len(names) < len(cluster_N):
        both_GC = np.stack([np.bincount(place_N, weights=column_N) for column_N in both_NC.T], axis=1)
    else:
        both_GC = both_NC  # in the order of the rows, as sacreBLEU numbers them
    sums_ZC = np.concatenate([both_GC.sum(axis=0, keepdims=True), _draws(len(both_GC), resamples) @ both_GC])
    width = a_NC.shape[1]
    a_Z, b_Z = sums_ZC[:, :width], sums_ZC[:, width : 2 * width]
    if aggregation == MEAN:
        count_Z = sums_ZC[:, -1]
        a, b = a_Z[:, 0] / count_Z, b_Z[:, 0] / count_Z
    else:
        a, b = corpus_scores(aggregation, a_Z), corpus_scores(aggregation, b_Z)
    return PairedBootstrap(a=float(a[0]), b=float(b[0]), a_Z=a[1:], b_Z=b[1:])


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int) -> Floats:
    """How often each of ``count`` things is in each resample. Benchmarks of one size share their draws."""
    picks_ZN = np.random.default_rng(BOOTSTRAP_SEED).choice(count, size=(resamples, count), replace=True)
    picks_ZN += np.arange(resamples)[:, None] * count
    return np.bincount(picks_ZN.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)


def pseudo_values(aggregation: str, counts_NC: Floats) -> Floats:
    """Each item's part in a score made of counts, by the jackknife: N x the score less N - 1 x that without the item.

    Their mean is the score to first order, so what holds for means (clusters, training runs) holds for them.
    """
    n, sum_C = len(counts_NC), counts_NC.sum(axis=0)
    whole = corpus_scores(aggregation, sum_C[None, :])[0]
    without_N = corpus_scores(aggregation, sum_C - counts_NC)
    pseudo_N: Floats = n * whole - (n - 1) * without_N
    return pseudo_N
