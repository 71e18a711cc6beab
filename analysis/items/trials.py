"""Several trainings scored on the same items: the score of each, and the error that is left once items are shared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.items.benchmark import BenchmarkItems, Floats, ModelItems
from analysis.items.bootstrap import pseudo_values
from analysis.items.clustered import Codes
from plw.errors import UserError
from plw.results.corpus_metrics import CORPUS_METRICS, COUNTED, corpus_scores
from plw.results.items import MEAN
from plw.results.score import is_percentage


@dataclass(frozen=True, kw_only=True)
class SharedScore:
    """One benchmark under K trainings, as shares of the full score, higher is better."""

    benchmark: str
    score_K: Floats
    se: float
    """Standard error of a training's score, less what all trainings share; the same for each. 0 where all are alike."""
    n: int
    """Items that all trainings have."""
    units: int
    """Independent units among them: clusters, and items without one."""


def shared_scores(models: Sequence[ModelItems]) -> list[SharedScore]:
    """The scores of K trainings on the items that all of them have, benchmark by benchmark.

    An item's outcome is taken for a sum of what the item is worth under all trainings, of the training, and of the
    rest; the error of a score is that of the rest. So two trainings are compared item by item, however hard the items
    are. Of a single training nothing can be taken out. Where counts make the score, items count by their jackknife
    pseudo-values.

    Raises:
        UserError: a benchmark that one of the trainings does not have, one whose items do not make its score, or fewer
            than two items that all have.
    """
    first = models[0]
    made = []
    for name in first.benchmarks:
        lacking = [model.label for model in models if name not in model.benchmarks]
        if lacking:
            raise UserError(f"{lacking[0]}: no items of {name}, which {first.label} has")
        for model in models:
            _check_made_of_items(model.benchmarks[name], model)
        made.append(_shared_score(name, [model.benchmarks[name] for model in models]))
    return made


def _check_made_of_items(items: BenchmarkItems, model: ModelItems) -> None:
    if items.aggregation not in (MEAN, *COUNTED):
        raise UserError(
            f"{items.benchmark}: {items.metric} is neither a mean over items nor made of counts, so trainings cannot "
            "be compared by it; choose another metric. If an earlier version scored it, remove "
            f"{model.folder} and start again"
        )


def _shared_score(name: str, items: Sequence[BenchmarkItems]) -> SharedScore:
    common = set.intersection(*(set(of.key_N.tolist()) for of in items))
    rows = [[place for place, key in _by_key(of) if key in common] for of in items]
    score_K, value_NK = map(
        np.array, zip(*(_values(of, row) for of, row in zip(items, rows, strict=True)), strict=True)
    )
    value_NK = value_NK.T
    known_N = np.isfinite(value_NK).all(axis=1)
    if known_N.sum() < 2:
        raise UserError(f"{name}: fewer than two items with an outcome under every training")
    value_NK = value_NK[known_N]
    if items[0].aggregation == MEAN:
        score_K = value_NK.mean(axis=0)
    cluster_N = _clusters(items[0], rows[0])[known_N]
    full = 100.0 if is_percentage(items[0].metric) or items[0].aggregation in CORPUS_METRICS else 1.0
    score_K = score_K / full
    if items[0].higher_is_better is False:
        score_K = 1 - score_K
    return SharedScore(
        benchmark=name,
        score_K=score_K,
        se=_rest_error(value_NK / full, cluster_N),
        n=int(known_N.sum()),
        units=len(np.unique(cluster_N)),
    )


def _by_key(items: BenchmarkItems) -> list[tuple[int, str]]:
    """Places and keys in the order of the keys, which is the same for every training."""
    return sorted(enumerate(items.key_N.tolist()), key=lambda pair: pair[1])


def _values(items: BenchmarkItems, rows: Sequence[int]) -> tuple[float, Floats]:
    if items.counts_NC is None:
        value_N = items.value_N[rows]
        return float("nan"), value_N
    counts_NC = items.counts_NC[rows]
    whole = float(corpus_scores(items.aggregation, counts_NC.sum(axis=0, keepdims=True))[0])
    return whole, pseudo_values(items.aggregation, counts_NC)


def _clusters(items: BenchmarkItems, rows: Sequence[int]) -> Codes:
    names = [items.key_N[row] if items.cluster_N[row] is None else items.cluster_N[row] for row in rows]
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.intp)


def _rest_error(value_NK: Floats, cluster_N: Codes) -> float:
    """Of a training's mean: the sandwich over clusters, pooled over trainings.

    Where items that differ all differ alike nothing is left as rest, and a handful of them would count as certainty.
    So it is no less than if one cluster had come out otherwise, by the most that one differs between trainings.
    """
    n, trainings = value_NK.shape
    rest_NK = value_NK - value_NK.mean(axis=0)
    if trainings > 1:
        rest_NK = rest_NK - rest_NK.mean(axis=1, keepdims=True)
    clusters = int(cluster_N.max()) + 1
    if clusters < 2:
        clusters, cluster_N = n, np.arange(n)
    sum_GK = np.stack([np.bincount(cluster_N, weights=rest_N, minlength=clusters) for rest_N in rest_NK.T], axis=1)
    variance = float((sum_GK**2).sum(axis=0).mean()) / n**2 * clusters / (clusters - 1)
    whole_GK = np.stack([np.bincount(cluster_N, weights=value_N, minlength=clusters) for value_N in value_NK.T], axis=1)
    one_otherwise = float(np.ptp(whole_GK, axis=1).max()) / n
    return float(max(np.sqrt(variance * trainings / max(1, trainings - 1)), one_otherwise))
