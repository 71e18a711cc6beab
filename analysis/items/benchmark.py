"""One model's items, benchmark by benchmark, whatever they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Texts = NDArray[np.object_]

PREFERRED = ("acc_norm", "acc", "exact_match", "bleu_acc", "bleu", "chrf", "f1", "win_rate")
"""Of a task whose headline metric is not known, the first that it has is compared."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkItems:
    """The N items of one benchmark under one metric."""

    benchmark: str
    metric: str
    aggregation: str
    """``mean``, one of ``plw.results.corpus_metrics.COUNTED``, or another, which cannot be compared."""
    higher_is_better: bool | None
    key_N: Texts
    """Names an item in every cell: task and hash of the document; a repeated document is numbered."""
    cluster_N: Texts
    """What the item shares with others; None where nothing."""
    value_N: Floats
    """NaN where there is none."""
    counts_NC: Floats | None = None
    """Counts that make the score, one row an item."""


@dataclass(frozen=True, kw_only=True)
class ModelItems:
    """The items of one evaluated model."""

    label: str
    """For people: the cell's folder, or where lm-eval wrote."""
    folder: Path
    benchmarks: Mapping[str, BenchmarkItems]
    suites: frozenset[str] = frozenset()
    """The suites that scored it; empty where that is not known."""
    cell: Mapping[str, Any] | None = None
    """The cell's row, as its records keep it; None for lm-eval's own results."""
    library: str | None = None
    """The version of lm-eval, where it is known."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Benchmarks that there are items of, though not of the metric to compare -> why."""


def item_keys(tasks: Sequence[str], hashes: Sequence[str]) -> Texts:
    """A name for each item that does not depend on the order of the documents.

    A document that a task has twice gets a number, counted in the order of the rows.
    """
    seen: dict[str, int] = {}
    keys = []
    for task, digest in zip(tasks, hashes, strict=True):
        key = f"{task}:{digest}"
        count = seen[key] = seen.get(key, -1) + 1
        keys.append(f"{key}:{count}" if count else key)
    return np.array(keys, dtype=object)


def choose_metric(metrics: Sequence[str], asked: Sequence[str] = ()) -> str | None:
    """The metric to compare: one that was asked for, else the first of ``PREFERRED``, else the first there is.

    A name without a filter stands for the metric under any filter (``exact_match`` for ``exact_match,strict-match``).
    """
    for name in (*asked, *(() if asked else PREFERRED)):
        for metric in metrics:
            if name in (metric, metric.split(",")[0]):
                return metric
    return None if asked or not metrics else metrics[0]
