"""Seeds that repeat another's scores to the digit: one training, which counts once as evidence."""

import pandas as pd

from analysis.scores.frame import AXES

LEAST_SCORES = 12
"""Of a seed: that fewer, of few documents, are all the same happens by chance."""


def repeated_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Training runs whose every score is that of an earlier seed of the same dataset and base model, to the digit.

    Args:
        rows: of a ``TidyFrame``; published scores have not all of its axes.

    Returns:
        ``dataset``, ``model``, ``seed`` and ``of``, the seed that it repeats; empty where there are none. Runs of fewer
        than ``LEAST_SCORES`` scores, or whose scores do not vary within any benchmark, are no repeats.
    """
    found = []
    cell = [name for name in AXES if name in rows and name not in ("dataset", "model", "seed")]
    for (dataset, model), of_base in rows.groupby(["dataset", "model"]):
        if of_base["seed"].nunique() == 1:
            continue
        first: dict[tuple[object, ...], int] = {}
        for seed, run in of_base.groupby("seed"):
            if len(run) < LEAST_SCORES or run.groupby("benchmark")["value"].nunique().max() == 1:
                continue
            ordered = run.sort_values([*cell, "benchmark"])
            scores = tuple(ordered[[*cell, "benchmark", "value"]].itertuples(index=False, name=None))
            if scores in first:
                found.append((dataset, model, seed, first[scores]))
            first.setdefault(scores, int(str(seed)))
    return pd.DataFrame(found, columns=["dataset", "model", "seed", "of"])


def without_repeats(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows less those of ``repeated_seeds``."""
    repeats = repeated_seeds(rows)
    if repeats.empty:
        return rows
    place = ["dataset", "model", "seed"]
    return rows[~pd.MultiIndex.from_frame(rows[place]).isin(pd.MultiIndex.from_frame(repeats[place]))]
