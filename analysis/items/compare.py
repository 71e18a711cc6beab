"""Two models on the same items: per benchmark how far they differ, how surely, and what could not have been seen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.items.alike import ALIKE, LEFT_OF_ZERO, alike_interval, alike_p
from analysis.items.benchmark import Floats
from analysis.items.bootstrap import paired_bootstrap, pseudo_values
from analysis.items.clustered import clustered_mean, least_difference
from analysis.items.pairs import Pairs
from analysis.items.proportions import PairedProportions, beta_binomial, wilson
from analysis.levels import CONFIDENCE, SIGNIFICANCE, TAILS
from plw.results.corpus_metrics import CORPUS_METRICS, SHARE, corpus_scores
from plw.results.items import MEAN
from plw.results.score import is_percentage

MCNEMAR = "exact McNemar"
WIN_RATES = ("win_rate", "discrete_win_rate")

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One benchmark; numbers are on the score's own scale, and ``difference`` is b - a."""

    benchmark: str
    metric: str
    n: int
    """Pairs of items."""
    clusters: int
    a: float
    b: float
    difference: float
    se: float
    low: float
    high: float
    """The 95 % interval of the difference; without ends where all differences are alike and the score has no
    bounds."""
    p: float
    p_holm: float
    """Corrected for the number of benchmarks that were compared."""
    test: str
    mde: float
    """The smallest true difference that a study of this n finds with a probability of 80 % (uncorrected, 5 %)."""
    equivalent: bool | None
    """Whether both one-sided tests of 5 % exclude a difference of the margin or more; None without a margin."""
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    """The 95 % intervals of both scores."""
    runs: int
    """Pairs of training runs."""
    over: str | None
    """What the interval is over, beside items: ``base model`` or ``training run`` as a sample; None: these runs
    alone."""
    higher_is_better: bool | None
    scale: float | None
    """The score's full range: 1 for shares, 100 for percentages; None where there is no bound (a length)."""
    differing: int
    """Pairs whose two outcomes differ."""
    only_in_one: int
    """Items left out because only one of the two has them."""
    unscored: int
    """Pairs left out because one outcome is missing or no finite number."""
    p_sacrebleu: float | None = None
    """Of a paired bootstrap, the p that sacreBLEU prints; see docs/statistics-items.md."""

    @property
    def shown(self) -> bool:
        """Whether a difference is shown after the correction."""
        return self.p_holm < SIGNIFICANCE

    def to_dict(self) -> dict[str, Any]:
        """Plain types; an interval without ends has None there."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one method says of a benchmark."""

    a: float
    b: float
    se: float
    p: float
    test: str
    mde: float
    interval: Callable[[float], Interval]
    a_interval: Interval
    b_interval: Interval
    p_sacrebleu: float | None = None


def compare_pairs(pairs: Sequence[Pairs], margin: float | None = None) -> list[Comparison]:
    """Compare every benchmark.

    Args:
        pairs: One entry a benchmark.
        margin: A difference that would not matter, as a share of the score's range: 0.02 is 0.02 of accuracy, or
            2 BLEU. None leaves ``equivalent`` open, as does a score without bounds.
    """
    alone = [_compare(of_benchmark, margin) for of_benchmark in pairs]
    return [replace(row, p_holm=p) for row, p in zip(alone, holm([row.p for row in alone]), strict=True)]


def holm(p_N: Sequence[float]) -> list[float]:
    """Holm's step-down correction of N tests."""
    order_N = np.argsort(p_N, kind="stable")
    scaled_N = np.asarray(p_N, dtype=float)[order_N] * np.arange(len(p_N), 0, -1)
    corrected_N = np.empty(len(p_N))
    corrected_N[order_N] = np.minimum(1.0, np.maximum.accumulate(scaled_N))
    return [float(p) for p in corrected_N]


def _compare(pairs: Pairs, margin: float | None) -> Comparison:
    if pairs.runs > 1:
        found = _over_runs(pairs)
    elif pairs.aggregation != MEAN or pairs.metric.split(",")[0] in WIN_RATES:
        found = _by_bootstrap(pairs)
    elif pairs.clusters == pairs.n and _right_or_wrong(pairs):
        found = _by_mcnemar(pairs)
    else:
        found = _by_t(pairs)
    scale = _scale(pairs)
    if found.test != MCNEMAR:
        found = _within_range(_with_sides(_without_spread(found, pairs, scale), pairs, scale), scale)
    low, high = found.interval(CONFIDENCE)
    equivalent = None
    if margin is not None and scale is not None:
        # Two one-sided tests of 5 % reject together where the 90 % interval lies within the margin.
        inner_low, inner_high = found.interval(1 - 2 * SIGNIFICANCE)
        equivalent = bool(-margin * scale < inner_low and inner_high < margin * scale)
    return Comparison(
        benchmark=pairs.benchmark,
        metric=pairs.metric,
        n=pairs.n,
        clusters=pairs.clusters,
        a=found.a,
        b=found.b,
        difference=found.b - found.a,
        se=found.se,
        low=low,
        high=high,
        p=found.p,
        p_holm=found.p,
        test=found.test,
        mde=found.mde,
        equivalent=equivalent,
        a_low=found.a_interval[0],
        a_high=found.a_interval[1],
        b_low=found.b_interval[0],
        b_high=found.b_interval[1],
        runs=pairs.runs,
        over=pairs.unit,
        higher_is_better=pairs.higher_is_better,
        scale=scale,
        differing=int((pairs.a_NC != pairs.b_NC).any(axis=1).sum()),
        only_in_one=pairs.only_in_one,
        unscored=pairs.unscored,
        p_sacrebleu=found.p_sacrebleu,
    )


def _without_spread(found: _Found, pairs: Pairs, scale: float | None) -> _Found:
    """Where every cluster, or every run of a sample, differs by the same: what so few of them exclude."""
    if found.se > LEFT_OF_ZERO * max(abs(found.a), abs(found.b)):
        return found
    count, difference = _independent(pairs), found.b - found.a
    if abs(difference) <= LEFT_OF_ZERO * max(abs(found.a), abs(found.b)):
        difference = 0.0
    # TER, of 0 to 100, may lie above.
    most = math.inf if scale is None else max(scale, abs(difference))

    def interval(level: float) -> Interval:
        return alike_interval(difference, -most, most, count, level)

    alike = PairedProportions(both=0 if difference else count, only_a=0, only_b=count if difference else 0, neither=0)
    return replace(
        found,
        se=0.0,
        p=alike_p(difference, -most, most, count),
        test=ALIKE if difference else found.test,
        interval=interval,
        mde=most * alike.least_difference(),
    )


def _with_sides(found: _Found, pairs: Pairs, scale: float | None) -> _Found:
    """Likewise the interval of each score, where all items have the same."""

    def ends(score: float, interval: Interval) -> Interval:
        if interval[1] - interval[0] > LEFT_OF_ZERO * abs(score):
            return interval
        lowest, highest = (-math.inf, math.inf) if scale is None else (0.0, max(scale, score))
        return alike_interval(score, lowest, highest, _independent(pairs), CONFIDENCE)

    return replace(found, a_interval=ends(found.a, found.a_interval), b_interval=ends(found.b, found.b_interval))


def _within_range(found: _Found, scale: float | None) -> _Found:
    """Intervals cut where the score's range ends: t of few clusters knows no bounds, a share has them.

    The true score lies within its range, so the cut takes nothing from how often an interval holds it.
    """
    if scale is None:
        return found
    # TER, of 0 to 100, may lie above.
    most = max(scale, found.a, found.b)

    def cut(interval: Interval, lowest: float) -> Interval:
        return max(lowest, interval[0]), min(most, interval[1])

    return replace(
        found,
        interval=lambda level: cut(found.interval(level), -most),
        a_interval=cut(found.a_interval, 0.0),
        b_interval=cut(found.b_interval, 0.0),
        mde=found.mde if found.mde <= most else math.inf,
    )


def _independent(pairs: Pairs) -> int:
    """Clusters of items, or training runs or base models where these are the sample and fewer."""
    return pairs.clusters if pairs.unit_N is None else min(pairs.clusters, len(np.unique(pairs.unit_N)))


def _by_mcnemar(pairs: Pairs) -> _Found:
    a_N, b_N = pairs.a_NC[:, 0] == 1, pairs.b_NC[:, 0] == 1
    counts = PairedProportions.count(a_N, b_N)
    mean = clustered_mean(pairs.b_NC[:, 0] - pairs.a_NC[:, 0], pairs.cluster_N)
    return _Found(
        a=float(a_N.mean()),
        b=float(b_N.mean()),
        se=mean.se,
        p=counts.p,
        test=MCNEMAR,
        mde=counts.least_difference(),
        interval=counts.interval,
        a_interval=wilson(int(a_N.sum()), pairs.n, CONFIDENCE),
        b_interval=wilson(int(b_N.sum()), pairs.n, CONFIDENCE),
    )


def _by_t(pairs: Pairs) -> _Found:
    a_N, b_N = pairs.a_NC[:, 0], pairs.b_NC[:, 0]
    mean = clustered_mean(b_N - a_N, pairs.cluster_N)
    if _right_or_wrong(pairs):
        sides = [beta_binomial(side_N == 1, pairs.cluster_N, CONFIDENCE) for side_N in (a_N, b_N)]
    else:
        sides = [clustered_mean(side_N, pairs.cluster_N).interval(CONFIDENCE) for side_N in (a_N, b_N)]
    return _Found(
        a=float(a_N.mean()),
        b=float(b_N.mean()),
        se=mean.se,
        p=mean.p,
        test="paired t" if pairs.clusters == pairs.n else "clustered t",
        mde=least_difference(mean.se, mean.df),
        interval=mean.interval,
        a_interval=sides[0],
        b_interval=sides[1],
    )


def _by_bootstrap(pairs: Pairs) -> _Found:
    drawn = paired_bootstrap(pairs.aggregation, pairs.a_NC, pairs.b_NC, pairs.cluster_N)
    a_side, b_side = (np.quantile(side_Z, TAILS) for side_Z in (drawn.a_Z, drawn.b_Z))
    return _Found(
        a=drawn.a,
        b=drawn.b,
        se=drawn.se,
        p=drawn.p,
        test="paired bootstrap",
        mde=least_difference(drawn.se, pairs.clusters - 1),
        interval=drawn.interval,
        a_interval=(float(a_side[0]), float(a_side[1])),
        b_interval=(float(b_side[0]), float(b_side[1])),
        p_sacrebleu=drawn.p_sacrebleu,
    )


def _over_runs(pairs: Pairs) -> _Found:
    """Several training runs a side: their mean, its error over items and, where runs are a sample, over runs."""
    a_N, b_N, a_S, b_S = (
        np.concatenate(parts) for parts in zip(*(_parts_of_run(pairs, run) for run in range(pairs.runs)), strict=True)
    )
    mean = clustered_mean(b_N - a_N, pairs.cluster_N, pairs.unit_N)
    sides = [clustered_mean(side_N, pairs.cluster_N, pairs.unit_N) for side_N in (a_N, b_N)]
    shift = float(b_S.mean() - a_S.mean()) - mean.mean

    def interval(level: float) -> Interval:
        low, high = mean.interval(level)
        return low + shift, high + shift

    return _Found(
        a=float(a_S.mean()),
        b=float(b_S.mean()),
        se=mean.se,
        p=replace(mean, mean=mean.mean + shift).p,
        test=f"t clustered by item{'' if pairs.unit is None else f' and {pairs.unit}'}",
        mde=least_difference(mean.se, mean.df),
        interval=interval,
        a_interval=sides[0].interval(CONFIDENCE),
        b_interval=sides[1].interval(CONFIDENCE),
    )


def _parts_of_run(pairs: Pairs, run: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Each item's part in both scores of a run, and the scores themselves."""
    in_run_N = pairs.run_N == run
    a_NC, b_NC = pairs.a_NC[in_run_N], pairs.b_NC[in_run_N]
    if pairs.aggregation == MEAN:
        return a_NC[:, 0], b_NC[:, 0], a_NC.mean(axis=0), b_NC.mean(axis=0)
    whole = [corpus_scores(pairs.aggregation, side_NC.sum(axis=0, keepdims=True)) for side_NC in (a_NC, b_NC)]
    parts = [pseudo_values(pairs.aggregation, side_NC) for side_NC in (a_NC, b_NC)]
    return parts[0], parts[1], whole[0], whole[1]


def _right_or_wrong(pairs: Pairs) -> bool:
    return bool(np.isin(pairs.a_NC, (0, 1)).all() and np.isin(pairs.b_NC, (0, 1)).all())


def _scale(pairs: Pairs) -> float | None:
    """Full range of the score: of a mean whose name says nothing, 1 where all values are within 0 and 1."""
    if pairs.aggregation in CORPUS_METRICS or is_percentage(pairs.metric):
        return 100.0
    if pairs.aggregation == SHARE:
        return 1.0
    values = np.concatenate([pairs.a_NC, pairs.b_NC])
    return 1.0 if values.min() >= 0 and values.max() <= 1 else None
