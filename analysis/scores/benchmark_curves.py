"""Score by weight of every benchmark, with the interval that its documents leave."""

import numpy as np
import pandas as pd

from analysis.scores.aggregates import compared
from analysis.scores.frame import TidyFrame

Z = 1.959964
"""Half-width of a normal 95% interval in standard errors."""


def benchmark_curves(frame: TidyFrame) -> pd.DataFrame:
    """Mean over base models and seeds of each benchmark's score, on 0 to 1.

    The interval is from the reported standard errors over documents: the root of the sum of their squares divided by
    the number of scores, times 1.96, cut at 0 and 1. It says how well the benchmark measures these very models, not how
    other models would do; it is NaN where a score has no standard error. ``spread`` is the sample standard
    deviation over models and seeds.

    Returns:
        One row per dataset, benchmark and weight: ``dataset``, ``group``, ``benchmark``, ``prompt_weight``, ``w_p``,
        ``scores`` (their number), ``mean``, ``low``, ``high``, ``spread``, ``compared`` (whether it is of the
        base models and seeds that the other weights are of).
    """
    keys = ["dataset", "group", "benchmark", "prompt_weight", "w_p"]
    rows = frame.rows.assign(variance=frame.rows["stderr01"] ** 2)
    table = rows.groupby(keys, as_index=False).agg(
        scores=("score01", "size"),
        mean=("score01", "mean"),
        spread=("score01", "std"),
        variance=("variance", lambda known: known.sum(skipna=False)),
    )
    half = Z * np.sqrt(table["variance"]) / table["scores"]
    table = table.assign(low=(table["mean"] - half).clip(lower=0), high=(table["mean"] + half).clip(upper=1))
    table["compared"] = compared(rows, table, ["dataset", "benchmark"])
    return table[[*keys, "scores", "mean", "low", "high", "spread", "compared"]]
