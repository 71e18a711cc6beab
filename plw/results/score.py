"""One measured number of one cell: what every evaluation returns and every score row holds."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PERCENT_METRICS = frozenset(
    {"bleu", "chrf", "ter", "win_rate", "mt_bench", "discrete_win_rate", "length_controlled_winrate", "lc_win_rate",
     "bleu_max", "rouge1_max", "rouge2_max", "rougeL_max"}
)  # fmt: skip
"""Metrics that are reported from 0 to 100; the analysis divides them by 100 and takes all others as they are."""

UNBOUNDED_METRICS = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics without a highest value, which the analysis has no scale for."""


def is_percentage(metric: str) -> bool:
    """Whether a metric is reported from 0 to 100; lm-eval's name of its filter may follow behind a comma."""
    return metric.partition(",")[0] in PERCENT_METRICS


def protocol_metric(protocol: str) -> str:
    """The headline metric of prompts that are asked by a protocol."""
    return {"reference": "chrf", "mt_bench": "mt_bench"}.get(protocol, "win_rate")


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error (sample standard deviation / sqrt(n)); None for the error of one value."""
    n = len(values)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(spread / (n - 1) / n) if n > 1 else None


def clustered_mean_and_error(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float, float | None]:
    """The mean and its standard error where values of one cluster hang together; None for the error of one cluster.

    That of a regression on a constant with errors clustered and the correction G / (G - 1) of G clusters; with each
    value a cluster of its own it is ``mean_and_error``'s.
    """
    n = len(values)
    mean = math.fsum(values) / n
    residuals: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        residuals.setdefault(cluster, []).append(value - mean)
    count, spread = len(residuals), math.fsum(math.fsum(of_cluster) ** 2 for of_cluster in residuals.values())
    return mean, math.sqrt(spread * count / (count - 1)) / n if count > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A value with everything needed to read it; ``None`` means unknown, never zero."""

    suite: str
    benchmark: str
    metric: str
    value: float
    stderr: float | None = None
    n: int | None = None
    headline: bool = False
    higher_is_better: bool | None = None
    task_version: str | None = None
    judge: str | None = None
    judge_version: str | None = None
    library_version: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record or a row."""
        return asdict(self)
