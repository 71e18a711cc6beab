"""How much of a score is the seed: the spread of cells that differ in the seed alone, beside that over weights."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.inference.weight_curve import SAME_SCORE
from analysis.levels import TAILS
from analysis.scores.aggregates import AGGREGATE_COLUMNS, cell_aggregates
from analysis.scores.frame import TidyFrame


def seed_components(frame: TidyFrame) -> pd.DataFrame:
    """Between-seed spread of every aggregate, by dataset.

    ``seed_sd`` is of cells with the same dataset, base model and weight: the root of the mean of their sample
    variances, weighted by degrees of freedom ``df``, with an interval from the chi-square distribution. A seed
    fixes the order of the data at every weight, so part of it is common to all weights and leaves their comparison
    alone: ``paired_sd`` is what remains after each model's seeds and weights have their own mean (the residual of a
    two-way layout, where each weight has the same seeds). ``weights_sd`` is the spread of the weights' means, after
    that of a mean's own seeds is taken off; it is 0 where the seeds explain all of it.

    Returns:
        One row per dataset and kind: ``dataset``, ``kind``, ``seeds``, ``cells``, ``df``, ``seed_sd``, ``seed_sd_low``,
        ``seed_sd_high`` (NaN where no seed differs), ``paired_sd``, ``paired_df``, ``weights_sd``. NaN (and df 0) where
        there is one seed alone.
    """
    cells = cell_aggregates(frame)
    rows = []
    for dataset, of_dataset in cells.groupby("dataset"):
        for kind in AGGREGATE_COLUMNS:
            row = {"dataset": dataset, "kind": kind, "seeds": of_dataset["seed"].nunique(), "cells": len(of_dataset)}
            rows.append(row | _spread(of_dataset, kind))
    return pd.DataFrame(rows)


def _spread(cells: pd.DataFrame, kind: str) -> dict[str, Any]:
    known = cells.dropna(subset=[kind])
    by_point = known.groupby(["model", "prompt_weight"])[kind]
    df = int((by_point.size() - 1).sum())
    if df == 0:
        nothing = dict.fromkeys(("seed_sd", "seed_sd_low", "seed_sd_high", "paired_sd", "weights_sd"), float("nan"))
        return {"df": 0, "paired_df": 0} | nothing
    squares = float(((known[kind] - by_point.transform("mean")) ** 2).sum())
    # Where no seed differs the upper end is unknown: a standard deviation of 0 is no certainty.
    high = squares if squares > SAME_SCORE**2 else np.nan
    tails = stats.chi2.ppf(TAILS[::-1], df)
    paired_squares, paired_df = _paired(known, kind)
    return {
        "df": df,
        "seed_sd": np.sqrt(squares / df),
        "seed_sd_low": np.sqrt(squares / tails[0]),
        "seed_sd_high": np.sqrt(high / tails[1]),
        "paired_df": paired_df,
        "paired_sd": np.sqrt(paired_squares / paired_df) if paired_df else float("nan"),
        "weights_sd": _weights_sd(known, kind, paired_squares / paired_df if paired_df else squares / df),
    }


def _paired(cells: pd.DataFrame, kind: str) -> tuple[float, int]:
    """Residual sum of squares of weight + seed within each model, and its degrees of freedom."""
    total, df = 0.0, 0
    for table_WS in _layouts(cells, kind):
        residual_WS = table_WS - table_WS.mean(axis=1, keepdims=True) - table_WS.mean(axis=0) + table_WS.mean()
        total += float((residual_WS**2).sum())
        df += (table_WS.shape[0] - 1) * (table_WS.shape[1] - 1)
    return total, df


def _weights_sd(cells: pd.DataFrame, kind: str, noise: float) -> float:
    """Standard deviation of the weights' true means: the observed variance less the seeds' share of it."""
    layouts = _layouts(cells, kind)
    if not layouts:
        return float("nan")
    variances = [table.mean(axis=1).var(ddof=1) - noise / table.shape[1] for table in layouts]
    return float(np.sqrt(max(0.0, np.mean(variances))))


def _layouts(cells: pd.DataFrame, kind: str) -> list[NDArray[np.float64]]:
    """Weight x seed of each model, for the weights that have all its seeds; those with two of each at least."""
    tables = []
    for _, of_model in cells.groupby("model"):
        table = of_model.pivot_table(index="prompt_weight", columns="seed", values=kind).dropna().to_numpy(dtype=float)
        if min(table.shape) >= 2:
            tables.append(table)
    return tables
